//! {{title}}: say here what it does.

mod config;
mod errors;
mod helpers;
mod schemas;
mod task;

pub(crate) use config::config;
