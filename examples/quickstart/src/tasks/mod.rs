//! The tasks of this project, one folder for each.

pub(crate) mod price_orders;
