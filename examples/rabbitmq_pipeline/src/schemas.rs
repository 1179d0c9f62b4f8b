//! The messages in the queues.

use ergon::prelude::*;

/// A message of the queue `orders`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Order {
    pub(crate) number: String,
    pub(crate) customer: String,
    pub(crate) lines: Vec<Line>,
}

/// A line of an order.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Line {
    pub(crate) sku: String,
    pub(crate) quantity: u64,
    /// The price of one piece.
    pub(crate) cents: u64,
}

/// A message of the queue `invoices`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Invoice {
    pub(crate) order: String,
    pub(crate) customer: String,
    pub(crate) cents: u64,
}
