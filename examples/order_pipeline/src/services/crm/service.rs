//! Looks up customers, with one request for each customer.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use ergon::prelude::*;
use ergon::service::Service;
use ergon::service::http::HttpErrorKind;

use super::errors::CrmError;
use super::schemas::Customer;

/// Looks up customers in the CRM, each customer once.
#[derive(Debug, Service)]
pub(crate) struct CrmService {
    /// The HTTP client of the CRM.
    #[service(service)]
    http: HttpService,
    #[service(skip)]
    known: Mutex<HashMap<String, Customer>>,
}

impl CrmService {
    /// Finds a customer.
    pub(crate) async fn customer(&self, id: &str) -> Result<Customer, CrmError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        if let Some(customer) = known {
            return Ok(customer);
        }
        let customer: Customer = match self.http.get("customers").segment(id).receive().await {
            Err(error) if error.kind() == HttpErrorKind::Status(404) => {
                return Err(CrmError::Unknown { id: id.to_owned() });
            }
            answer => answer?,
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(known.entry(id.to_owned()).or_insert(customer).clone())
    }
}
