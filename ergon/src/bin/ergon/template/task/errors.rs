//! Why a transaction is refused.

/// The rules that a transaction must keep; breaking one is a business error: trying again cannot help.
#[derive(Debug, thiserror::Error, ergon::TransactionError)]
pub(crate) enum Refusal {
    #[error("`id` is empty")]
    #[business]
    NoId,
}
