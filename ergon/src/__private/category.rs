//! Supports the code that `#[derive(TransactionError)]` generates: converts the user's error into an error with its
//! category.

use std::time::Duration;

use super::Placeholder;
pub use crate::transaction::HasCategory;
use crate::transaction::{Category, TransactionError};

/// Makes an error of a category, for `#[derive(TransactionError)]`.
pub fn transaction_error<E: IsError>(
    category: Category,
    retry_after: Option<Duration>,
    error: E,
) -> TransactionError {
    let error = error.categorize(category);
    match retry_after {
        Some(wait) => error.with_retry_after(wait),
        None => error,
    }
}

/// An error type that can become a `TransactionError`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has a category, but is not an error",
    label = "this type does not implement `std::error::Error`",
    note = "add `#[derive(Debug, thiserror::Error)]` to `{Self}`, with `#[error(\"…\")]` on each variant"
)]
pub trait IsError {
    fn categorize(self, category: Category) -> TransactionError;
}

impl<E: std::error::Error + Send + Sync + 'static> IsError for E {
    fn categorize(self, category: Category) -> TransactionError {
        TransactionError::from_error(category, self)
    }
}

// A second impl, so that the error of the compiler names this trait and not `std::error::Error`.
impl IsError for Placeholder {
    fn categorize(self, category: Category) -> TransactionError {
        TransactionError::new(category, "a placeholder")
    }
}

/// Returns the error inside a transparent variant, with its category.
pub fn transparent(error: impl Transparent) -> TransactionError {
    error.pass_through()
}

/// An error whose type has a category.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no category",
    label = "a transparent variant takes the category of this error",
    note = "add `#[derive(ergon::TransactionError)]` to `{Self}`, or give the variant `#[business]`, `#[system]` or `#[timeout]`"
)]
pub trait Transparent {
    fn pass_through(self) -> TransactionError;
}

impl<E: HasCategory> Transparent for E {
    fn pass_through(self) -> TransactionError {
        self.categorize()
    }
}

// A second impl, so that the error of the compiler names this trait and not `HasCategory`.
impl Transparent for TransactionError {
    fn pass_through(self) -> Self {
        self
    }
}
