//! Protocol clients that a task calls: a CRM, a language model, a database.
//!
//! A [`Service`] knows nothing of transactions. A task holds it as `Arc<CrmService>`, or as `Arc<dyn Rates>` so that a
//! test can pass a fake. The modules `http` and `openai` are ready to use, alone or inside services of yours.

mod error;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "openai")]
pub mod openai;

use std::future::Future;

use futures_util::future::BoxFuture;

use crate::transaction::Result;

pub use ergon_macros::Service;
pub use error::ServiceError;

/// A protocol client that a task calls.
///
/// `#[derive(Service)]` writes this impl and the service's config. `#[service(manual)]` leaves the impl to you, for a
/// service that connects when the task starts.
///
/// ```
/// use ergon::prelude::*;
/// use ergon::service::{Service, ServiceError};
///
/// #[derive(Service)]
/// #[service(manual)]
/// struct RatesService {
///     file: std::path::PathBuf,
/// }
///
/// impl Service for RatesService {
///     async fn open(&self) -> Result<(), ServiceError> {
///         match self.file.exists() {
///             true => Ok(()),
///             false => Err(ServiceError::new("the file of rates is missing").with_hint("run `make rates`")),
///         }
///     }
/// }
///
/// let rates = RatesServiceConfig { file: "no/such/file".into() }.build()?;
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// assert_eq!(Service::open(&rates).await.unwrap_err().to_string(), "the file of rates is missing");
/// # });
/// # Ok::<(), ServiceError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a service",
    label = "this type does not implement `Service`",
    note = "add `#[derive(Service)]` to `{Self}`"
)]
pub trait Service: Send + Sync + 'static {
    /// Prepares the service: connects, checks credentials. The runner calls it once, before the task runs, and waits at
    /// most 30 seconds. Default: does nothing.
    ///
    /// # Errors
    /// The missing or wrong part. The run does not start.
    fn open(&self) -> impl Future<Output = Result<(), ServiceError>> + Send {
        std::future::ready(Ok(()))
    }

    /// Releases the external system. The runner calls it once, after the task's end, and waits at most 30 seconds.
    /// Default: does nothing.
    ///
    /// # Errors
    /// The work that could not be finished. The run counts as failed.
    fn close(&self) -> impl Future<Output = Result<(), ServiceError>> + Send {
        std::future::ready(Ok(()))
    }

    /// Tests whether the external system is there and accepts our credentials, and changes nothing there. The command
    /// `check` calls it instead of [`open`](Self::open), after it has checked the services that this service is built
    /// of. Default: opens and closes.
    ///
    /// # Errors
    /// The errors of `open` and `close`.
    fn check(&self) -> impl Future<Output = Result<(), ServiceError>> + Send {
        async {
            self.open().await?;
            self.close().await
        }
    }
}

/// The config of a service: plain data, usually read from the settings.
///
/// `#[derive(Service)]` writes it, with one key for each setting of the service.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a service's config",
    label = "no service can be made from this",
    note = "wire the config that `#[derive(Service)]` made for your service"
)]
pub trait ServiceConfig: Clone + Send + Sync + 'static {
    /// The service that this config makes.
    type Service: Service;

    /// Makes the service without contacting the external system, because several parts of a program may fail here
    /// before any of them connects. Connecting is [`Service::open`]'s work.
    ///
    /// # Errors
    /// The value that can never work, by its key.
    fn build(&self) -> Result<Self::Service, ServiceError>;

    /// Checks the services that the service is built of, for the command `check`. `#[derive(Service)]` writes it.
    /// Default: there are none.
    ///
    /// # Errors
    /// The error of the first unhealthy service, with its field.
    fn check_inner(service: &Self::Service) -> impl Future<Output = Result<(), ServiceError>> + Send {
        let _ = service;
        std::future::ready(Ok(()))
    }
}

/// The methods of every service that the runner drives, for services of any type.
pub(crate) trait AnyService: Send + Sync {
    fn open(&self) -> BoxFuture<'_, Result<(), ServiceError>>;
    fn close(&self) -> BoxFuture<'_, Result<(), ServiceError>>;
    fn check(&self) -> BoxFuture<'_, Result<(), ServiceError>>;
}

impl<S: Service> AnyService for S {
    fn open(&self) -> BoxFuture<'_, Result<(), ServiceError>> {
        Box::pin(Service::open(self))
    }

    fn close(&self) -> BoxFuture<'_, Result<(), ServiceError>> {
        Box::pin(Service::close(self))
    }

    fn check(&self) -> BoxFuture<'_, Result<(), ServiceError>> {
        Box::pin(Service::check(self))
    }
}
