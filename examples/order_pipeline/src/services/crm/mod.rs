//! The CRM: who a customer is.

mod errors;
mod schemas;
mod service;

pub(crate) use schemas::{Customer, Tier};
pub(crate) use service::{CrmService, CrmServiceConfig};
