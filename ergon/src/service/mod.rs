//! What a task may call: a [`Service`] is a protocol client (a CRM, a language model, a database) that knows nothing of
//! transactions. Tasks hold it as `Arc<CrmService>`, or as `Arc<dyn Rates>` so that a test can pass a fake.

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

/// A protocol client that a task may call.
///
/// `#[derive(Service)]` writes this impl and the service's config.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a service",
    label = "this type does not implement `Service`",
    note = "add `#[derive(Service)]` to `{Self}`"
)]
pub trait Service: Send + Sync + 'static {
    /// Gets ready: connects, checks credentials. Called once, before the task runs.
    ///
    /// # Errors
    /// What is missing or wrong, in words.
    fn open(&self) -> impl Future<Output = Result<(), ServiceError>> + Send {
        std::future::ready(Ok(()))
    }

    /// Lets go of the external system. Called once, after the task's end.
    ///
    /// # Errors
    /// What could not be finished.
    fn close(&self) -> impl Future<Output = Result<(), ServiceError>> + Send {
        std::future::ready(Ok(()))
    }

    /// Asks the external system whether it is there and lets us in, and leaves it as it is; for the command `check`,
    /// instead of [`open`](Self::open). The services that this one is built of are asked before. Default: opens and
    /// closes.
    ///
    /// # Errors
    /// Those of `open` and `close`.
    fn check(&self) -> impl Future<Output = Result<(), ServiceError>> + Send {
        async {
            self.open().await?;
            self.close().await
        }
    }
}

/// Makes a service; plain data, usually read from the settings.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a service's config",
    label = "no service can be made from this",
    note = "wire the config that `#[derive(Service)]` made for your service"
)]
pub trait ServiceConfig: Clone + Send + Sync + 'static {
    /// The service this makes.
    type Service: Service;

    /// Makes the service, without touching the external system: that is [`Service::open`]'s work.
    ///
    /// # Errors
    /// A value that can never work, named.
    fn build(&self) -> Result<Self::Service, ServiceError>;

    /// Asks the services that the service is built of, for the command `check`. `#[derive(Service)]` writes it. Default:
    /// there are none.
    ///
    /// # Errors
    /// What the first that is not well says, with its field.
    fn check_inner(service: &Self::Service) -> impl Future<Output = Result<(), ServiceError>> + Send {
        let _ = service;
        std::future::ready(Ok(()))
    }
}

/// A service of any kind; the part of every service that the runner drives.
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
