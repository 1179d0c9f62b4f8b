//! The reasons why an order line is rejected.

use ergon::prelude::*;

/// The rules of an order line. A broken rule is a business error, because a retry cannot help.
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
