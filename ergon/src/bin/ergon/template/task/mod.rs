//! {{title}}: describe the task here.

mod config;
mod errors;
mod helpers;
mod schemas;
mod task;

pub(crate) use config::config;
