//! Why an order line is refused.

/// The rules an order line must keep; breaking one is a business error: trying again cannot help.
#[derive(Debug, thiserror::Error, ergon::TransactionError)]
pub(crate) enum OrderError {
    #[error("a discount of {discount} is above the {most} that is allowed")]
    #[business]
    DiscountTooHigh { discount: f64, most: f64 },

    #[error("the quantity is 0")]
    #[business]
    NothingOrdered,
}
