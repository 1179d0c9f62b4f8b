//! Payloads in log lines: never, unless the settings say so.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::transaction::{Content, Payload};

/// Longer ones are cut off.
const MOST: usize = 4096;

static SHOWN: AtomicBool = AtomicBool::new(false);

/// Lets payloads stand in log lines from now on.
pub(crate) fn show() {
    SHOWN.store(true, Ordering::Relaxed);
}

/// The payload as it may stand in a line, if it may.
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
