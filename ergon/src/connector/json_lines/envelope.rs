//! Writes a transaction as one line, and reads an envelope from a line. An envelope keeps the id and the metadata,
//! which a line with the payload alone loses.

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::Envelope;
use crate::transaction::{
    Content, ContentType, Metadata, Payload, Record, Transaction, TransactionBuilder, json, key, time,
};

/// An envelope, as the sink writes it.
#[derive(Serialize)]
struct Written<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    created_at: String,
    /// The content type of a payload that is not JSON: text is a string, all else is a string in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    payload: &'a RawValue,
    metadata: &'a Metadata,
}

#[derive(Deserialize)]
struct Read {
    id: Option<String>,
    parent_id: Option<String>,
    correlation_id: Option<String>,
    created_at: Option<String>,
    content_type: Option<String>,
    payload: Box<RawValue>,
    #[serde(default)]
    metadata: serde_json::Map<String, Value>,
}

/// The content type of a CSV record that is text and not base64, so that a person can read the dead letter.
const CSV_AS_TEXT: &str = "text/csv; charset=utf-8";

/// Writes a transaction, without the line's end.
pub(super) fn write(
    transaction: &Transaction,
    envelope: Envelope,
    line: &mut Vec<u8>,
) -> serde_json::Result<()> {
    let metadata = transaction.metadata();
    let wrapped = match envelope {
        Envelope::Always => true,
        Envelope::Auto => metadata.get(key::ERROR).is_some(),
        Envelope::Never => false,
    };
    if !wrapped {
        return write_payload(transaction.payload(), line);
    }
    let (payload, content_type) = payload_json(transaction.payload())?;
    let written = Written {
        id: transaction.id(),
        parent_id: transaction.parent_id(),
        correlation_id: Some(transaction.correlation_id()).filter(|id| *id != transaction.id()),
        created_at: time::micros(transaction.created_at()).to_string(),
        content_type,
        payload: &payload,
        metadata,
    };
    serde_json::to_writer(line, &written)
}

/// Writes the payload alone, as JSON on one line. A body that this process has written as JSON is copied without a
/// check; any other body that is JSON is checked once and copied once.
fn write_payload(payload: &Payload, line: &mut Vec<u8>) -> serde_json::Result<()> {
    if let Some(bytes) = payload.written_json().filter(|bytes| !has_line_end(bytes)) {
        line.extend_from_slice(bytes);
        return Ok(());
    }
    match payload.content() {
        Content::Body(content_type, bytes) => write_body(content_type, bytes, line),
        Content::Value(value) => serde_json::to_writer(line, value),
        Content::Record(record) => match record.raw() {
            Some((content_type, bytes)) => write_body(content_type, bytes, line),
            None => serde_json::to_writer(line, record),
        },
        Content::Records(records) => serde_json::to_writer(line, records),
    }
}

fn write_body(content_type: &ContentType, bytes: &Bytes, line: &mut Vec<u8>) -> serde_json::Result<()> {
    if content_type.is_json()
        && let Ok(text) = std::str::from_utf8(bytes)
        && is_json(text)
    {
        if text.contains(['\n', '\r']) {
            line.extend_from_slice(compact(text).as_bytes());
        } else {
            line.extend_from_slice(text.trim().as_bytes());
        }
        return Ok(());
    }
    let (payload, _) = body(content_type, bytes)?;
    line.extend_from_slice(payload.get().as_bytes());
    Ok(())
}

