//! Builds a request: path, query, headers and body. An invalid part is reported when the request is sent, so that the
//! calls can be chained.

use std::fmt;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::address::{self, shown_url};
use super::exchange::Exchange;
use super::{Body, HttpError, HttpErrorKind, HttpService, Response};
use crate::transaction::json;

/// A request that is not sent yet. [`HttpService::get`] and its siblings make it.
///
/// An invalid part is reported when the request is sent.
///
/// ```
/// use ergon::prelude::*;
///
/// # #[derive(Serialize)]
/// # struct Order { sku: String }
/// # #[derive(Deserialize)]
/// # struct Placed { number: u64 }
/// async fn place(shop: &HttpService, order: &Transaction<Order>, customer: &str) -> Result<u64> {
///     let request = shop.post("customers").segment(customer).segment("orders");
///     let placed: Placed = request
///         .query("currency", "EUR")
///         .json(order.payload())
///         .idempotency_key(order.id())
///         .receive()
///         .await?;
///     Ok(placed.number)
/// }
/// ```
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    service: HttpService,
    method: Method,
    url: Result<Url, HttpError>,
    headers: HeaderMap,
    body: Bytes,
    repeatable: bool,
    problem: Option<HttpError>,
}

impl Request {
    pub(super) fn new(service: HttpService, method: Method, path: &str) -> Self {
        let url = service.client().base.join(path).map_err(|why| {
            HttpError::new(
                HttpErrorKind::Request,
                format!("{method}: no request can be made of its path: {why}"),
            )
            .with_hint(
                "a path is relative to `base_url`; `segment` and `query` add what may have any character",
            )
        });
        let repeatable = method.is_idempotent();
        let (headers, body, problem) = (HeaderMap::new(), Bytes::new(), None);
        Self { service, method, url, headers, body, repeatable, problem }
    }

    /// Adds a segment to the path. It may contain any character, and stays one segment. An empty segment, `.` and `..`
    /// are refused.
    pub fn segment(mut self, segment: impl AsRef<str>) -> Self {
        if let Ok(url) = &mut self.url
            && let Err(why) = address::push(url, segment.as_ref())
        {
            self.refuse(&why);
        }
        self
    }

    /// Adds a pair to the query. Logs and errors never show the value.
    #[expect(clippy::needless_pass_by_value, reason = "`.query(\"page\", 2)` reads as what it is")]
    pub fn query(mut self, key: &str, value: impl ToString) -> Self {
        if let Ok(url) = &mut self.url {
            url.query_pairs_mut().append_pair(key, &value.to_string());
        }
        self
    }

    /// Sets a header, in place of the config's header with the same name.
    pub fn header(mut self, name: &str, value: impl AsRef<str>) -> Self {
        match (name.parse::<HeaderName>(), HeaderValue::from_str(value.as_ref())) {
            (Ok(name), Ok(mut value)) => {
                value.set_sensitive(true);
                self.headers.insert(name, value);
            }
            (Err(_), _) => self.refuse(&format!("`{}` is no name of a header", name.escape_debug())),
            (_, Err(_)) => self.refuse(&format!("the header `{name}` has characters that it cannot have")),
        }
        self
    }

    /// Sets the body to `value` as JSON. A value that JSON cannot hold, such as a number that is not finite, makes
    /// [`send`](Self::send) fail before anything is sent.
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        match json::to_bytes(value) {
            Ok(body) => self.body("application/json", body),
            Err(error) => {
                self.refuse(&format!("its body is no JSON: {error}"));
                self
            }
        }
    }

    /// Sets the body to pairs, encoded like a form.
    pub fn form<K: AsRef<str>, V: AsRef<str>>(self, pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        let body = Serializer::new(String::new()).extend_pairs(pairs).finish();
        self.body("application/x-www-form-urlencoded", body)
    }

    /// Sets the body to bytes of this media type.
    pub fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.header(CONTENT_TYPE.as_str(), content_type)
    }

    /// Sets `Idempotency-Key`, by which the server recognizes a request that it has already carried out, and makes the
    /// request [repeatable](Self::repeatable). The id of a transaction is a good key. A key is percent-encoded if it
    /// has other characters than visible ASCII.
    pub fn idempotency_key(self, key: impl AsRef<str>) -> Self {
        let key = key.as_ref();
        // An id may have characters that a header cannot have, for example from the name of a sheet.
        let is_plain = key.bytes().all(|byte| matches!(byte, b'!'..=b'~'));
        let plain = if is_plain { key.to_owned() } else { byte_serialize(key.as_bytes()).collect() };
        self.header("idempotency-key", plain).repeatable()
    }

    /// Declares that the server may carry out this request twice, as it may with any `GET` or `PUT`. The request is
    /// then retried even if the server may already have it.
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// Sends the request, as often as the config's `retry` allows, and reads the whole answer.
    ///
    /// # Errors
    /// The last attempt's: any status but 2xx is one. See [`HttpError`].
    ///
    /// # Cancel safety
    /// A dropped future ends the current attempt. The server may have the request.
    pub async fn send(self) -> Result<Response, HttpError> {
        self.ready()?.whole().await
    }

    /// Sends the request and decodes the answer from JSON.
    ///
    /// # Errors
    /// The errors of [`send`](Self::send), and the error of an answer that is not a `T`.
    ///
    /// # Cancel safety
    /// As [`send`](Self::send).
    pub async fn receive<T: DeserializeOwned>(self) -> Result<T, HttpError> {
        self.send().await?.json()
    }

    /// Sends the request, as often as the config's `retry` allows, and returns the answer piece by piece, without a
    /// limit of size.
    ///
    /// Retries end when the answer starts. After that, each piece may take as long as the config's `timeout`.
    ///
    /// # Errors
    /// The last attempt's: any status but 2xx is one.
    pub async fn stream(self) -> Result<Body, HttpError> {
        self.ready()?.begin().await
    }

    fn ready(self) -> Result<Exchange, HttpError> {
        let Self { service, method, url, headers, body, repeatable, problem } = self;
        let url = url?;
        match problem {
            Some(problem) => Err(problem),
            None => Ok(Exchange { service, method, url, headers, body, repeatable }),
        }
    }

    /// Keeps the first problem, which is what the caller has to fix first.
    fn refuse(&mut self, why: &str) {
        let Ok(url) = &self.url else { return };
        let message = format!("{} {}: no request can be made: {why}", self.method, shown_url(url));
        self.problem.get_or_insert_with(|| HttpError::new(HttpErrorKind::Request, message));
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.as_ref().map(shown_url);
        f.debug_struct("Request").field("method", &self.method).field("url", &url).finish_non_exhaustive()
    }
}
