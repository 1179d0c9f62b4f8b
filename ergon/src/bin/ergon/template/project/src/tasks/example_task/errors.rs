//! The reasons why an order is rejected.

use crate::tasks::errors::ValidationError;

/// The rules for orders. A broken rule is a business error, because a retry cannot help.
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
