//! Prices orders: writes a receipt for each valid order, and rejects each invalid order with a reason.

mod config;
mod errors;
mod helpers;
mod schemas;
mod task;

pub(crate) use config::config;
