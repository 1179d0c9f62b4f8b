//! Parses sizes as people write them: `64KiB`, `16MiB`, `1.5GB`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

use crate::policy::written::{self, Written};

/// A number of bytes; in the settings `"256MiB"`, `"10MB"` or a plain number.
///
/// `kB`, `MB` and `GB` are multiples of 1000, `KiB`, `MiB` and `GiB` of 1024. Upper and lower case are the same.
///
/// ```
/// use ergon::settings::ByteSize;
///
/// assert_eq!("2KiB".parse(), Ok(ByteSize::new(2048)));
/// assert_eq!(ByteSize::mib(16).to_string(), "16MiB");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

/// The error of a text that is not a size.
///
/// ```
/// use ergon::settings::ByteSize;
///
/// let error = "much".parse::<ByteSize>().unwrap_err();
/// assert!(error.to_string().starts_with("`much` is not a size, expected a number"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a size, expected a number with or without a unit, such as \"64KiB\" or \"256MiB\"")]
pub struct ByteSizeError {
    text: String,
}

const UNITS: [(&str, u64); 8] = [
    ("gib", 1 << 30),
    ("mib", 1 << 20),
    ("kib", 1 << 10),
    ("gb", 1_000_000_000),
    ("mb", 1_000_000),
    ("kb", 1_000),
    ("b", 1),
    ("", 1),
];

impl ByteSize {
    /// Creates a size of this many bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Creates a size of this many times 1,048,576 bytes.
    pub const fn mib(count: u64) -> Self {
        Self(count.saturating_mul(1 << 20))
    }

    /// Returns the number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, ByteSizeError> {
        let lower = text.trim().to_ascii_lowercase();
        let parsed = UNITS.iter().find_map(|(unit, factor)| {
            let number: f64 = lower.strip_suffix(unit)?.trim_end().parse().ok()?;
            scale(number, *factor)
        });
        parsed.map(Self).ok_or_else(|| ByteSizeError { text: text.to_owned() })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a size of more than 2^53 bytes need not be exact")]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the range is checked just before"
)]
fn scale(number: f64, factor: u64) -> Option<u64> {
    let bytes = number * factor as f64;
    (0.0..=u64::MAX as f64).contains(&bytes).then_some(bytes as u64)
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().take(3).find(|(_, factor)| self.0 > 0 && self.0.is_multiple_of(*factor)) {
            Some((_, factor @ 1_073_741_824)) => write!(f, "{}GiB", self.0 / factor),
            Some((_, factor @ 1_048_576)) => write!(f, "{}MiB", self.0 / factor),
            Some((_, factor)) => write!(f, "{}KiB", self.0 / factor),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        written::deserialize(deserializer)
    }
}

impl Written for ByteSize {
    const EXPECTED: &'static str = "a size such as \"64KiB\" or \"256MiB\", or a number of bytes";

    const FROM_NUMBER: Option<fn(u64) -> Self> = Some(Self);

    fn read(text: &str) -> Result<Self, Option<String>> {
        text.parse().map_err(|_| None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read() {
        let sizes = ["0", "7", "7 B", "1kB", "1KiB", "1.5MiB", "2gb", "1GiB"];
        let bytes: Vec<_> = sizes.map(|text| text.parse::<ByteSize>().unwrap().bytes()).into();
        assert_eq!(bytes, [0, 7, 7, 1000, 1024, 1_572_864, 2_000_000_000, 1 << 30]);
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "MiB", "-1MiB", "1 potato", "nan", "inf", "1e30"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }
}
