//! Exports the items that generated code names. Nothing here is part of the public API.
#![doc(hidden)]

mod attempt;
mod category;
#[cfg(feature = "opentelemetry")]
pub mod observe;
#[allow(deprecated, reason = "the deprecation of a stand-in names its feature")]
pub mod off;
mod show;

pub use std::borrow::Cow;
#[cfg(feature = "cli")]
use std::process::ExitCode;

pub use attempt::{Again, AsPolicy, Attempted, again, once, once_async, policy, run_fn, run_fn_blocking};
pub use category::{HasCategory, IsError, Transparent, transaction_error, transparent};
pub use serde;
use serde::de::DeserializeOwned;
pub use show::{ShowAsDebug, ShowAsJson, ShowNothing, Shown};

#[cfg(feature = "cli")]
pub use crate::cli::{Package, suggest_command};
pub use crate::connector::{
    Capabilities, Connector, ConnectorConfig, ConnectorError, Context, Duplex, DuplexConfig, Health, Input,
    Output, SinkConfig, SourceConfig,
};
use crate::connector::{Sink, Source};
pub use crate::engine::set_quick_limit;
pub use crate::engine::{
    blocking_consumer, blocking_hybrid, blocking_producer, consumer, executor, hybrid, producer,
};
use crate::error::{Error, ErrorKind};
pub use crate::policy::{
    ConsumerPolicy, EmptyQueuePolicy, Mode, OnHandlerFailure, ProducerPolicy, RetryPolicy,
};
pub use crate::service::{Service, ServiceConfig, ServiceError};
#[cfg(feature = "cli")]
use crate::settings::{self, Loaded};
pub use crate::task::{Parts, Task, TaskConfig};
pub use crate::transaction::{Category, TransactionError};

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

// A second impl, so that the error of the compiler names this trait and not serde's.
impl Settings for Placeholder {
    type Read = ();

    fn of((): ()) -> Self {
        Self(())
    }
}

/// Has the second impl of each trait whose first impl is a blanket impl.
#[derive(Debug)]
pub struct Placeholder(());

#[cfg(feature = "cli")]
/// Runs a program: the body of the `fn main` that `ergon::main!` writes.
pub fn main<S: Settings>(package: Package, tasks: fn(&S) -> Result<Vec<TaskConfig>, Error>) -> ExitCode {
    crate::cli::main(&package, &|options| {
        let Loaded { settings, framework } = settings::load::<S::Read>(options)?;
        Ok((framework, tasks(&S::of(settings))?))
    })
}

/// Calls the `fn(&Settings) -> Result<TaskConfig, _>` of a task.
pub fn task_config<S, F: OfSettings<S>>(make: F, settings: &S) -> Result<TaskConfig, Error> {
    make.task_config(settings)
}

/// A function of the settings.
#[diagnostic::on_unimplemented(
    message = "a function in `tasks` takes `&{S}`, a reference to the settings",
    label = "expected a `fn(&{S}) -> Result<TaskConfig>`",
    note = "write `fn config(settings: &{S}) -> Result<TaskConfig>`; for the struct of a task, write its wiring: `Orders {{ input: orders }}`"
)]
pub trait OfSettings<S> {
    fn task_config(self, settings: &S) -> Result<TaskConfig, Error>;
}

impl<S, T: IntoTaskConfig, F: FnOnce(&S) -> T> OfSettings<S> for F {
    fn task_config(self, settings: &S) -> Result<TaskConfig, Error> {
        self(settings).into_task_config()
    }
}

// A second impl, so that the error of the compiler names this trait and not `FnOnce`.
impl<S> OfSettings<S> for Placeholder {
    fn task_config(self, _: &S) -> Result<TaskConfig, Error> {
        Err(Error::new(ErrorKind::Settings, "a placeholder"))
    }
}

/// A task's config, or the error that prevented it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the config of a task",
    label = "this function does not return a `TaskConfig`",
    note = "return `TaskConfig` or `Result<TaskConfig>`; for the struct of a task, write its wiring: `Orders {{ input: orders }}`"
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

/// Takes the place of a value of a type that did not compile.
#[expect(clippy::panic, reason = "never runs, because it is generated only next to a compile error")]
pub fn stand_in<T>() -> T {
    panic!("this did not compile")
}

