//! Reads the bookings of ACME, and writes a report of them.

mod config;
mod task;

pub(crate) use config::config;
