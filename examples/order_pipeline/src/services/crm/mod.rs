//! A service that looks up customers in the CRM.

mod errors;
mod schemas;
mod service;

pub(crate) use schemas::{Customer, Tier};
pub(crate) use service::{CrmService, CrmServiceConfig};
