//! The tasks of this project, one folder for each.

pub(crate) mod place_orders;
pub(crate) mod send_invoices;
pub(crate) mod take_orders;
