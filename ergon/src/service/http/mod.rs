//! A service over HTTP: JSON in and out, credentials, retries, limits.
//!
//! A task has it injected like any service, as `Arc<HttpService>`; a service of your own holds one in a field:
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
//! # What is retried
//!
//! | what happened | `GET`, `PUT`, `DELETE`, … or [repeatable](Request::repeatable) | `POST`, `PATCH` |
//! |---|---|---|
//! | no connection | retried | retried: nothing was sent |
//! | 429, 503 | retried | retried: the other side says that it did nothing |
//! | 408, 425, other 5xx but 501 and 505 | retried | not: it may have been carried out |
//! | connection lost, time limit | retried | not: it may have been carried out |
//! | other 4xx, redirect, too large, no JSON | not | not |
//!
//! [`idempotency_key`](Request::idempotency_key) makes a `POST` repeatable where the other side knows the header.
//! `Retry-After` replaces the policy's wait. If it asks for more than `backoff_cap`, the request is not retried: the
//! error says when to try again, so that a handler can put the transaction off with
//! [`Disposition::RetryAfter`](crate::connector::Disposition::RetryAfter).
//!
//! Redirects are followed to the same host only, five at most; a `POST` follows 307 and 308, and a 303 with a `GET`.
//! The system's `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` are obeyed.

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

/// A client of one HTTP service; cheap to clone, connections are shared and kept.
///
/// It needs no task:
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

    /// Starts a `GET`. `path` is relative to `base_url` and may bring a query.
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

    /// Starts a request of any method.
    pub fn request(&self, method: Method, path: impl AsRef<str>) -> Request {
        Request::new(self.clone(), method, path.as_ref())
    }
}

/// A check sends one `HEAD` to `base_url`, with the credentials of every request, and makes no second attempt. Any answer
/// will do, also 404: what is asked is whether the other side is there. Not 401 to our credentials, 407, and 502 to 504,
/// by which a gateway says that nothing is behind it.
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
