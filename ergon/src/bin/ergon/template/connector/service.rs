//! The protocol: how the other side is called.
#![expect(
    clippy::unused_async,
    reason = "a call that is written waits for an answer"
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
    /// At most `most` records that come after the one with this number, in the order of their numbers.
    pub(crate) async fn page(&self, after: u64, most: usize) -> Result<Vec<Record>, CallError> {
        Err(self.not_written(&format!("records?after={after}&most={most}")))
    }

    /// Tells that a record is done.
    pub(crate) async fn done(&self, number: u64) -> Result<(), CallError> {
        Err(self.not_written(&format!("records/{number}/done")))
    }

    /// Tells that a record is refused.
    pub(crate) async fn refused(&self, number: u64) -> Result<(), CallError> {
        Err(self.not_written(&format!("records/{number}/refused")))
    }

    /// Adds a record; the id lets the other side find one that it has already.
    pub(crate) async fn add(&self, id: &str, content: &Value) -> Result<(), CallError> {
        Err(self.not_written(&format!("records/{id}: {content}")))
    }

    fn not_written(&self, call: &str) -> CallError {
        let url = format!("{}/{call}", self.url);
        CallError::NotWritten { url }
    }
}
