//! The error of a request: its kind, its category, and the server's wait before the next attempt.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;

use super::address::conceal;
use crate::connector::ConnectorError;
use crate::error::{Report, impl_report};
use crate::service::ServiceError;
use crate::transaction::{Category, HasCategory, TransactionError};

/// The failure of a request, after its retries.
///
/// `Display` names the method, the URL (without credentials and the values of its query), the status and the beginning
/// of the body. Inside a handler, `?` converts it with its [category](HttpError::category).
///
/// ```
/// use ergon::prelude::*;
/// use ergon::service::http::HttpErrorKind;
///
/// # #[derive(Deserialize)]
/// # struct Customer;
/// async fn customer(crm: &HttpService, id: &str) -> Result<Option<Customer>, HttpError> {
///     match crm.get("customers").segment(id).receive().await {
///         Ok(customer) => Ok(Some(customer)),
///         Err(error) if error.kind() == HttpErrorKind::Status(404) => Ok(None),
///         Err(error) => Err(error),
///     }
/// }
/// ```
#[derive(Clone)]
pub struct HttpError(Box<Report<Failure>>);

impl_report!(HttpError, pub(crate) with_hint);

#[derive(Clone)]
struct Failure {
    kind: HttpErrorKind,
    body: Bytes,
    retry_after: Option<Duration>,
}

/// The kind of a failure, which decides its [category](HttpErrorKind::category).
///
/// ```
/// use ergon::prelude::*;
/// use ergon::service::http::HttpErrorKind;
///
/// assert_eq!(HttpErrorKind::Status(404).category(), Category::Business);
/// assert_eq!(HttpErrorKind::Status(503).category(), Category::System);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HttpErrorKind {
    /// No request could be made: a path outside `base_url`, a body that JSON cannot hold. Business.
    Request,
    /// No connection, so nothing was sent. System.
    Connect,
    /// The time limit of the attempt ended. Timeout.
    Timeout,
    /// The connection was lost. The server may have the request. System.
    Interrupted,
    /// The server answered with this status. Business from 400 to 499, except 408 (timeout), 425 and 429 (system).
    /// System otherwise.
    Status(u16),
    /// The server redirects to another host, in a circle, or in a way that would lose the body. Business.
    Redirect,
    /// The answer is larger than `max_response`. Business.
    TooLarge,
    /// The answer cannot be decoded. System.
    Decode,
    /// Any other failure: a panic in the client. System.
    Other,
}

impl HttpErrorKind {
    /// The category, which decides whether a retry can help.
    pub const fn category(self) -> Category {
        match self {
            Self::Timeout | Self::Status(408) => Category::Timeout,
            Self::Status(425 | 429) => Category::System,
            Self::Request | Self::Redirect | Self::TooLarge | Self::Status(400..=499) => Category::Business,
            Self::Connect | Self::Interrupted | Self::Status(_) | Self::Decode | Self::Other => {
                Category::System
            }
        }
    }
}

impl HttpError {
    pub(crate) fn new(kind: HttpErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Report::new(Failure { kind, body: Bytes::new(), retry_after: None }, message)))
    }

    pub(super) fn with_answer(mut self, body: Bytes, retry_after: Option<Duration>) -> Self {
        (self.0.detail.body, self.0.detail.retry_after) = (body, retry_after);
        self
    }

    /// The kind of the failure.
    pub fn kind(&self) -> HttpErrorKind {
        self.0.detail.kind
    }

    /// The category, which decides whether a retry can help.
    pub fn category(&self) -> Category {
        self.0.detail.kind.category()
    }

    /// The status of the answer, for [`HttpErrorKind::Status`].
    pub fn status(&self) -> Option<StatusCode> {
        match self.0.detail.kind {
            HttpErrorKind::Status(code) => StatusCode::from_u16(code).ok(),
            _ => None,
        }
    }

    /// The first 8 KiB of the body that came with the status, unchanged. Empty for every other kind.
    pub fn body(&self) -> &[u8] {
        &self.0.detail.body
    }

    /// The server's wait before the next attempt, if it sent `Retry-After`.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.detail.retry_after
    }

    /// Whether the service may retry the request: either the request certainly had no effect, or it is `repeatable`.
    pub(super) fn allows_retry(&self, repeatable: bool) -> bool {
        match self.0.detail.kind {
            HttpErrorKind::Connect => self.0.hint.as_deref() != Some(UNTRUSTED),
            HttpErrorKind::Status(429 | 503) => true,
            HttpErrorKind::Status(501 | 505) => false,
            HttpErrorKind::Status(408 | 425 | 500..)
            | HttpErrorKind::Timeout
            | HttpErrorKind::Interrupted => repeatable,
            _ => false,
        }
    }
}

