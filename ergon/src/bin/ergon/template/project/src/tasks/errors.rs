//! Errors that tasks share.

/// A payload that breaks a rule of all tasks: a business error, because a retry cannot help.
#[derive(Debug, thiserror::Error, ergon::TransactionError)]
pub(crate) enum ValidationError {
    #[error("`{field}` is empty")]
    #[business]
    Empty { field: &'static str },
}
