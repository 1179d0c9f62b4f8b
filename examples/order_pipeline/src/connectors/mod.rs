//! The project's own connectors, a folder each.

pub(crate) mod acme_api;
