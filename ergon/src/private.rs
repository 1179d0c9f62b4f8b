//! What generated code may name. Nothing here is part of the public API.
#![doc(hidden)]

pub use std::borrow::Cow;
use std::fmt::Debug;
use std::process::ExitCode;
use std::time::Duration;

pub use serde;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use crate::cli::Package;
use crate::connector::{Connector, ConnectorError, Sink, Source};
use crate::engine;
pub use crate::engine::{
    blocking_consumer, blocking_hybrid, blocking_producer, consumer, executor, hybrid, producer,
};
use crate::error::{Error, ErrorKind};
use crate::policy::RetryPolicy;
use crate::service::{Service, ServiceConfig, ServiceError};
use crate::settings::{self, Loaded};
pub use crate::task::Parts;
use crate::task::TaskConfig;
use crate::transaction::{Category, Result as TransactionResult, TransactionError};

/// The settings of a program.
#[diagnostic::on_unimplemented(
    message = "the settings `{Self}` cannot be read from `ergon.toml`",
    label = "this type does not implement `Deserialize`",
    note = "add `#[derive(Deserialize)]` to `{Self}`"
)]
pub trait Settings: Sized {
    type Read: DeserializeOwned;

    fn of(read: Self::Read) -> Self;
}

impl<S: DeserializeOwned> Settings for S {
    type Read = S;

    fn of(read: S) -> S {
        read
    }
}

// A second impl, so that the compiler speaks of this trait and not of serde's.
impl Settings for Placeholder {
    type Read = ();

    fn of((): ()) -> Self {
        Self(())
    }
}

/// Has an impl of traits whose other impl is for what has another trait.
#[derive(Debug)]
pub struct Placeholder(());

/// Runs a program: the body of what `ergon::main!` makes.
pub fn main<S: Settings>(package: Package, tasks: fn(&S) -> Result<Vec<TaskConfig>, Error>) -> ExitCode {
    crate::cli::main(&package, &|options| {
        let Loaded { settings, framework } = settings::load::<S::Read>(options)?;
        Ok((framework, tasks(&S::of(settings))?))
    })
}

/// What a task's own `fn(&Settings) -> Result<TaskConfig, _>` returned.
pub fn task_config(config: impl IntoTaskConfig) -> Result<TaskConfig, Error> {
    config.into_task_config()
}

/// A task's config, or why there is none.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no config of a task",
    label = "this function does not return a `TaskConfig`",
    note = "a path in `tasks` names a `fn(&Settings) -> Result<TaskConfig>`; a task's struct is followed by its wiring: `Orders {{ input: orders }}`"
)]
pub trait IntoTaskConfig {
    fn into_task_config(self) -> Result<TaskConfig, Error>;
}

impl IntoTaskConfig for TaskConfig {
    fn into_task_config(self) -> Result<TaskConfig, Error> {
        Ok(self)
    }
}

impl<E: std::error::Error + Send + Sync + 'static> IntoTaskConfig for Result<TaskConfig, E> {
    fn into_task_config(self) -> Result<TaskConfig, Error> {
        self.map_err(|error| task_config_error(Box::new(error)))
    }
}

fn task_config_error(error: Box<dyn std::error::Error + Send + Sync>) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => *error,
        Err(error) => {
            let made = Error::new(ErrorKind::Settings, error.to_string());
            match error.source() {
                Some(cause) => made.with_source(cause.to_string()),
                None => made,
            }
        }
    }
}

/// Stands in for the config of a task that did not compile.
#[expect(clippy::panic, reason = "never runs: it is generated beside a compile error only")]
pub fn stand_in() -> TaskConfig {
    panic!("this task did not compile")
}

/// Says whether a `const RetryPolicy` can be obeyed; asked by the compiler.
pub const fn is_possible(policy: &RetryPolicy) -> bool {
    let checked = policy.check();
    let possible = checked.is_ok();
    // A constant function drops nothing.
    std::mem::forget(checked);
    possible
}

/// Makes an error of a category, for `#[derive(TransactionError)]`.
pub fn categorized<E>(category: Category, retry_after: Option<Duration>, error: E) -> TransactionError
where
    E: std::error::Error + Send + Sync + 'static,
{
    let error = TransactionError::from_error(category, error);
    match retry_after {
        Some(wait) => error.with_retry_after(wait),
        None => error,
    }
}

/// The error inside a transparent variant, in its own category.
pub fn transparent(error: impl HasCategory) -> TransactionError {
    error.categorize()
}

/// An error with a category of its own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no category of its own",
    label = "a transparent variant has the category of this error",
    note = "add `#[derive(ergon::TransactionError)]` to `{Self}`, or give the variant `#[business]`, `#[system]` or `#[timeout]`"
)]
pub trait HasCategory {
    fn categorize(self) -> TransactionError;
}

