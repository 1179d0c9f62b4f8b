//! Measures the text in queued spans and log lines; nothing else in them is large.

use opentelemetry::logs::AnyValue;
use opentelemetry::trace::Status;
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::logs::SdkLogRecord;
use opentelemetry_sdk::trace::SpanData;

/// The text in a span, in bytes.
pub(crate) fn in_span(span: &SpanData) -> usize {
    let events = span.events.iter().map(|event| in_attributes(&event.attributes)).sum::<usize>();
    let status = match &span.status {
        Status::Error { description } => description.len(),
        Status::Ok | Status::Unset => 0,
    };
    in_attributes(&span.attributes) + events + status
}

/// The text in a log line, in bytes.
pub(super) fn in_line(line: &SdkLogRecord) -> usize {
    let bytes = |value: &AnyValue| match value {
        AnyValue::String(text) => text.as_str().len(),
        _ => 0,
    };
    line.body().map_or(0, bytes) + line.attributes_iter().map(|(_, value)| bytes(value)).sum::<usize>()
}

fn in_attributes(attributes: &[KeyValue]) -> usize {
    let bytes = |attribute: &KeyValue| match &attribute.value {
        Value::String(text) => text.as_str().len(),
        _ => 0,
    };
    attributes.iter().map(bytes).sum()
}
