//! Reads `Retry-After`: the wait that a server asks for before the next attempt.

use std::time::{Duration, SystemTime};

use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

/// Reads `Retry-After`: seconds, or a date. The wait until a date counts from the header `Date` of the answer, if there
/// is one, because the server's clock may differ from ours.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let wanted = text(RETRY_AFTER)?;
    if let Ok(seconds) = wanted.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let due = httpdate::parse_http_date(wanted).ok()?;
    let now = text(DATE).and_then(|date| httpdate::parse_http_date(date).ok());
    Some(due.duration_since(now.unwrap_or_else(SystemTime::now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(HeaderName, &str)]) -> Option<Duration> {
        retry_after(&pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect())
    }

    #[test]
    fn seconds_and_dates_are_read() {
        assert_eq!(read(&[(RETRY_AFTER, "7")]), Some(Duration::from_secs(7)));
        let date = (DATE, "Tue, 15 Nov 1994 08:12:00 GMT");
        let due = (RETRY_AFTER, "Tue, 15 Nov 1994 08:12:31 GMT");
        assert_eq!(read(&[date, due.clone()]), Some(Duration::from_secs(31)));
        assert_eq!(read(&[due]), Some(Duration::ZERO), "that is long past");
        assert_eq!(read(&[(RETRY_AFTER, "soon")]), None);
        assert_eq!(read(&[]), None);
    }
}
