//! Sends a request and receives its answer, with retries, redirects and limits.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::{Method, StatusCode};
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

use super::asked::Asked;
use super::excerpt::excerpt;
use super::retry_after::retry_after;
use super::{Body, HttpError, HttpErrorKind, HttpService, Response, failure};
use crate::settings::ByteSize;
use crate::telemetry::outgoing;
// The engine is above this layer, so the service uses the public function for retries.
use crate::run_fn;
use crate::transaction::TransactionError;

/// The number of redirects that one attempt follows.
const MOST_REDIRECTS: usize = 5;
/// The number of bytes that are kept of an error's body.
const KEPT: ByteSize = ByteSize::new(8 * 1024);

/// The time that a check waits for an answer.
const REACHED: Duration = Duration::from_secs(10);

/// The time limit for an error's body, and at most a quarter of the attempt's time limit. It is short because the
/// status is known already, and the body only explains it.
const REASON: Duration = Duration::from_secs(2);

/// A request that can be sent several times.
pub(super) struct Exchange {
    pub(super) service: HttpService,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Whether the request may be carried out twice.
    pub(super) repeatable: bool,
}

impl Exchange {
    /// Makes attempts until one receives a complete answer.
    pub(super) async fn whole(self) -> Result<Response, HttpError> {
        let this = &self;
        this.attempts(move || async move {
            let asked = this.asked();
            let answer = this.answer(&asked).await?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            let body = Body::new(answer, &asked, this.limit());
            // The answer to a HEAD announces the size of a body, and has none.
            let body =
                if this.method == Method::HEAD { body } else { body.at_most(this.service.max_response())? };
            Ok(Response::new(status, headers, collected(body).await?, asked))
        })
        .await
    }

    /// Makes attempts until one receives the start of an answer.
    pub(super) async fn begin(self) -> Result<Body, HttpError> {
        let this = &self;
        this.attempts(move || async move {
            let asked = this.asked();
            Ok(Body::new(this.answer(&asked).await?, &asked, this.limit()))
        })
        .await
    }

    fn asked(&self) -> Asked {
        let secrets = self.service.client().secrets.of_request(&self.url, &self.headers);
        Asked::new(self.method.clone(), &self.url, secrets)
    }

    fn limit(&self) -> Duration {
        self.service.client().timeout
    }

    async fn attempts<T, F>(&self, attempt: impl Fn() -> F) -> Result<T, HttpError>
    where
        F: Future<Output = Result<T, HttpError>>,
    {
        let asked = self.asked().to_string();
        let (name, attempt) = (asked.as_str(), &attempt);
        let tried = run_fn(&self.service.client().retry, name, || async move {
            let outcome = match timeout(self.limit(), attempt()).await {
                Ok(outcome) => outcome,
                Err(_) => Err(failure::late(name, self.limit())),
            };
            match outcome {
                Err(error) if self.retries(&error) => Err(TransactionError::from(error)),
                outcome => Ok(outcome),
            }
        })
        .await;
        match tried {
            Ok(outcome) => outcome,
            Err(error) => Err(match error.downcast_ref::<HttpError>() {
                Some(error) => error.clone(),
                None => HttpError::new(HttpErrorKind::Other, format!("{asked}: {error}")),
            }),
        }
    }

    /// Whether another attempt may follow this error. If the server asks for a longer wait than the policy's cap, no
    /// other attempt follows, because the caller can postpone the transaction instead.
    fn retries(&self, error: &HttpError) -> bool {
        let cap = self.service.client().retry.backoff_cap;
        let in_time = error.retry_after().is_none_or(|wait| cap.is_none_or(|cap| wait <= cap));
        in_time && error.allows_retry(self.repeatable)
    }

