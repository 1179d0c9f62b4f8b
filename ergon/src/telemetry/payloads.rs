//! Adds payloads to log lines, only if the settings enable it.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::transaction::{Content, Payload};

/// The length after which a payload is cut off.
const MOST: usize = 4096;

static SHOWN: AtomicBool = AtomicBool::new(false);

/// Enables payloads in log lines.
pub(crate) fn show() {
    SHOWN.store(true, Ordering::Relaxed);
}

/// The payload for a log line, if payloads are enabled.
pub(super) fn shown(payload: &Payload) -> Option<String> {
    SHOWN.load(Ordering::Relaxed).then(|| text(payload))
}

fn text(payload: &Payload) -> String {
    let mut text = match payload.content() {
        Content::Body(_, bytes) => String::from_utf8_lossy(bytes.get(..MOST).unwrap_or(bytes)).into_owned(),
        Content::Value(value) => value.to_string(),
        Content::Record(record) => serde_json::to_string(record).unwrap_or_default(),
        Content::Records(records) => serde_json::to_string(records).unwrap_or_default(),
    };
    text.truncate(text.floor_char_boundary(MOST));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_not_shown_unless_asked_for_and_then_not_at_any_length() {
        let payload = Payload::text("é".repeat(MOST));
        assert_eq!(shown(&payload), None);
        let text = text(&payload);
        assert!(text.len() <= MOST + 3 && text.starts_with('é'), "{} bytes", text.len());
    }
}
