//! Validates and prices order lines: receipts for the good ones, a reason for the refused.

mod config;
mod errors;
mod schemas;
mod task;

pub(crate) use config::config;