    /// Makes one attempt, and returns its answer if the status is a success.
    async fn answer(&self, asked: &Asked) -> Result<reqwest::Response, HttpError> {
        let (mut method, mut url, mut body) = (self.method.clone(), self.url.clone(), self.body.clone());
        for _ in 0..=MOST_REDIRECTS {
            let mut headers = self.headers.clone();
            if body.is_empty() {
                headers.remove(CONTENT_TYPE);
            }
            let request = self.service.client().http.request(method.clone(), url.clone()).headers(headers);
            let request =
                outgoing::headers().fold(request, |request, (name, value)| request.header(name, value));
            let sent = request.body(body.clone()).send().await;
            let answer = sent.map_err(|error| failure::unanswered(asked, &error))?;
            if answer.status().is_success() {
                return Ok(answer);
            }
            let Some(next) = location(&answer) else { return Err(self.refused(answer, asked).await) };
            (method, body) = followed(asked, answer.status(), method, body)?;
            if next.origin() != url.origin() {
                return Err(failure::led_elsewhere(asked, (&url, &next)));
            }
            url = next;
        }
        Err(failure::circling(asked, MOST_REDIRECTS))
    }

    /// The error of a status.
    async fn refused(&self, answer: reqwest::Response, asked: &Asked) -> HttpError {
        let (status, wait) = (answer.status(), retry_after(answer.headers()));
        // Any part of the body is better than none, and the status is an error even without a body.
        let within = (self.limit() / 4).min(REASON);
        let body = beginning(Body::new(answer, asked, self.limit()), Instant::now() + within).await;
        failure::status(asked, status, &excerpt(&body, &asked.secrets)).with_answer(body, wait)
    }
}

/// Checks whether the server can be reached, without asking it for anything.
///
/// # Errors
/// Returns an error if there is no answer within ten seconds, or if the answer says that the server is down or refuses
/// the credentials.
pub(super) async fn reach(service: &HttpService) -> Result<(), HttpError> {
    let client = service.client();
    let (method, secrets) = (Method::HEAD, Arc::clone(&client.secrets));
    let url = client.base.url().clone();
    let asked = Asked::new(method.clone(), &url, secrets);
    let limit = client.timeout.min(REACHED);
    let answer = match timeout(limit, client.http.request(method, url).send()).await {
        Ok(answer) => answer.map_err(|error| failure::unanswered(&asked, &error))?,
        Err(_) => return Err(failure::late(&asked.to_string(), limit)),
    };
    match (answer.status().as_u16(), client.authenticates) {
        (401, true) | (407 | 502..=504, _) => Err(failure::status(&asked, answer.status(), "")),
        _ => Ok(()),
    }
}

/// The target of a redirect, if the answer is one.
fn location(answer: &reqwest::Response) -> Option<Url> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = answer.headers().get(LOCATION)?;
    answer.url().join(location.to_str().ok()?).ok()
}

/// The method and body of the request that follows a redirect. Both stay as they were, except for 303: that status says
/// that the request was carried out, and where to read its result.
fn followed(
    asked: &Asked,
    status: StatusCode,
    method: Method,
    body: Bytes,
) -> Result<(Method, Bytes), HttpError> {
    match (status.as_u16(), method.is_safe()) {
        (307 | 308, _) | (_, true) => Ok((method, body)),
        (303, false) => Ok((Method::GET, Bytes::new())),
        _ => Err(failure::would_be_another(asked, status, &body)),
    }
}

/// Reads a complete body.
async fn collected(mut body: Body) -> Result<Bytes, HttpError> {
    let mut whole = Vec::new();
    while let Some(piece) = body.next_piece().await? {
        whole.extend_from_slice(&piece);
    }
    Ok(whole.into())
}

/// Reads the start of a body: the part that arrives within the time limit.
async fn beginning(mut body: Body, until: Instant) -> Bytes {
    let mut kept = Vec::new();
    let most = usize::try_from(KEPT.bytes()).unwrap_or(usize::MAX);
    while kept.len() < most
        && let Ok(Ok(Some(piece))) = timeout_at(until, body.next_piece()).await
    {
        kept.extend_from_slice(&piece);
    }
    kept.truncate(most);
    kept.into()
}

/// The size that an answer announces, in bytes.
pub(super) fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
