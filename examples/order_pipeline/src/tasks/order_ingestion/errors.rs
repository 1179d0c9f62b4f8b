//! Why an order line is refused.

use ergon::prelude::*;

/// The rules of an order line; breaking one is a business error: trying again cannot help.
#[derive(Debug, PartialEq, thiserror::Error, TransactionError)]
#[business]
pub(crate) enum IngestionError {
    #[error("a discount of {discount} is above the {most} that is allowed")]
    DiscountTooHigh { discount: f64, most: f64 },

    #[error("the quantity is 0")]
    NothingOrdered,

    #[error("{sales} is no price")]
    NoPrice { sales: f64 },
}
