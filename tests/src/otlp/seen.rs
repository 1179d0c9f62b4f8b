//! Holds the received telemetry of a collector in the form that tests query.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span as ProtoSpan;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::Value;

use super::series::{self, Series};

/// Attributes by name.
pub type Attributes = BTreeMap<String, Value>;

/// All telemetry that a collector received.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Seen {
    /// The number of requests, including requests that were refused.
    pub requests: usize,
    /// In the order in which they came.
    pub spans: Vec<Span>,
    /// In the order in which they came.
    pub logs: Vec<Log>,
    /// The latest value of each series, in the order of the first arrival.
    pub metrics: Vec<Series>,
}

impl Seen {
    /// The spans of this name.
    pub fn spans_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Span> {
        self.spans.iter().filter(move |span| span.name == name)
    }

    /// The spans whose attribute has this value.
    pub fn spans_with<'a>(&'a self, key: &'a str, value: impl Into<Value>) -> impl Iterator<Item = &'a Span> {
        let value = value.into();
        self.spans.iter().filter(move |span| span.attributes.get(key) == Some(&value))
    }

    /// The parent of a span, if it was received.
    pub fn parent(&self, span: &Span) -> Option<&Span> {
        let parent = span.parent_id.as_deref()?;
        self.spans.iter().find(|other| other.trace_id == span.trace_id && other.span_id == parent)
    }

    /// The children of this span.
    pub fn children<'a>(&'a self, span: &'a Span) -> impl Iterator<Item = &'a Span> {
        let is_child = |other: &&Span| {
            other.trace_id == span.trace_id && other.parent_id.as_deref() == Some(&*span.span_id)
        };
        self.spans.iter().filter(is_child)
    }

    /// The log records whose body contains `text`.
    pub fn logs_saying<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a Log> {
        self.logs.iter().filter(move |log| log.body.contains(text))
    }

    /// The series of this name that have at least these labels.
    pub fn series<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Series> {
        let has = |series: &Series, (key, value): &(&str, &str)| {
            series.labels.get(*key).and_then(Value::as_str) == Some(value)
        };
        self.metrics
            .iter()
            .filter(move |series| series.name == name && labels.iter().all(|label| has(series, label)))
    }

    /// The sum over the series of this name with these labels: of the sums, of the latest values, or of the recorded
    /// amounts of a histogram.
    pub fn total(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.series(name, labels).map(Series::total).sum()
    }

    pub(super) fn add_traces(&mut self, request: ExportTraceServiceRequest) {
        for part in request.resource_spans {
            let resource = attributes_of(part.resource);
            let spans = part.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.spans.extend(spans.map(|span| Span::new(span, &resource)));
        }
    }

    pub(super) fn add_logs(&mut self, request: ExportLogsServiceRequest) {
        for part in request.resource_logs {
            let resource = attributes_of(part.resource);
            for scope in part.scope_logs {
                let target = scope.scope.map(|scope| scope.name).unwrap_or_default();
                let logs = scope.log_records.into_iter().map(|log| Log::new(log, &target, &resource));
                self.logs.extend(logs);
            }
        }
    }

    pub(super) fn add_metrics(&mut self, request: ExportMetricsServiceRequest) {
        for part in request.resource_metrics {
            let resource = attributes_of(part.resource);
            for metric in part.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
                series::add(&mut self.metrics, metric, &resource);
            }
        }
    }
}

/// A received span.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Span {
    /// Its name.
    pub name: String,
    /// In hexadecimal.
    pub trace_id: String,
    /// In hexadecimal.
    pub span_id: String,
    /// In hexadecimal; none if it is the root of its trace.
    pub parent_id: Option<String>,
    /// The trace and span ids of its links.
    pub links: Vec<(String, String)>,
    /// `INTERNAL`, `CONSUMER`, `PRODUCER`, ….
    pub kind: &'static str,
    /// Since the epoch, in nanoseconds.
    pub start: u64,
    /// Since the epoch, in nanoseconds.
    pub end: u64,
    /// Its attributes.
    pub attributes: Attributes,
    /// The events of the span.
    pub events: Vec<Happening>,
    /// The status of the span.
    pub status: Status,
    /// The attributes of what it came from.
    pub resource: Attributes,
}

impl Span {
    fn new(span: ProtoSpan, resource: &Attributes) -> Self {
        let kind = span.kind().as_str_name();
        let status = span.status.unwrap_or_default();
        Self {
            name: span.name,
            trace_id: hex(&span.trace_id),
            span_id: hex(&span.span_id),
            parent_id: Some(hex(&span.parent_span_id)).filter(|id| !id.is_empty()),
            links: span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect(),
            kind: kind.strip_prefix("SPAN_KIND_").unwrap_or(kind),
            start: span.start_time_unix_nano,
            end: span.end_time_unix_nano,
            attributes: attributes(span.attributes),
            events: span.events.into_iter().map(Happening::new).collect(),
            status: match status.code() {
                StatusCode::Unset => Status::Unset,
                StatusCode::Ok => Status::Ok,
                StatusCode::Error => Status::Error(status.message),
            },
            resource: resource.clone(),
        }
    }
}

/// The status of a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// No status was set.
    Unset,
    /// Well.
    Ok,
    /// An error, with its message.
    Error(String),
}

/// An event of a span.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Happening {
    /// Its name.
    pub name: String,
    /// Its attributes.
    pub attributes: Attributes,
}

impl Happening {
    fn new(event: Event) -> Self {
        Self { name: event.name, attributes: attributes(event.attributes) }
    }
}

/// A received log record.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Log {
    /// Its message.
    pub body: String,
    /// `INFO`, `WARN`, ….
    pub severity: String,
    /// The target of the record.
    pub target: String,
    /// Since the epoch, in nanoseconds.
    pub time: u64,
    /// In hexadecimal; none if it was written outside of a trace.
    pub trace_id: Option<String>,
    /// In hexadecimal; none if it was written outside of a span.
    pub span_id: Option<String>,
    /// Its attributes.
    pub attributes: Attributes,
    /// The attributes of what it came from.
    pub resource: Attributes,
}

impl Log {
    fn new(log: LogRecord, target: &str, resource: &Attributes) -> Self {
        let body = match log.body.map(value) {
            Some(Value::String(text)) => text,
            Some(other) => other.to_string(),
            None => String::new(),
        };
        Self {
            body,
            severity: log.severity_text,
            target: target.to_owned(),
            time: log.time_unix_nano,
            trace_id: Some(hex(&log.trace_id)).filter(|id| !id.is_empty()),
            span_id: Some(hex(&log.span_id)).filter(|id| !id.is_empty()),
            attributes: attributes(log.attributes),
            resource: resource.clone(),
        }
    }
}

fn attributes_of(resource: Option<Resource>) -> Attributes {
    attributes(resource.unwrap_or_default().attributes)
}

pub(super) fn attributes(pairs: Vec<KeyValue>) -> Attributes {
    pairs.into_iter().map(|pair| (pair.key, pair.value.map_or(Value::Null, value))).collect()
}

fn value(any: AnyValue) -> Value {
    match any.value {
        None | Some(Any::StringValueStrindex(_)) => Value::Null,
        Some(Any::StringValue(text)) => text.into(),
        Some(Any::BoolValue(is)) => is.into(),
        Some(Any::IntValue(number)) => number.into(),
        Some(Any::DoubleValue(number)) => number.into(),
        Some(Any::BytesValue(bytes)) => hex(&bytes).into(),
        Some(Any::ArrayValue(array)) => array.values.into_iter().map(value).collect(),
        Some(Any::KvlistValue(list)) => attributes(list.values).into_iter().collect(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}