/// Fails to compile for a retry policy that is not valid.
pub const fn assert_possible<P: Possible>() {}

/// A retry policy, and whether it is valid.
#[derive(Debug)]
pub struct Checked<const POSSIBLE: bool>(());

/// A valid retry policy.
#[diagnostic::on_unimplemented(
    message = "this retry policy is not valid",
    label = "one of its values is out of range",
    note = "`max_attempts` and `backoff_multiplier` must be at least 1, `jitter` from 0 to 1, `backoff_cap` not smaller than `backoff`, and `timeout` longer than 0s"
)]
pub trait Possible {}

impl Possible for Checked<true> {}

/// Says whether a `const RetryPolicy` is valid, at compile time.
pub const fn is_possible(policy: &RetryPolicy) -> bool {
    let checked = policy.check();
    let possible = checked.is_ok();
    // A constant function cannot drop the error.
    std::mem::forget(checked);
    possible
}

/// Returns the first value of a field that a task's struct declares itself.
pub fn initial<T: Initial>() -> T {
    T::initial()
}

/// A type with a default value.
#[diagnostic::on_unimplemented(
    message = "this field of the task has no first value, because `{Self}` has no default",
    label = "this type does not implement `Default`",
    note = "write the first value as `#[init(…)]` on the field, or implement `Default` for `{Self}`"
)]
pub trait Initial {
    fn initial() -> Self;
}

impl<T: Default> Initial for T {
    fn initial() -> Self {
        Self::default()
    }
}

// A second impl, so that the error of the compiler names this trait and not `Default`.
impl Initial for Placeholder {
    fn initial() -> Self {
        Self(())
    }
}

/// Fails to compile for a type that is not a connector.
pub const fn assert_connector<C: Connector>() {}

/// Fails to compile for a type that is not a service.
pub const fn assert_service<S: Service>() {}

/// Fails to compile for a type that is not a source.
pub const fn assert_source<C: Source>() {}

/// Fails to compile for a type that is not a sink.
pub const fn assert_sink<C: Sink>() {}

/// Builds the service of a field of a derived connector or service.
pub fn service<C, E>(field: &str, config: &C) -> Result<C::Service, E>
where
    C: ServiceConfig,
    E: OfService,
{
    config.build().map_err(|error| E::of_service(field, error))
}

/// Checks the service in a field of a derived connector or service, and the services inside it.
///
/// # Errors
/// The service is unhealthy; the error names the field.
pub async fn check_service<C, E>(field: &str, service: &C::Service) -> Result<(), E>
where
    C: ServiceConfig,
    E: OfService,
{
    C::check_inner(service).await.map_err(|error| E::of_service(field, error))?;
    service.check().await.map_err(|error| E::of_service(field, error))
}

/// An error that wraps the failure of an inner service.
pub trait OfService {
    fn of_service(field: &str, error: ServiceError) -> Self;
}

impl OfService for ConnectorError {
    fn of_service(field: &str, error: ServiceError) -> Self {
        Self::permanent(format!("service `{field}`: {error}")).explained_like(&error, error.hint())
    }
}

impl OfService for ServiceError {
    fn of_service(field: &str, error: ServiceError) -> Self {
        Self::new(format!("service `{field}`: {error}")).explained_like(&error, error.hint())
    }
}

/// Fails to compile for two tasks with the same name.
pub const fn assert_distinct<C: Distinct<First, Second>, First, Second>() {}

/// The names of two tasks, and whether they are the same.
#[derive(Debug)]
pub struct Compared<const SAME: bool>(());

/// Two tasks whose names differ.
#[diagnostic::on_unimplemented(
    message = "the tasks `{First}` and `{Second}` have the same name",
    label = "this task has the same name as `{First}`",
    note = "give one of them another name: `#[ergon::task(name = \"…\", …)]`"
)]
pub trait Distinct<First, Second> {}

impl<First, Second> Distinct<First, Second> for Compared<false> {}

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

/// Installs the meter provider of the process; for tests, and for the part of the program that makes the provider.
#[cfg(feature = "opentelemetry")]
pub fn install_metrics(provider: opentelemetry_sdk::metrics::SdkMeterProvider) {
    crate::telemetry::metrics::install(provider);
}