/// Returns whether a line ends within the bytes. Two calls of `contains` are faster than one loop, because each
/// compares several bytes at a time.
fn has_line_end(bytes: &[u8]) -> bool {
    bytes.contains(&b'\n') || bytes.contains(&b'\r')
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Returns the payload as JSON on one line, and its content type if it is not JSON.
fn payload_json(payload: &Payload) -> serde_json::Result<(Box<RawValue>, Option<&str>)> {
    match payload.content() {
        Content::Body(content_type, bytes) => body(content_type, bytes),
        Content::Value(value) => Ok((serde_json::value::to_raw_value(value)?, None)),
        Content::Record(record) => match record.raw() {
            Some((content_type, bytes)) => body(content_type, bytes),
            None => Ok((serde_json::value::to_raw_value(record)?, None)),
        },
        Content::Records(records) => Ok((serde_json::value::to_raw_value(records)?, None)),
    }
}

fn body<'a>(
    content_type: &'a ContentType,
    bytes: &'a Bytes,
) -> serde_json::Result<(Box<RawValue>, Option<&'a str>)> {
    let text = std::str::from_utf8(bytes).ok();
    match text {
        Some(text) if content_type.is_json() && is_json(text) => {
            Ok((RawValue::from_string(compact(text))?, None))
        }
        // Text, or a body whose content type is JSON although its bytes are not: a rejected line keeps its bytes.
        Some(text) if content_type.is_json() || *content_type == ContentType::Text => {
            Ok((serde_json::value::to_raw_value(text)?, Some(ContentType::Text.as_str())))
        }
        Some(text) if content_type.as_str() == "text/csv" => {
            Ok((serde_json::value::to_raw_value(text)?, Some(CSV_AS_TEXT)))
        }
        _ => {
            let name = match content_type {
                ContentType::Other(name) | ContentType::JsonAs(name) => name,
                _ => ContentType::Binary.as_str(),
            };
            Ok((serde_json::value::to_raw_value(&STANDARD.encode(bytes))?, Some(name)))
        }
    }
}

/// Removes the white space between the parts of valid JSON; keeps its numbers and texts as they are written.
fn compact(json: &str) -> String {
    if !json.contains(['\n', '\r']) {
        return json.trim().to_owned();
    }
    let (mut in_text, mut escaped) = (false, false);
    let kept = json.chars().filter(|character| {
        let space = !in_text && character.is_ascii_whitespace();
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = in_text,
            '"' => in_text = !in_text,
            _ => {}
        }
        !space
    });
    kept.collect()
}

/// Makes a transaction of an envelope. Any other line becomes a delivery that does not decode.
pub(super) fn unwrapped(made: TransactionBuilder, place: String, line: &[u8]) -> Transaction {
    let read = json::from_slice::<Read>(line);
    let why = read.as_ref().err().map(|error| format!("; {error}")).unwrap_or_default();
    let Some((read, payload)) = read.ok().and_then(with_payload) else {
        let expected = "{\"id\": …, \"payload\": …, \"metadata\": {…}}";
        let reason = format!("{place} is no envelope, expected {expected}{why}");
        let kept = String::from_utf8_lossy(line).into_owned();
        let record = Record::broken(["line".to_owned()].to_vec().into(), vec![kept.into()], reason);
        return made.id(place).payload(Payload::record(record)).build();
    };
    let created_at = read.created_at.as_deref().and_then(time::read);
    let mut made = made
        .id(read.id.unwrap_or(place))
        .payload(payload)
        .all_metadata(read.metadata.into_iter().collect())
        .created_at(created_at.unwrap_or_else(SystemTime::now));
    if let Some(parent) = read.parent_id {
        made = made.parent_id(parent);
    }
    if let Some(correlation) = read.correlation_id {
        made = made.correlation_id(correlation);
    }
    made.build()
}

fn with_payload(read: Read) -> Option<(Read, Payload)> {
    let Some(name) = &read.content_type else {
        let payload =
            Payload::bytes(ContentType::Json, Bytes::copy_from_slice(read.payload.get().as_bytes()));
        return Some((read, payload));
    };
    let text: String = serde_json::from_str(read.payload.get()).ok()?;
    let payload = match ContentType::from(name.as_str()) {
        ContentType::Text => Payload::text(text),
        other if name == CSV_AS_TEXT => Payload::bytes(other, text),
        other => Payload::bytes(other, STANDARD.decode(text).ok()?),
    };
    Some((read, payload))
}
