//! Why a request failed, whether trying again can help, and when.

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

/// The failure of a request.
///
/// `Display` names the method, the URL (without credentials and the values of its query), the status and the beginning
/// of the body. Inside a handler it converts by itself, with its [category](HttpError::category).
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

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HttpErrorKind {
    /// No request could be made of what was given: a path that leads elsewhere, a body that is no JSON. Business.
    Request,
    /// There was no connection, so nothing was sent. System.
    Connect,
    /// The time limit of the attempt ran out. Timeout.
    Timeout,
    /// The connection was lost; the other side may have the request. System.
    Interrupted,
    /// The other side refused, with this status. Business from 400 to 499, but for 408, 425 and 429; otherwise system.
    Status(u16),
    /// The other side points to another host, in a circle, or in a way that would lose the body. Business.
    Redirect,
    /// The answer is larger than `max_response`. Business.
    TooLarge,
    /// The answer is not what was asked for. System.
    Decode,
    /// Anything else: a panic in the client. System.
    Other,
}

impl HttpErrorKind {
    /// Whether trying again can help.
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

    /// What went wrong.
    pub fn kind(&self) -> HttpErrorKind {
        self.0.detail.kind
    }

    /// Whether trying again can help.
    pub fn category(&self) -> Category {
        self.0.detail.kind.category()
    }

    /// The status of the answer, if it is what went wrong.
    pub fn status(&self) -> Option<StatusCode> {
        match self.0.detail.kind {
            HttpErrorKind::Status(code) => StatusCode::from_u16(code).ok(),
            _ => None,
        }
    }

    /// The first 8 KiB of the body that came with the status, as they came; empty where there is none.
    pub fn body(&self) -> &[u8] {
        &self.0.detail.body
    }

    /// When to try again, if the other side said so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.detail.retry_after
    }

    /// Whether a further attempt may be made at once: only where the request certainly did nothing, unless it may do
    /// the same again.
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

/// The advice on a certificate that is not trusted.
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

/// For a handler that uses `reqwest` itself: as [`HttpErrorKind::category`] says of the same failure. The URL is shown
/// without credentials and query.
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

/// For a service that asks the other side when it opens.
impl From<HttpError> for ServiceError {
    fn from(error: HttpError) -> Self {
        Self::new(error.to_string()).explained_like(&error, error.hint())
    }
}

/// For a connector that fetches from the other side, or dispatches to it: permanent where trying again cannot help,
/// unknown where the other side may have the request.
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