/// The hint for an untrusted certificate. [`HttpError::allows_retry`] recognizes the failure by it.
pub(super) const UNTRUSTED: &str = "name the authority that signed the certificate in `tls.ca_file`, and the host by the name that stands in the certificate";

impl fmt::Debug for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpError")
            .field("kind", &self.0.detail.kind)
            .field("message", &self.0.message)
            .field("source", &self.source().map(ToString::to_string))
            .field("retry_after", &self.0.detail.retry_after)
            .finish_non_exhaustive()
    }
}

impl HasCategory for HttpError {
    fn categorize(self) -> TransactionError {
        let (category, retry_after) = (self.category(), self.retry_after());
        let made = TransactionError::from_error(category, self);
        match retry_after {
            Some(wait) => made.with_retry_after(wait),
            None => made,
        }
    }
}

/// Gives the errors of a handler that uses `reqwest` itself the category that [`HttpErrorKind::category`] has for the
/// same failure. The URL is shown without credentials and query.
impl HasCategory for reqwest::Error {
    fn categorize(mut self) -> TransactionError {
        let kind = if self.is_timeout() {
            HttpErrorKind::Timeout
        } else if let Some(status) = self.status() {
            HttpErrorKind::Status(status.as_u16())
        } else if self.is_connect() {
            HttpErrorKind::Connect
        } else if self.is_builder() {
            HttpErrorKind::Request
        } else if self.is_redirect() {
            HttpErrorKind::Redirect
        } else {
            HttpErrorKind::Other
        };
        if let Some(url) = self.url_mut() {
            conceal(url);
        }
        TransactionError::from_error(kind.category(), self)
    }
}

/// For a service that contacts its server in `open`.
impl From<HttpError> for ServiceError {
    fn from(error: HttpError) -> Self {
        Self::new(error.to_string()).explained_like(&error, error.hint())
    }
}

/// For a connector that works over HTTP: permanent for business errors, because a retry cannot help; unknown if the
/// server may have the request; transient otherwise.
impl From<HttpError> for ConnectorError {
    fn from(error: HttpError) -> Self {
        let made = match (error.kind(), error.category()) {
            (HttpErrorKind::Interrupted | HttpErrorKind::Timeout, _) => Self::unknown(error.to_string()),
            (_, Category::Business) => Self::permanent(error.to_string()),
            _ => Self::transient(error.to_string()),
        };
        made.with_hint_if(error.hint()).with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};

    use super::*;
    use crate::service::http::{HttpConfig, client::Client};

    fn client() -> reqwest::Client {
        Client::new(&HttpConfig::new("http://127.0.0.1")).unwrap().http
    }

    /// A server that answers one request with this status.
    fn answering(status: u16) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            write!(stream, "HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        });
        address
    }

    async fn failed(url: &str) -> TransactionError {
        let request = client().get(url).timeout(Duration::from_millis(500));
        request.send().await.and_then(reqwest::Response::error_for_status).unwrap_err().into()
    }

    #[tokio::test]
    async fn errors_of_a_client_of_ones_own_have_the_categories_of_the_service() {
        for (status, category) in [
            (404, Category::Business),
            (422, Category::Business),
            (408, Category::Timeout),
            (425, Category::System),
            (429, Category::System),
            (500, Category::System),
            (503, Category::System),
        ] {
            let error = failed(&format!("http://{}/", answering(status))).await;
            assert_eq!(error.category(), category, "{status}: {error}");
        }
        assert_eq!(failed("no url").await.category(), Category::Business);
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = failed(&format!("http://{}/", silent.local_addr().unwrap())).await;
        assert_eq!(error.category(), Category::Timeout, "{error}");
    }

    #[tokio::test]
    async fn errors_of_a_client_of_ones_own_show_no_secret() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = failed(&format!("http://user:s3cret@{closed}/orders?key=s3cret#s3cret")).await;
        assert_eq!(error.category(), Category::System);
        assert!(error.downcast_ref::<reqwest::Error>().is_some());
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(&format!("http://{closed}/orders")) && !shown.contains("s3cret"), "{shown}");
    }
}
