//! Validates and prices order lines: writes a receipt for each valid line, and rejects each invalid line with a reason.

mod config;
mod errors;
mod schemas;
mod task;

pub(crate) use config::config;
