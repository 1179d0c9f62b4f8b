//! The errors of calls to the external system.

/// The error of a call. Its category decides whether it is retried.
#[derive(Debug, thiserror::Error, ergon::TransactionError)]
pub(crate) enum CallError {
    #[error("the call of {url} is not written yet")]
    #[system]
    NotWritten { url: String },
}
