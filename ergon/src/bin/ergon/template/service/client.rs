//! The protocol: calls to the external system.
#![expect(
    clippy::unused_async,
    reason = "an implemented call waits for its answer"
)]

use ergon::prelude::*;
use ergon::service::Service;

use super::errors::CallError;
use super::schemas::Answer;

/// Calls {{title}}.
#[derive(Debug, Service)]
pub(crate) struct {{type}}Client {
    url: String,
}

impl {{type}}Client {
    /// Returns the answer of the external system for this id.
    pub(crate) async fn get(&self, id: &str) -> Result<Answer, CallError> {
        let url = format!("{}/{id}", self.url);
        Err(CallError::NotWritten { url })
    }
}
