//! The rules of an order line.

use super::errors::IngestionError;
use super::schemas::WorkbookRow;
use crate::tasks::schemas::Order;

/// The highest discount that needs no approval.
const HIGHEST_DISCOUNT: f64 = 0.5;
/// Prices above this are mistakes.
const HIGHEST_PRICE: f64 = 1e9;

/// Makes an order of a row that keeps the rules.
pub(super) fn order(row: &WorkbookRow) -> Result<Order, IngestionError> {
    let WorkbookRow { row_id, order_id, customer_id, product_id, quantity, sales, discount } = row.clone();
    if discount > HIGHEST_DISCOUNT {
        return Err(IngestionError::DiscountTooHigh { discount, most: HIGHEST_DISCOUNT });
    }
    if quantity == 0 {
        return Err(IngestionError::NothingOrdered);
    }
    let cents = cents(sales).ok_or(IngestionError::NoPrice { sales })?;
    Ok(Order { reference: format!("{order_id}/{row_id}"), customer_id, product_id, quantity, cents })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the range is checked just before"
)]
fn cents(price: f64) -> Option<u64> {
    (0.0..=HIGHEST_PRICE).contains(&price).then(|| (price * 100.0).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(quantity: u32, sales: f64, discount: f64) -> WorkbookRow {
        let text = |text: &str| text.to_owned();
        let (order_id, customer_id, product_id) = (text("CA-1"), text("AB-1"), text("FUR-1"));
        WorkbookRow { row_id: 7, order_id, customer_id, product_id, quantity, sales, discount }
    }

    #[test]
    fn a_good_row_becomes_an_order_in_cents() {
        let order = order(&row(2, 261.96, 0.5)).unwrap();
        assert_eq!((order.reference.as_str(), order.cents), ("CA-1/7", 26_196));
    }

    #[test]
    fn a_row_that_breaks_a_rule_is_refused_with_the_reason() {
        let why = |row: WorkbookRow| order(&row).unwrap_err().to_string();
        assert_eq!(why(row(1, 1.0, 0.7)), "a discount of 0.7 is above the 0.5 that is allowed");
        assert_eq!(why(row(0, 1.0, 0.0)), "the quantity is 0");
        assert_eq!(why(row(1, -1.0, 0.0)), "-1 is no price");
    }
}
