//! Recognizes JSON Lines by the first lines of a file. A file that is one JSON text over many lines, or not text, is an
//! error before the first fetch. Without this check, the run would start and reject every line.

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::JsonLinesConfig;
use crate::connector::ConnectorError;
use crate::connector::kit::file::{display_path, refuse_other_kind};

/// Refuses a file whose first bytes are not JSON Lines; `whole` says whether they are the whole file.
///
/// # Errors
/// The more likely format, and the step that helps.
pub(super) fn recognize(config: &JsonLinesConfig, start: &[u8], whole: bool) -> Result<(), ConnectorError> {
    refuse_other_kind(&config.path, start, "JSON Lines")?;
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let first = first_line(text);
    if let Ok(values) = serde_json::from_slice::<Vec<&RawValue>>(first) {
        let is_all = whole && first.len() == text.trim_ascii_end().len();
        if is_all && values.len() > 1 && values.iter().all(|value| value.get().starts_with('{')) {
            let (file, values) = (display_path(&config.path), values.len());
            tracing::warn!(
                file,
                values,
                "the file is one line, an array: it is one transaction. For one transaction for each value, convert \
                 it: jq -c '.[]'"
            );
        }
        return Ok(());
    }
    if text.get(first.len()..).unwrap_or_default().trim_ascii_start().is_empty() {
        // The bytes hold only one line, or a part of one.
        return Ok(());
    }
    let is_array = first.starts_with(b"[");
    if !is_array && !first.starts_with(b"{") || !goes_over_lines(text, first, whole) {
        return Ok(());
    }
    let (what, filter) =
        if is_array { ("is one JSON array", "'.[]'") } else { ("has a JSON text over several lines", ".") };
    let message = format!("{} {what}, expected one JSON text on each line", display_path(&config.path));
    Err(ConnectorError::permanent(message)
        .with_hint(format!("convert it: `jq -c {filter} FILE > FILE.jsonl`")))
}

/// Returns whether the text that begins on the first line is JSON, and continues on the next lines.
fn goes_over_lines(text: &[u8], first: &[u8], whole: bool) -> bool {
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<IgnoredAny>();
    match values.next() {
        Some(Ok(_)) => values.byte_offset() > first.len(),
        Some(Err(error)) if error.is_eof() => {
            // The bytes may end within the text. A damaged first line looks the same, but valid lines follow it.
            let below = text.get(first.len()..).unwrap_or_default().split(|byte| *byte == b'\n');
            let is_line =
                |line: &[u8]| line.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(line).is_ok();
            !whole || first.starts_with(b"[") || !below.map(<[u8]>::trim_ascii_end).any(is_line)
        }
        _ => false,
    }
}

fn first_line(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii_end()
}
