//! The input and the output of the task.

use ergon::prelude::*;

use crate::tasks::schemas::Item;

/// An order: the input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) id: String,
    pub(crate) customer: String,
    pub(crate) items: Vec<Item>,
}

/// The receipt of a valid order: the output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Receipt {
    pub(crate) order_id: String,
    pub(crate) customer: String,
    pub(crate) pieces: u32,
    pub(crate) total: String,
}
