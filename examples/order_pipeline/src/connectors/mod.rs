//! Connectors of this project, one folder for each.

pub(crate) mod acme_api;
