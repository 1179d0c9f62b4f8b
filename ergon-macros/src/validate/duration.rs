//! Parses the durations of attributes: `500ms`, `1h 30m`.

use std::panic::catch_unwind;
use std::time::Duration;

/// Parses a duration.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    // The library panics if the parts add up to more than the longest duration.
    catch_unwind(|| humantime::parse_duration(text)).ok()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_that_is_too_long_is_refused() {
        assert_eq!(parse_duration("1m 30s"), Some(Duration::from_secs(90)));
        assert_eq!(parse_duration("18446744073709551615s 1000000000ns"), None);
    }
}
