//! Checks orders: makes an invoice for each valid order, and rejects each invalid order with a reason.

mod config;
mod errors;
mod task;

pub(crate) use config::config;
