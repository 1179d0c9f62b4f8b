//! The error of a transaction, with the category that decides whether a retry can help.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Report, impl_report};

/// The result of everything that a task does. The error has a category.
pub type Result<T, E = TransactionError> = std::result::Result<T, E>;

/// The category of an error, which decides whether a retry can help.
///
/// ```
/// use ergon::prelude::*;
///
/// assert!(Category::System.is_retried() && !Category::Business.is_retried());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// The transaction itself is wrong. Never retried.
    Business,
    /// Something around the transaction failed. Retried.
    System,
    /// A time limit ended. Retried.
    Timeout,
}

impl Category {
    /// The category in lower case, as logs, metrics and dead letters show it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Business => "business",
            Self::System => "system",
            Self::Timeout => "timeout",
        }
    }

    /// Whether the engine retries an error of this category.
    pub const fn is_retried(self) -> bool {
        !matches!(self, Self::Business)
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The failure of a step: a category, a message, a cause, and optionally a wait before the next attempt.
///
/// `Display` is the message only. The cause is in [`source`](StdError::source).
///
/// ```
/// use ergon::prelude::*;
/// use std::time::Duration;
///
/// let error = TransactionError::system("warehouse did not answer").with_retry_after(Duration::from_secs(5));
/// assert_eq!(error.category(), Category::System);
/// assert_eq!(error.to_string(), "warehouse did not answer");
/// ```
#[derive(Clone)]
pub struct TransactionError(Box<Report<Kind>>);

impl_report!(TransactionError, pub);

#[derive(Clone)]
struct Kind {
    category: Category,
    retry_after: Option<Duration>,
}

impl TransactionError {
    /// Makes an error of a category.
    pub fn new(category: Category, message: impl Into<String>) -> Self {
        Self(Box::new(Report::new(Kind { category, retry_after: None }, message)))
    }

    /// Makes a business error, which is never retried: the transaction itself is wrong.
    pub fn business(message: impl Into<String>) -> Self {
        Self::new(Category::Business, message)
    }

    /// Makes a system error, which is retried.
    pub fn system(message: impl Into<String>) -> Self {
        Self::new(Category::System, message)
    }

    /// Makes the error of a time limit. It is retried.
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new(Category::Timeout, message)
    }

    /// Makes an error of a category from any other error, with its message and its source.
    pub fn from_error<E>(category: Category, error: E) -> Self
    where
        E: StdError + Send + Sync + 'static,
    {
        Self::standing_for(category, Box::new(error))
    }

    fn standing_for(category: Category, error: Box<dyn StdError + Send + Sync>) -> Self {
        Self(Box::new(Report::standing_for(Kind { category, retry_after: None }, error)))
    }

    /// Sets the wait before the next attempt. It replaces the policy's wait, and stays below the policy's cap.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.0.detail.retry_after = Some(wait);
        self
    }

    /// The category, which decides whether a retry can help.
    pub fn category(&self) -> Category {
        self.0.detail.category
    }

    /// The wait before the next attempt, if the failing system asked for one.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.detail.retry_after
    }

    /// The error from which this one was made, if it is of type `E`.
    ///
    /// ```
    /// use ergon::prelude::*;
    ///
    /// let error = "two".parse::<u32>().business().unwrap_err();
    /// assert!(error.downcast_ref::<std::num::ParseIntError>().is_some());
    /// ```
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

impl fmt::Debug for TransactionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionError")
            .field("category", &self.0.detail.category)
            .field("message", &self.0.message)
            .field("source", &StdError::source(self).map(ToString::to_string))
            .field("retry_after", &self.0.detail.retry_after)
            .finish()
    }
}

/// Gives the error of any `Result` a category, so that `?` can be used in a handler.
///
/// ```
/// use ergon::prelude::*;
///
/// fn quantity(text: &str) -> Result<u32> {
///     text.parse::<u32>().business()
/// }
/// assert_eq!(quantity("two").unwrap_err().category(), Category::Business);
/// ```
pub trait ResultExt<T> {
    /// Makes the error a business error, which is never retried.
    ///
    /// # Errors
    /// The same failure, as a [`TransactionError`].
    fn business(self) -> Result<T>;

    /// Makes the error a system error, which is retried.
    ///
    /// # Errors
    /// The same failure, as a [`TransactionError`].
    fn system(self) -> Result<T>;

    /// Makes the error a timeout, which is retried.
    ///
    /// # Errors
    /// The same failure, as a [`TransactionError`].
    fn timeout(self) -> Result<T>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> ResultExt<T> for std::result::Result<T, E> {
    fn business(self) -> Result<T> {
        self.map_err(|error| TransactionError::standing_for(Category::Business, error.into()))
    }

    fn system(self) -> Result<T> {
        self.map_err(|error| TransactionError::standing_for(Category::System, error.into()))
    }

    fn timeout(self) -> Result<T> {
        self.map_err(|error| TransactionError::standing_for(Category::Timeout, error.into()))
    }
}
