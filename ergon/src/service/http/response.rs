//! The answers to requests: a whole body in memory, or a stream of pieces without a limit of size.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde::de::DeserializeOwned;
use tokio::time::{Sleep, sleep};

use super::asked::Asked;
use super::excerpt::excerpt;
use super::exchange::announced;
use super::{HttpError, HttpErrorKind, failure};
use crate::settings::ByteSize;
use crate::transaction::json::{self, Located};

/// A whole answer with a status of 2xx.
///
/// ```
/// use ergon::prelude::*;
///
/// async fn version(api: &HttpService) -> Result<String> {
///     let response = api.get("status").send().await?;
///     let version = response.header("x-version").map(str::to_owned);
///     Ok(version.unwrap_or_else(|| response.text()))
/// }
/// ```
pub struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    asked: Asked,
}

impl Response {
    pub(super) fn new(status: StatusCode, headers: HeaderMap, body: Bytes, asked: Asked) -> Self {
        Self { status, headers, body, asked }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// All headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// A header, if the answer has it and its value is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body, unchanged.
    pub fn bytes(&self) -> &Bytes {
        &self.body
    }

    /// The body as text. Bytes that are not UTF-8 become `�`.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Decodes the body from JSON. A number keeps its digits, or is an error, as in
    /// [`Payload::decode`](crate::transaction::Payload::decode).
    ///
    /// # Errors
    /// [`HttpErrorKind::Decode`], with the place in the body that does not fit `T`, and the beginning of the body.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, HttpError> {
        json::from_slice_located(&self.body).map_err(|located| self.undecoded(&located))
    }

    fn undecoded(&self, Located { field, error }: &Located) -> HttpError {
        let place = format!("line {} column {}", error.line(), error.column());
        let field = field
            .as_ref()
            .filter(|field| *field != ".")
            .map(|field| format!(" at `{field}`"))
            .unwrap_or_default();
        let what = if error.is_data() { "JSON that does not fit" } else { "what is no JSON" };
        let begins = excerpt(&self.body, &self.asked.secrets);
        let message = format!("{} answered {what}{field}, {place}; it begins with: {begins}", self.asked);
        HttpError::new(HttpErrorKind::Decode, message)
            .with_source(self.asked.secrets.strike(&error.to_string()))
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// An answer that arrives piece by piece: a stream of [`Bytes`].
///
/// # Cancel safety
/// Cancel safe: a piece is lost only if the whole body is dropped.
///
/// Each piece may take as long as the config's `timeout`. The first error ends the stream.
///
/// ```
/// use ergon::prelude::*;
/// use futures_util::StreamExt;
///
/// async fn size(files: &HttpService) -> Result<usize> {
///     let mut body = files.get("export.csv").stream().await?;
///     let mut size = 0;
///     while let Some(piece) = body.next().await {
///         size += piece?.len();
///     }
///     Ok(size)
/// }
/// ```
pub struct Body {
    pieces: BoxStream<'static, reqwest::Result<Bytes>>,
    headers: HeaderMap,
    asked: Asked,
    /// The time limit of one piece.
    limit: Duration,
    /// The limit in bytes, and the number of bytes so far.
    size: Option<(ByteSize, u64)>,
    /// The time limit of the piece that the reader waits for.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Body {
    pub(super) fn new(answer: reqwest::Response, asked: &Asked, limit: Duration) -> Self {
        let headers = answer.headers().clone();
        let pieces = answer.bytes_stream().boxed();
        Self { pieces, headers, asked: asked.clone(), limit, size: None, waiting: None }
    }

    /// All headers of the answer.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Limits the answer to this many bytes.
    pub(crate) fn at_most(mut self, max: ByteSize) -> Result<Self, HttpError> {
        match announced(&self.headers) {
            Some(bytes) if bytes > max.bytes() => Err(failure::too_large(&self.asked, max, Some(bytes))),
            _ => {
                self.size = Some((max, 0));
                Ok(self)
            }
        }
    }

    pub(super) async fn next_piece(&mut self) -> Result<Option<Bytes>, HttpError> {
        self.next().await.transpose()
    }

    fn counted(&mut self, piece: Bytes) -> Result<Bytes, HttpError> {
        let Some((max, come)) = &mut self.size else { return Ok(piece) };
        *come = come.saturating_add(piece.len() as u64);
        if *come > max.bytes() {
            return Err(failure::too_large(&self.asked, *max, None));
        }
        Ok(piece)
    }

    /// Ends the stream with an error. Dropping the pieces closes the connection.
    fn fail(&mut self, error: HttpError) -> Poll<Option<Result<Bytes, HttpError>>> {
        self.pieces = futures_util::stream::empty().boxed();
        self.waiting = None;
        Poll::Ready(Some(Err(error)))
    }
}

impl Stream for Body {
    type Item = Result<Bytes, HttpError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Poll::Ready(piece) = self.pieces.poll_next_unpin(context) {
            self.waiting = None;
            let piece = match piece {
                None => return Poll::Ready(None),
                Some(Ok(piece)) => self.counted(piece),
                Some(Err(error)) => Err(failure::unanswered(&self.asked, &error)),
            };
            return match piece {
                Ok(piece) => Poll::Ready(Some(Ok(piece))),
                Err(error) => self.fail(error),
            };
        }
        let limit = self.limit;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(limit)));
        match waiting.as_mut().poll(context) {
            Poll::Ready(()) => {
                let late = failure::late(&self.asked.to_string(), limit);
                self.fail(late)
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("asked", &self.asked.to_string()).finish_non_exhaustive()
    }
}
