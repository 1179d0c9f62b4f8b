//! Sends invoices: writes a letter for each.

mod config;
mod task;

pub(crate) use config::config;
