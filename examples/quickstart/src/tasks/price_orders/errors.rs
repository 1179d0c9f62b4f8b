//! The reasons why an order line is rejected.

/// The rules of an order line. A broken rule is a business error, because a retry cannot help.
#[derive(Debug, thiserror::Error, ergon::TransactionError)]
pub(crate) enum OrderError {
    #[error("a discount of {discount} is above the {most} that is allowed")]
    #[business]
    DiscountTooHigh { discount: f64, most: f64 },

    #[error("the quantity is 0")]
    #[business]
    NothingOrdered,
}
