//! Types that tasks share.

use ergon::prelude::*;

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) sku: String,
    pub(crate) quantity: u32,
    /// The price of one piece, in cents.
    pub(crate) unit_price: u64,
}
