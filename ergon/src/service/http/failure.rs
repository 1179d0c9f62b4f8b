//! Makes the errors of requests, with message, kind and hint. All are in one place, so that none of them shows a
//! secret.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use reqwest::StatusCode;
use url::Url;

use super::asked::Asked;
use super::error::UNTRUSTED;
use super::{HttpError, HttpErrorKind};
use crate::policy::duration::display;
use crate::settings::ByteSize;

/// The error of a request without an answer, or with an incomplete answer.
pub(super) fn unanswered(asked: &Asked, error: &reqwest::Error) -> HttpError {
    let cause = cause(error);
    if error.is_connect() {
        let untrusted = is_about_trust(error);
        let made = HttpError::new(HttpErrorKind::Connect, format!("{asked}: cannot connect"));
        let hint = if untrusted {
            UNTRUSTED
        } else {
            "see whether the other side runs and can be reached from here"
        };
        return made.with_source(cause).with_hint(hint);
    }
    if error.is_builder() {
        return HttpError::new(HttpErrorKind::Request, format!("{asked}: no request can be made"))
            .with_source(cause);
    }
    HttpError::new(HttpErrorKind::Interrupted, format!("{asked}: the connection was lost")).with_source(cause)
}

/// The error of an attempt that reached its time limit.
pub(super) fn late(asked: &str, limit: Duration) -> HttpError {
    let limit = display(limit);
    HttpError::new(HttpErrorKind::Timeout, format!("{asked} took longer than its limit of {limit}"))
        .with_hint("`timeout` sets the limit")
}

/// The error of a status that is not a success.
pub(super) fn status(asked: &Asked, status: StatusCode, excerpt: &str) -> HttpError {
    let mut message = format!("{asked} answered {status}");
    if !excerpt.is_empty() {
        message = format!("{message}: {excerpt}");
    }
    let made = HttpError::new(HttpErrorKind::Status(status.as_u16()), message);
    match status.as_u16() {
        401 | 407 => made.with_hint("see whether `auth` is set, and holds"),
        403 => made.with_hint("see what the credentials of `auth` are allowed to do"),
        404 => made.with_hint("see whether `base_url` and the path are right"),
        429 => made.with_hint("ask less often: lower the task's `concurrency`"),
        _ => made,
    }
}

/// The error of an answer that is too large.
pub(super) fn too_large(asked: &Asked, max: ByteSize, announced: Option<u64>) -> HttpError {
    let size = announced.map_or_else(String::new, |bytes| format!(" of {}", ByteSize::new(bytes)));
    let message = format!("{asked} answered with a body{size} larger than max_response = {max}");
    HttpError::new(HttpErrorKind::TooLarge, message).with_hint(
        "ask for less at once, raise `max_response`, or take the answer piece by piece with `stream`",
    )
}

/// The error of a redirect to another host, which is not followed because it would send our credentials there.
pub(super) fn led_elsewhere(asked: &Asked, (from, next): (&Url, &Url)) -> HttpError {
    let origin = next.origin().ascii_serialization();
    let other = if from.host() == next.host() { "protocol or port" } else { "host" };
    HttpError::new(HttpErrorKind::Redirect, format!("{asked} redirects to another {other}, {origin}"))
        .with_hint("if that is right, set `base_url` to it")
}

/// The error of too many redirects.
pub(super) fn circling(asked: &Asked, most: usize) -> HttpError {
    HttpError::new(HttpErrorKind::Redirect, format!("{asked} redirects more than {most} times"))
}

/// The error of a redirect that clients follow with a GET without a body.
pub(super) fn would_be_another(asked: &Asked, status: StatusCode, body: &[u8]) -> HttpError {
    let loss = if body.is_empty() { "make it a GET" } else { "lose the body" };
    HttpError::new(HttpErrorKind::Redirect, format!("{asked} redirects with {status}, which would {loss}"))
        .with_hint("ask for the path that it redirects to")
}

/// Whether the server's certificate is not trusted.
fn is_about_trust(error: &reqwest::Error) -> bool {
    chain(error).any(|cause| match cause.downcast_ref::<io::Error>() {
        Some(io) => io_is_about_trust(io),
        None => is_untrusted(cause),
    })
}

/// An I/O error does not return its inner error as its source, so the inner error is inspected directly.
fn io_is_about_trust(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| match inner.downcast_ref::<io::Error>() {
        Some(io) => io_is_about_trust(io),
        None => is_untrusted(inner),
    })
}

fn is_untrusted(error: &(dyn StdError + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(rustls::Error::InvalidCertificate(_)))
}

/// The causes of an error of the HTTP client, in one line. The error itself is left out, because it repeats our message
/// and shows the URL.
fn cause(error: &reqwest::Error) -> String {
    let mut causes: Vec<String> = Vec::new();
    for cause in chain(error).skip(1).map(ToString::to_string) {
        // Many levels only repeat the level below.
        if !causes.iter().any(|above| above.contains(&cause)) {
            causes.push(cause);
        }
    }
    causes.join(": ")
}

/// An error and all of its causes.
fn chain(error: &reqwest::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}
