//! The error of a service that cannot start, stop, or get an answer from its external system.

use crate::error::{Report, impl_report};
use crate::transaction::{Category, HasCategory, TransactionError};

/// The failure of a service to start, stop, or answer.
///
/// Inside a handler it is a system error, so its step is retried. A service whose failures differ in category has its
/// own error enum, with `#[derive(ergon::TransactionError)]`.
///
/// ```
/// use ergon::prelude::*;
/// use ergon::service::ServiceError;
///
/// let error = ServiceError::new("the tax service is closed").with_hint("its hours are 8 to 18");
/// assert_eq!(error.to_string(), "the tax service is closed");
/// assert_eq!(error.hint(), Some("its hours are 8 to 18"));
/// assert_eq!(TransactionError::from(error).category(), Category::System);
/// ```
#[derive(Debug)]
pub struct ServiceError(Box<Report<()>>);

impl_report!(ServiceError, pub with_hint);

impl ServiceError {
    /// Makes an error of a message: a lowercase fragment that names the problem.
    pub fn new(message: impl Into<String>) -> Self {
        Self(Box::new(Report::new((), message)))
    }
}

impl HasCategory for ServiceError {
    fn categorize(self) -> TransactionError {
        TransactionError::from_error(Category::System, self)
    }
}
