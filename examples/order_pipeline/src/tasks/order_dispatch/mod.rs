//! Places orders with ACME.

mod config;
mod schemas;
mod task;

pub(crate) use config::config;
