//! The types of the transactions that pass from task to task.

use ergon::prelude::*;

use crate::services::crm::Tier;

/// A checked order line.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Order {
    /// The order and its line: `CA-2016-152156/1`.
    pub(crate) reference: String,
    pub(crate) customer_id: String,
    pub(crate) product_id: String,
    pub(crate) quantity: u32,
    /// The price that the customer pays, in cents.
    pub(crate) cents: u64,
}

/// An order with the customer data of the CRM.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct EnrichedOrder {
    #[serde(flatten)]
    pub(crate) order: Order,
    pub(crate) customer_name: String,
    pub(crate) tier: Tier,
    /// Whether the order is sent before others.
    pub(crate) express: bool,
}
