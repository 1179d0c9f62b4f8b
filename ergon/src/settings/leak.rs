//! Detects messages that repeat a part of a secret value, also in another encoding.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// The number of equal characters in a row that is no coincidence.
const RUN: usize = 4;
/// The number of equal characters of an encoding that is no coincidence.
const ENCODED_RUN: usize = 8;

/// Whether the message contains the whole text. A very short text does not count, because any message may contain it.
pub(super) fn holds(message: &str, text: &str) -> bool {
    text.trim().chars().count() >= RUN && message.contains(text.trim())
}

/// Whether the message repeats the text: some characters in a row, or its start in another encoding.
pub(super) fn repeats(message: &str, text: &str) -> bool {
    let (message, text) = (message.to_lowercase(), text.trim());
    has_run(&message, &text.to_lowercase(), RUN)
        || encodings(text).any(|encoded| has_run(&message, &encoded.to_lowercase(), ENCODED_RUN))
}

/// Whether the message contains `run` characters in a row of `text`, or all of a shorter text.
fn has_run(message: &str, text: &str, run: usize) -> bool {
    let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    if starts.len() <= run {
        return !text.is_empty() && message.contains(text);
    }
    starts.iter().zip(starts.iter().skip(run)).any(|(from, to)| {
        text.get(*from..*to).is_some_and(|part| !part.trim().is_empty() && message.contains(part))
    })
}

/// The encodings of the text: escaped, percent-encoded, hexadecimal, and base64 from each of three offsets.
fn encodings(text: &str) -> impl Iterator<Item = String> {
    let hex = text.bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let percent = utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let base64 = [0, 1, 2].map(|skipped| {
        let whole = text.as_bytes().get(skipped..).unwrap_or_default().as_chunks::<3>().0;
        STANDARD.encode(whole.as_flattened())
    });
    [text.escape_debug().to_string(), percent, hex].into_iter().chain(base64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_text_is_found_in_any_encoding() {
        let text = "u:S3cr3t pw@h";
        let encoded =
            ["`s3CR`", "%3As3cr3t%20pw%40", "533363723374", "UzNjcjN0IHB3", "dTpTM2NyM3Q=", "bTM6UzNjcjN0"];
        for message in encoded {
            assert!(repeats(message, text), "{message}");
        }
        assert!(repeats("less than 7 of them", "7") && holds("no \"7777\"", "7777"));
        for message in ["must be more than 0", "no port is named", ""] {
            assert!(!repeats(message, text), "{message}");
        }
        assert!(!repeats("anything", "") && !holds("\"500ms\" or \"1h\"", "5"));
    }
}
