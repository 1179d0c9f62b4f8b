//! Why an order is refused.

/// The rules an order must keep; breaking one is a business error: trying again cannot help.
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
