//! The reasons why a transaction is rejected.

/// The rules for transactions. A broken rule is a business error, because a retry cannot help.
#[derive(Debug, thiserror::Error, ergon::TransactionError)]
pub(crate) enum Refusal {
    #[error("`id` is empty")]
    #[business]
    NoId,
}
