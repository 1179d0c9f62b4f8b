//! Sends invoices: writes a letter for each invoice.

mod config;
mod task;

pub(crate) use config::config;
