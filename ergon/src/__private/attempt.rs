//! Supports the code that `#[ergon::run_fn]` generates.

use super::Placeholder;
use crate::engine;
use crate::policy::RetryPolicy;
use crate::transaction::Result;

/// The return type of a function with `#[run_fn]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say whether a retry can help",
    label = "`#[ergon::run_fn]` retries errors, so the function must return `ergon::Result<…>`",
    note = "return `ergon::Result<…>`; `.system()?`, `.business()?` and `#[derive(ergon::TransactionError)]` give an error its category"
)]
pub trait Attempted {
    type Value;

    fn into_attempt(self) -> Result<Self::Value>;

    fn of_attempt(attempt: Result<Self::Value>) -> Self;
}

impl<T> Attempted for Result<T> {
    type Value = T;

    fn into_attempt(self) -> Self {
        self
    }

    fn of_attempt(attempt: Self) -> Self {
        attempt
    }
}

/// Runs the attempts of an async function with `#[run_fn]`.
pub async fn run_fn<R: Attempted, F: Future<Output = R>>(
    policy: &RetryPolicy,
    name: &str,
    mut f: impl FnMut() -> F,
) -> R {
    let attempt = || {
        let attempt = f();
        async { attempt.await.into_attempt() }
    };
    R::of_attempt(engine::run_fn(policy, name, attempt).await)
}

/// Runs the attempts of a plain function with `#[run_fn]`.
pub fn run_fn_blocking<R: Attempted>(policy: &RetryPolicy, name: &str, mut f: impl FnMut() -> R) -> R {
    R::of_attempt(engine::run_fn_blocking(policy, name, || f().into_attempt()))
}

/// Returns the policy of a function with `#[run_fn(policy = …)]`.
pub fn policy<P: AsPolicy>(policy: &P) -> &RetryPolicy {
    policy.as_policy()
}

/// A retry policy, or a reference to one.
#[diagnostic::on_unimplemented(
    message = "`policy` takes a `RetryPolicy`, but this is of type `{Self}`",
    label = "not a retry policy",
    note = "write `policy = A_CONST` with a `const A_CONST: RetryPolicy`, or the keys: `max_attempts = 3`"
)]
pub trait AsPolicy {
    fn as_policy(&self) -> &RetryPolicy;
}

impl AsPolicy for RetryPolicy {
    fn as_policy(&self) -> &RetryPolicy {
        self
    }
}

impl AsPolicy for &RetryPolicy {
    fn as_policy(&self) -> &RetryPolicy {
        self
    }
}

/// Calls the body of a plain function.
pub fn once<R>(body: impl FnOnce() -> R) -> R {
    body()
}

/// Calls the body of an async function.
pub async fn once_async<R>(body: impl AsyncFnOnce() -> R) -> R {
    body().await
}

/// Returns the argument of a function with `#[run_fn]`, for another attempt.
pub fn again<T: Again>(argument: &T) -> T {
    argument.again()
}

/// An argument that more than one attempt can receive.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be passed to another attempt",
    label = "every attempt needs this argument",
    note = "take the argument by `&`, or implement `Clone` for `{Self}`"
)]
pub trait Again: Sized {
    #[must_use]
    fn again(&self) -> Self;
}

impl<T: Clone> Again for T {
    fn again(&self) -> Self {
        self.clone()
    }
}

// A second impl, so that the error of the compiler names this trait and not `Clone`.
impl Again for Placeholder {
    fn again(&self) -> Self {
        Self(())
    }
}
