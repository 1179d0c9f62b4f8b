//! The project's tasks, a folder each.

pub(crate) mod price_orders;
