//! Reads back what ACME has booked.

mod config;
mod task;

pub(crate) use config::config;
