//! What goes in and what comes out.

use ergon::prelude::*;

use crate::tasks::schemas::Item;

/// An order as it comes in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) id: String,
    pub(crate) customer: String,
    pub(crate) items: Vec<Item>,
}

/// What goes out for a good order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Receipt {
    pub(crate) order_id: String,
    pub(crate) customer: String,
    pub(crate) pieces: u32,
    pub(crate) total: String,
}
