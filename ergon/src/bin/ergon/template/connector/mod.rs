//! {{title}} as a connector: describe its records here.

mod connector;
mod errors;
mod schemas;
mod service;

pub(crate) use connector::{{{type}}, {{type}}Config};
