//! Why an order is refused.

use crate::tasks::errors::ValidationError;

/// The rules an order must keep; breaking one is a business error: trying again cannot help.
#[derive(Debug, thiserror::Error, ergon::TransactionError)]
pub(crate) enum OrderError {
    #[error("the order has no items")]
    #[business]
    NoItems,

    #[error("{pieces} pieces are above the {most} that one order may have")]
    #[business]
    TooManyPieces { pieces: u32, most: u32 },

    #[error(transparent)]
    #[transparent]
    Invalid(#[from] ValidationError),
}
