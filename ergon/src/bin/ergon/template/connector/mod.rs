//! {{title}} as a connector: say here what it moves.

mod connector;
mod errors;
mod schemas;
mod service;

pub(crate) use connector::{{{type}}, {{type}}Config};