impl<E: Into<TransactionError>> HasCategory for E {
    fn categorize(self) -> TransactionError {
        self.into()
    }
}

// A second impl, so that the compiler speaks of this trait and not of `Into`.
impl HasCategory for Category {
    fn categorize(self) -> TransactionError {
        TransactionError::new(self, self.as_str())
    }
}

/// What a function in the envelope of an attempt returns.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say whether a further attempt can help",
    label = "`run_fn` tries again what failed, so it returns `ergon::Result<…>`",
    note = "return `ergon::Result<…>`; `.system()?`, `.business()?` or `#[derive(ergon::TransactionError)]` give an error its category"
)]
pub trait Attempted {
    type Value;

    fn into_attempt(self) -> TransactionResult<Self::Value>;

    fn of_attempt(attempt: TransactionResult<Self::Value>) -> Self;
}

impl<T> Attempted for TransactionResult<T> {
    type Value = T;

    fn into_attempt(self) -> Self {
        self
    }

    fn of_attempt(attempt: Self) -> Self {
        attempt
    }
}

/// The body of an async function with `#[run_fn]`.
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

/// The body of a plain function with `#[run_fn]`.
pub fn run_fn_blocking<R: Attempted>(policy: &RetryPolicy, name: &str, mut f: impl FnMut() -> R) -> R {
    R::of_attempt(engine::run_fn_blocking(policy, name, || f().into_attempt()))
}

/// The policy of a function with `#[run_fn(policy = …)]`.
pub fn policy<P: AsPolicy>(policy: &P) -> &RetryPolicy {
    policy.as_policy()
}

/// A retry policy, or a reference to one.
#[diagnostic::on_unimplemented(
    message = "`policy` takes a `RetryPolicy`; this is of type `{Self}`",
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

/// An argument of a function with `#[run_fn]`, for one more attempt.
pub fn again<T: Again>(argument: &T) -> T {
    argument.again()
}

/// What can be given to more than one attempt.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be given to a further attempt",
    label = "every attempt of a function with `run_fn` needs this argument",
    note = "take it by `&`, or implement `Clone` for `{Self}`"
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

// A second impl, so that the compiler speaks of this trait and not of `Clone`.
impl Again for Placeholder {
    fn again(&self) -> Self {
        Self(())
    }
}

/// Does not compile for what is no connector.
pub const fn assert_connector<C: Connector>() {}

/// Does not compile for what is no service.
pub const fn assert_service<S: Service>() {}

/// Does not compile for what is no source.
pub const fn assert_source<C: Source>() {}

/// Does not compile for what is no sink.
pub const fn assert_sink<C: Sink>() {}

/// Builds the service of a field of a derived connector or service.
pub fn service<C, E>(field: &str, config: &C) -> Result<C::Service, E>
where
    C: ServiceConfig,
    E: OfService,
{
    config.build().map_err(|error| E::of_service(field, error))
}

/// An error that the failure of an inner service becomes.
pub trait OfService {
    fn of_service(field: &str, error: ServiceError) -> Self;
}

impl OfService for ConnectorError {
    fn of_service(field: &str, error: ServiceError) -> Self {
        let hint = error.hint().map(str::to_owned);
        let made = Self::permanent(format!("service `{field}`: {error}")).with_source(error);
        match hint {
            Some(hint) => made.with_hint(hint),
            None => made,
        }
    }
}

impl OfService for ServiceError {
    fn of_service(field: &str, error: ServiceError) -> Self {
        let hint = error.hint().map(str::to_owned);
        let made = Self::new(format!("service `{field}`: {error}")).with_source(error);
        match hint {
            Some(hint) => made.with_hint(hint),
            None => made,
        }
    }
}

/// Shows a task's output as JSON where it can be serialized, else as its `Debug` text, else not at all.
///
/// The generated code calls `(&&&Shown(output)).show()`; the method of the first impl that fits is taken.
#[derive(Debug)]
pub struct Shown<'a, T: ?Sized>(pub &'a T);

pub trait ShowAsJson {
    fn show(&self) -> Option<Value>;
}

impl<T: Serialize + ?Sized> ShowAsJson for &&Shown<'_, T> {
    fn show(&self) -> Option<Value> {
        serde_json::to_value(self.0).ok()
    }
}

pub trait ShowAsDebug {
    fn show(&self) -> Option<Value>;
}

impl<T: Debug + ?Sized> ShowAsDebug for &Shown<'_, T> {
    fn show(&self) -> Option<Value> {
        Some(Value::String(format!("{:?}", self.0)))
    }
}

pub trait ShowNothing {
    fn show(&self) -> Option<Value>;
}

impl<T: ?Sized> ShowNothing for Shown<'_, T> {
    fn show(&self) -> Option<Value> {
        None
    }
}

/// Compares two names at compile time.
pub const fn same_name(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        #[expect(clippy::indexing_slicing, reason = "`at` is below both lengths, which are equal")]
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}
