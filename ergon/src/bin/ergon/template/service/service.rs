//! What tasks call: the words of the business, not of the protocol.

use ergon::prelude::*;
use ergon::service::Service;

use super::client::{{{type}}Client, {{type}}ClientConfig};
use super::errors::CallError;
use super::schemas::Answer;

/// Asks {{title}}. A task names it: `services({{module}}: {{type}}Service)`.
#[derive(Debug, Service)]
pub(crate) struct {{type}}Service {
    #[service(service)]
    client: {{type}}Client,
}

impl {{type}}Service {
    /// What is known under this id.
    pub(crate) async fn find(&self, id: &str) -> Result<Answer, CallError> {
        self.client.get(id).await
    }
}
