//! What can go wrong between here and the other side.

use ergon::connector::ConnectorError;
use ergon::prelude::*;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("the call of {url} is not written yet")]
    NotWritten { url: String },
}

impl From<CallError> for ConnectorError {
    /// What may pass by itself is `transient`: it is tried again.
    fn from(error: CallError) -> Self {
        match &error {
            CallError::NotWritten { .. } => Self::permanent(error.to_string()),
        }
    }
}
