//! Puts the orders of a file into the queue `orders`.

mod config;
mod task;

pub(crate) use config::config;
