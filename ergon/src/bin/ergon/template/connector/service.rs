//! The protocol: calls to the external system.
#![expect(
    clippy::unused_async,
    reason = "an implemented call waits for its answer"
)]

use ergon::prelude::*;
use ergon::service::Service;

use super::errors::CallError;
use super::schemas::Record;

/// Calls {{title}}.
#[derive(Debug, Service)]
pub(crate) struct {{type}}Client {
    url: String,
}

impl {{type}}Client {
    /// Returns at most `most` records after the one with this number, in the order of their numbers.
    pub(crate) async fn page(&self, after: u64, most: usize) -> Result<Vec<Record>, CallError> {
        Err(self.not_written(&format!("records?after={after}&most={most}")))
    }

    /// Marks a record as done.
    pub(crate) async fn done(&self, number: u64) -> Result<(), CallError> {
        Err(self.not_written(&format!("records/{number}/done")))
    }

    /// Marks a record as rejected.
    pub(crate) async fn refused(&self, number: u64) -> Result<(), CallError> {
        Err(self.not_written(&format!("records/{number}/refused")))
    }

    /// Adds a record. The id lets the external system recognize a record that it already has.
    pub(crate) async fn add(&self, id: &str, content: &Value) -> Result<(), CallError> {
        Err(self.not_written(&format!("records/{id}: {content}")))
    }

    fn not_written(&self, call: &str) -> CallError {
        let url = format!("{}/{call}", self.url);
        CallError::NotWritten { url }
    }
}
