//! The errors of calls to the external system.

use ergon::connector::ConnectorError;
use ergon::prelude::*;

/// The error of a call.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("the call of {url} is not written yet")]
    NotWritten { url: String },
}

impl From<CallError> for ConnectorError {
    /// Map an error that a retry may fix to `ConnectorError::transient`.
    fn from(error: CallError) -> Self {
        match &error {
            CallError::NotWritten { .. } => Self::permanent(error.to_string()),
        }
    }
}
