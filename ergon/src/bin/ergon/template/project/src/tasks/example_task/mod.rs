//! Prices orders: a receipt for each good one, a reason for each that is refused.

mod config;
mod errors;
mod helpers;
mod schemas;
mod task;

pub(crate) use config::config;
