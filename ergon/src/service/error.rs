//! What goes wrong between a service and its external system.

use std::error::Error as StdError;
use std::fmt;

use crate::transaction::{Category, HasCategory, TransactionError};

/// The failure of a service to start, stop, or answer.
///
/// Inside a handler it is a system error. A service whose failures differ in category has an error enum of its own,
/// with `#[derive(ergon::TransactionError)]`.
#[derive(Debug)]
pub struct ServiceError {
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl ServiceError {
    /// Makes an error of a message: what went wrong, a lowercase fragment.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, source: None }
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Names the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for ServiceError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl HasCategory for ServiceError {
    fn categorize(self) -> TransactionError {
        TransactionError::from_error(Category::System, self)
    }
}
