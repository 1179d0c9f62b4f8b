//! Checks orders: an invoice for each good one, a reason for each refused.

mod config;
mod errors;
mod task;

pub(crate) use config::config;
