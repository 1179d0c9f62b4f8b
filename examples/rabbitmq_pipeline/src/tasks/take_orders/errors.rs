//! The reasons why an order is rejected.

/// The rules of an order. A broken rule is a business error, because a retry cannot help.
#[derive(Debug, thiserror::Error, ergon::TransactionError)]
pub(crate) enum OrderError {
    #[error("nothing is ordered")]
    #[business]
    Empty,

    #[error("the quantity of `{sku}` is 0")]
    #[business]
    NoQuantity { sku: String },

    #[error("the total is beyond what an invoice can hold")]
    #[business]
    TooMuch,
}
