//! The service that tasks call, in the terms of the business and not of the protocol.

use ergon::prelude::*;
use ergon::service::Service;

use super::client::{{{type}}Client, {{type}}ClientConfig};
use super::errors::CallError;
use super::schemas::Answer;

/// Calls {{title}}. A task names it: `services({{module}}: {{type}}Service)`.
#[derive(Debug, Service)]
pub(crate) struct {{type}}Service {
    #[service(service)]
    client: {{type}}Client,
}

impl {{type}}Service {
    /// Returns the entry with this id.
    pub(crate) async fn find(&self, id: &str) -> Result<Answer, CallError> {
        self.client.get(id).await
    }
}
