//! Decides which orders are sent before others.

use crate::services::crm::Tier;
use crate::tasks::schemas::Order;

/// An order of this price or more is sent before others, for any customer.
const LARGE: u64 = 100_000;

/// Whether an order is sent before others.
pub(super) fn is_express(order: &Order, tier: Tier) -> bool {
    tier == Tier::Gold || order.cents >= LARGE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_orders_and_those_of_gold_customers_are_express() {
        let order = |cents| Order {
            reference: "CA-1/1".into(),
            customer_id: "AB-1".into(),
            product_id: "FUR-1".into(),
            quantity: 1,
            cents,
        };
        assert!(is_express(&order(1), Tier::Gold));
        assert!(is_express(&order(100_000), Tier::Standard));
        assert!(!is_express(&order(99_999), Tier::Standard));
    }
}
