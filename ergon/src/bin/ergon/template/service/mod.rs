//! {{title}}: describe the service here.

mod client;
mod errors;
mod schemas;
mod service;

pub(crate) use errors::CallError;
pub(crate) use schemas::Answer;
pub(crate) use service::{{{type}}Service, {{type}}ServiceConfig};
