//! Writes and reads times: as RFC 3339 where possible, otherwise as seconds since 1970.
//!
//! A time from a message may be any time. If a sender writes milliseconds instead of seconds, the time is in the year
//! 55,000. Such a time is kept and causes no panic.

use std::fmt;
#[cfg(any(feature = "json_lines", test))]
use std::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

/// The first second of the year 10000, for which RFC 3339 has no digits.
const YEAR_10000: u64 = 253_402_300_800;

/// A time as text: `2026-01-31T12:00:00.000000Z`. Before 1970, and from the year 10000 on, seconds since 1970:
/// `1700000000000.000000`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    time: SystemTime,
    digits: Digits,
}

/// The decimal places of a second.
#[derive(Debug, Clone, Copy)]
enum Digits {
    #[cfg(feature = "json_lines")]
    None,
    Millis,
    Micros,
}

/// A time to the second.
#[cfg(feature = "json_lines")]
pub(crate) fn seconds(time: SystemTime) -> Written {
    Written { time, digits: Digits::None }
}

/// A time to the millisecond.
pub(crate) fn millis(time: SystemTime) -> Written {
    Written { time, digits: Digits::Millis }
}

/// A time to the microsecond.
pub(crate) fn micros(time: SystemTime) -> Written {
    Written { time, digits: Digits::Micros }
}

impl fmt::Display for Written {
    #[expect(clippy::disallowed_methods, reason = "the time is within their range")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, apart) = match self.time.duration_since(UNIX_EPOCH) {
            Ok(since) if since.as_secs() < YEAR_10000 => {
                return match self.digits {
                    #[cfg(feature = "json_lines")]
                    Digits::None => humantime::format_rfc3339_seconds(self.time).fmt(f),
                    Digits::Millis => humantime::format_rfc3339_millis(self.time).fmt(f),
                    Digits::Micros => humantime::format_rfc3339_micros(self.time).fmt(f),
                };
            }
            Ok(since) => ("", since),
            Err(before) => ("-", before.duration()),
        };
        match self.digits {
            #[cfg(feature = "json_lines")]
            Digits::None => write!(f, "{sign}{}", apart.as_secs()),
            Digits::Millis => write!(f, "{sign}{}.{:03}", apart.as_secs(), apart.subsec_millis()),
            Digits::Micros => write!(f, "{sign}{}.{:06}", apart.as_secs(), apart.subsec_micros()),
        }
    }
}

/// Reads a time as [`Written`] writes it. `None` if the text is not a time, or is a time that this machine cannot hold.
#[cfg(feature = "json_lines")]
pub(crate) fn read(text: &str) -> Option<SystemTime> {
    if let Ok(time) = humantime::parse_rfc3339(text) {
        return Some(time);
    }
    let (before, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (seconds, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(seconds) || !all_digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let nanos: u32 = format!("{fraction:0<9}").parse().ok()?;
    let apart = Duration::from_secs(seconds.parse().ok()?).checked_add(Duration::from_nanos(nanos.into()))?;
    if before { UNIX_EPOCH.checked_sub(apart) } else { UNIX_EPOCH.checked_add(apart) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_time_within_the_calendar_is_written_in_its_digits() {
        assert_eq!(micros(UNIX_EPOCH).to_string(), "1970-01-01T00:00:00.000000Z");
        assert_eq!(millis(after(YEAR_10000 - 1)).to_string(), "9999-12-31T23:59:59.000Z");
    }

    #[test]
    fn a_time_beyond_the_calendar_is_written_in_seconds() {
        assert_eq!(millis(after(YEAR_10000)).to_string(), "253402300800.000");
        assert_eq!(micros(after(1_700_000_000_000)).to_string(), "1700000000000.000000");
        assert_eq!(micros(UNIX_EPOCH - Duration::from_millis(1500)).to_string(), "-1.500000");
    }

    #[cfg(feature = "json_lines")]
    proptest::proptest! {
        #[test]
        fn every_time_is_read_as_it_was_written(seconds: i64, micros in 0..1_000_000_u32) {
            let apart = Duration::new(seconds.unsigned_abs(), micros * 1000);
            let time = if seconds < 0 { UNIX_EPOCH.checked_sub(apart) } else { UNIX_EPOCH.checked_add(apart) };
            if let Some(time) = time {
                proptest::prop_assert_eq!(read(&super::micros(time).to_string()), Some(time));
            }
        }

        #[test]
        fn no_text_makes_reading_panic(text in "[-+0-9.TZ:]{0,40}|\\PC{0,40}") {
            let _ = read(&text);
        }
    }
}
