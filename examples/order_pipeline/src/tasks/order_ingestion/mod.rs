//! Reads order lines from the workbook, and checks them.

mod checks;
mod config;
mod errors;
mod schemas;
mod task;

pub(crate) use config::config;
