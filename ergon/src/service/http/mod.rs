//! HTTP services: JSON requests and answers, with credentials, retries and limits.
//!
//! A task has it injected like any service, as `Arc<HttpService>`. A service of your own holds it in a field:
//!
//! ```
//! use ergon::prelude::*;
//! use ergon::service::Service;
//! use ergon::service::http::HttpErrorKind;
//!
//! #[derive(Debug, Deserialize)]
//! pub struct Customer { pub name: String, pub segment: String }
//!
//! #[derive(Service)]
//! pub struct CrmService {
//!     #[service(service)]
//!     http: HttpService,
//! }
//!
//! impl CrmService {
//!     pub async fn customer(&self, id: &str) -> Result<Customer, HttpError> {
//!         self.http.get("customers").segment(id).receive().await
//!     }
//! }
//!
//! #[ergon::task(connectors(input), services(crm))]
//! struct GreetCustomers;
//!
//! impl Consumer for GreetCustomers {
//!     type Payload = String;
//!     type Output = String;
//!
//!     async fn process_transaction(&self, id: &Transaction<String>) -> Result<String> {
//!         let customer = self.crm_service.customer(id.payload()).await?;
//!         Ok(format!("Dear {},", customer.name))
//!     }
//! }
//! ```
//!
//! # Retries
//!
//! | failure | `GET`, `PUT`, `DELETE`, … or [repeatable](Request::repeatable) | `POST`, `PATCH` |
//! |---|---|---|
//! | no connection | retried | retried: nothing was sent |
//! | 429, 503 | retried | retried: the server says that it did nothing |
//! | 408, 425, other 5xx but 501 and 505 | retried | not retried: it may have been carried out |
//! | connection lost, time limit | retried | not retried: it may have been carried out |
//! | other 4xx, redirect, too large, not JSON | not retried | not retried |
//!
//! [`idempotency_key`](Request::idempotency_key) makes a `POST` repeatable if the server knows the header.
//! `Retry-After` replaces the policy's wait. If it asks for more than `backoff_cap`, the request is not retried. The
//! error then carries the time, so that a handler can delay the transaction with
//! [`Disposition::RetryAfter`](crate::connector::Disposition::RetryAfter).
//!
//! # Redirects and proxies
//!
//! The service follows at most five redirects, and only to the same host. It sends a `POST` again after 307 and 308,
//! and a `GET` after 303. The system's `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` apply.

mod address;
mod asked;
mod client;
mod config;
mod error;
mod excerpt;
mod exchange;
mod failure;
mod request;
mod response;
mod retry_after;
mod tls;

use std::fmt;
use std::sync::Arc;

use self::client::Client;
use super::{Service, ServiceError};
use crate::settings::ByteSize;

pub use config::{Auth, HttpConfig, HttpServiceConfig, Tls};
pub use error::{HttpError, HttpErrorKind};
pub use request::Request;
pub use reqwest::header::HeaderMap;
pub use reqwest::{Method, StatusCode};
pub use response::{Body, Response};

/// The client of one HTTP service. Clones are cheap and share their open connections.
///
/// It works without a task too:
///
/// ```no_run
/// use ergon::prelude::*;
///
/// # async fn script() -> Result<(), Box<dyn std::error::Error>> {
/// let github = HttpConfig::new("https://api.github.com").build()?;
/// let repository: Value = github.get("repos/rust-lang/rust").receive().await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct HttpService {
    client: Arc<Client>,
}

impl HttpService {
    fn of(client: Client) -> Self {
        Self { client: Arc::new(client) }
    }

    fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn max_response(&self) -> ByteSize {
        self.client.max_response
    }

    /// Starts a `GET`. `path` is relative to `base_url` and may contain a query.
    pub fn get(&self, path: impl AsRef<str>) -> Request {
        self.request(Method::GET, path)
    }

    /// Starts a `POST`.
    pub fn post(&self, path: impl AsRef<str>) -> Request {
        self.request(Method::POST, path)
    }

    /// Starts a `PUT`.
    pub fn put(&self, path: impl AsRef<str>) -> Request {
        self.request(Method::PUT, path)
    }

    /// Starts a `PATCH`.
    pub fn patch(&self, path: impl AsRef<str>) -> Request {
        self.request(Method::PATCH, path)
    }

    /// Starts a `DELETE`.
    pub fn delete(&self, path: impl AsRef<str>) -> Request {
        self.request(Method::DELETE, path)
    }

    /// Starts a request with any method.
    pub fn request(&self, method: Method, path: impl AsRef<str>) -> Request {
        Request::new(self.clone(), method, path.as_ref())
    }
}

/// `check` sends one `HEAD` to `base_url`, with the credentials of every request, within 10 seconds and without a
/// retry. Any answer passes, even 404, because it shows that the server is there. The exceptions are 401 to our
/// credentials, 407, and 502 to 504, by which a gateway reports that nothing is behind it.
impl Service for HttpService {
    async fn check(&self) -> Result<(), ServiceError> {
        Ok(exchange::reach(self).await?)
    }
}

impl fmt::Debug for HttpService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpService").field("base_url", &self.client.base.as_str()).finish_non_exhaustive()
    }
}
