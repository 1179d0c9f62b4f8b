//! Reads and writes durations in the notation of the settings and the attribute: `500ms`, `1s`, `2m 30s`, `1h`.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::written::{self, Written};
use crate::transaction::panic;

/// A duration read from the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        written::deserialize(deserializer)
    }
}

impl Written for Span {
    const EXPECTED: &'static str = "a duration such as \"500ms\", \"30s\" or \"1h\"";

    fn read(text: &str) -> Result<Self, Option<String>> {
        parse(text).map(Self).map_err(|_| None)
    }
}

/// Reads a duration; for a field of a config.
#[cfg(feature = "http")]
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Span::deserialize(deserializer).map(|span| span.0)
}

/// A time limit that can be off: a duration, or `"none"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit(pub(crate) Option<Duration>);

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        written::deserialize(deserializer)
    }
}

impl Written for Limit {
    const EXPECTED: &'static str = "a duration such as \"30s\" or \"1h\", or \"none\"";

    fn read(text: &str) -> Result<Self, Option<String>> {
        if text == "none" { Ok(Self(None)) } else { Span::read(text).map(|Span(limit)| Self(Some(limit))) }
    }
}

/// Reads a duration.
///
/// # Errors
/// A sentence that says why the text is not a duration.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    // The library panics if the parts add up to more than the longest duration.
    let read = panic::caught(|| humantime::parse_duration(text));
    read.map_err(|_| "number is too large".to_owned())?.map_err(|error| error.to_string())
}

/// Writes a duration in the notation that [`parse`] reads: `1m 30s`.
pub(crate) fn display(duration: Duration) -> impl fmt::Display {
    humantime::format_duration(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_that_is_too_long_is_refused_and_the_longest_is_written() {
        assert!(parse("18446744073709551615s 1000000000ns").is_err());
        assert!(parse("99999999999999999999y").is_err());
        assert_eq!(parse(&display(Duration::MAX).to_string()), Ok(Duration::MAX));
    }
}
