//! A request, made part by part.

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

/// A request that is not sent yet; made by [`HttpService::get`] and the like.
///
/// What is wrong with a part of it is told when it is sent.
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

    /// Adds a segment to the path; it may have any character, and stays one segment. `.` and `..` are refused, as is
    /// an empty one.
    pub fn segment(mut self, segment: impl AsRef<str>) -> Self {
        if let Ok(url) = &mut self.url
            && let Err(why) = address::push(url, segment.as_ref())
        {
            self.refuse(&why);
        }
        self
    }

    /// Adds a pair to the query; its value is never shown in logs and errors.
    #[expect(clippy::needless_pass_by_value, reason = "`.query(\"page\", 2)` reads as what it is")]
    pub fn query(mut self, key: &str, value: impl ToString) -> Self {
        if let Ok(url) = &mut self.url {
            url.query_pairs_mut().append_pair(key, &value.to_string());
        }
        self
    }

    /// Sets a header, in place of one of the config's.
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

    /// Sends `value` as JSON. A value that JSON cannot hold, such as a number that is not finite, is the error of
    /// [`send`](Self::send): nothing is sent.
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        match json::to_bytes(value) {
            Ok(body) => self.body("application/json", body),
            Err(error) => {
                self.refuse(&format!("its body is no JSON: {error}"));
                self
            }
        }
    }

    /// Sends pairs as a form does.
    pub fn form<K: AsRef<str>, V: AsRef<str>>(self, pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        let body = Serializer::new(String::new()).extend_pairs(pairs).finish();
        self.body("application/x-www-form-urlencoded", body)
    }

    /// Sends bytes as they are, of this media type.
    pub fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.header(CONTENT_TYPE.as_str(), content_type)
    }

    /// Sends `Idempotency-Key`, by which the other side knows a request that it has had before; the id of a
    /// transaction is a good one. Percent-encoded where it has other than visible ASCII characters. Makes the request [repeatable](Self::repeatable).
    pub fn idempotency_key(self, key: impl AsRef<str>) -> Self {
        let key = key.as_ref();
        // An id may have characters that a header cannot have: the name of a sheet, for example.
        let is_plain = key.bytes().all(|byte| matches!(byte, b'!'..=b'~'));
        let plain = if is_plain { key.to_owned() } else { byte_serialize(key.as_bytes()).collect() };
        self.header("idempotency-key", plain).repeatable()
    }

    /// Says that this request may be carried out twice, as a `GET` or a `PUT` may by its nature: it is retried though
    /// the other side may have had it.
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// Sends it, as often as the config's `retry` allows, and reads the answer to its end.
    ///
    /// # Errors
    /// The last attempt's: any status but 2xx is one. See [`HttpError`].
    ///
    /// # Cancel safety
    /// When dropped, the attempt under way is given up; the other side may have the request.
    pub async fn send(self) -> Result<Response, HttpError> {
        self.ready()?.whole().await
    }

    /// The same, and decodes the answer from JSON.
    ///
    /// # Errors
    /// Those of [`send`](Self::send), and of an answer that is no `T`.
    pub async fn receive<T: DeserializeOwned>(self) -> Result<T, HttpError> {
        self.send().await?.json()
    }

    /// Sends it, as often as the config's `retry` allows, and hands on the answer piece by piece, whatever its size.
    ///
    /// Attempts end when the answer begins; after that each piece may take as long as the config's `timeout`.
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

    /// Keeps the first thing that is wrong.
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
