//! The protocol: how the other side is called.
#![expect(
    clippy::unused_async,
    reason = "a call that is written waits for an answer"
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
    /// What the other side answers for this id.
    pub(crate) async fn get(&self, id: &str) -> Result<Answer, CallError> {
        let url = format!("{}/{id}", self.url);
        Err(CallError::NotWritten { url })
    }
}
