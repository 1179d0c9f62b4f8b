//! What goes wrong between a service and its external system.

use crate::error::{Report, impl_report};
use crate::transaction::{Category, HasCategory, TransactionError};

/// The failure of a service to start, stop, or answer.
///
/// Inside a handler it is a system error. A service whose failures differ in category has an error enum of its own,
/// with `#[derive(ergon::TransactionError)]`.
#[derive(Debug)]
pub struct ServiceError(Box<Report<()>>);

impl_report!(ServiceError, pub with_hint);

impl ServiceError {
    /// Makes an error of a message: what went wrong, a lowercase fragment.
    pub fn new(message: impl Into<String>) -> Self {
        Self(Box::new(Report::new((), message)))
    }
}

impl HasCategory for ServiceError {
    fn categorize(self) -> TransactionError {
        TransactionError::from_error(Category::System, self)
    }
}
