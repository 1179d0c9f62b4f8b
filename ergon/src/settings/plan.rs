//! Describes the telemetry of a program as plain data: the result of settings and environment.

#![cfg_attr(
    not(feature = "opentelemetry"),
    expect(dead_code, reason = "most of it is read by the exporters")
)]

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use super::{ByteSize, FilePath};

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    /// Like `pretty`, with colour on a terminal.
    #[default]
    Auto,
    /// For people.
    Pretty,
    /// One JSON object in each line.
    Json,
}

/// The target of spans or metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Target {
    /// No export.
    #[default]
    Off,
    /// A collector.
    Otlp,
    /// Standard error, one line each.
    Console,
}

/// The planned exports.
#[derive(Debug, Clone)]
pub(crate) struct ExportPlan {
    pub(crate) traces: Target,
    pub(crate) metrics: Target,
    pub(crate) logs: Target,
    pub(crate) endpoints: Endpoints,
    pub(crate) sampler: SamplerPlan,
    pub(crate) spans: Queueing,
    pub(crate) lines: Queueing,
    /// Whether metrics are served to Prometheus.
    pub(crate) scrape: bool,
    /// The interval between exports of metrics.
    pub(crate) interval: Option<Duration>,
    /// Whether metrics are sent as deltas since the last export.
    pub(crate) delta: bool,
    /// The name of the program.
    pub(crate) service: String,
    /// `OTEL_RESOURCE_ATTRIBUTES`, without the name of the program.
    pub(crate) attributes: Vec<(String, String)>,
    /// Whether trace contexts propagate with transactions, outgoing and incoming.
    pub(crate) propagates: bool,
}

impl Default for ExportPlan {
    fn default() -> Self {
        let off = Target::Off;
        Self {
            traces: off,
            metrics: off,
            logs: off,
            endpoints: Endpoints::default(),
            sampler: SamplerPlan::default(),
            spans: Queueing::default(),
            lines: Queueing::default(),
            scrape: false,
            interval: None,
            delta: false,
            service: String::new(),
            attributes: Vec::new(),
            propagates: true,
        }
    }
}

impl ExportPlan {
    /// Whether the program exports anything.
    pub(crate) fn exports(&self) -> bool {
        [self.traces, self.metrics, self.logs].iter().any(|target| *target != Target::Off)
    }
}

/// The collector, for each signal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Endpoints {
    pub(crate) traces: Endpoint,
    pub(crate) metrics: Endpoint,
    pub(crate) logs: Endpoint,
}

/// The endpoint of one signal.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    /// The origin of the URL: `environment variable OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub(crate) set_by: String,
    pub(crate) protocol: Protocol,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) timeout: Duration,
}

/// Hides the URL and the headers, because they may contain credentials.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { set_by, protocol, timeout, .. } = self;
        write!(f, "Endpoint({set_by}, {protocol:?}, {timeout:?})")
    }
}

impl Default for Endpoint {
    fn default() -> Self {
        Self {
            url: "http://localhost:4317".to_owned(),
            set_by: "the default".to_owned(),
            protocol: Protocol::Grpc,
            headers: Vec::new(),
            timeout: Duration::from_secs(10),
        }
    }
}

/// The protocol of a collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Grpc,
    /// Protobuf over HTTP.
    Http,
}

/// The sampling of traces.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SamplerPlan {
    /// The share of the traces that start here, 0 to 1.
    pub(crate) ratio: f64,
    /// Whether a continued trace follows the decision of its sender.
    pub(crate) parent_based: bool,
}

impl Default for SamplerPlan {
    fn default() -> Self {
        Self { ratio: 1.0, parent_based: true }
    }
}

/// The queue and the batches of an exporter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queueing {
    /// The size of the queue. Beyond it, new items are dropped and counted.
    pub(crate) most: usize,
    pub(crate) batch: usize,
    pub(crate) delay: Duration,
}

impl Default for Queueing {
    /// Four times OpenTelemetry's default: a busy program fills 2,048 places in a millisecond.
    fn default() -> Self {
        Self { most: 8_192, batch: 1_024, delay: Duration::from_secs(1) }
    }
}

/// A target of log lines.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogHandler {
    /// The terminal.
    Console {
        /// Default: standard error.
        #[serde(default)]
        stream: Stream,
        #[serde(default)]
        format: LogFormat,
    },
    /// A file, appended to.
    File {
        path: FilePath,
        #[serde(default = "json")]
        format: LogFormat,
    },
    /// A file that is rotated when it is old or long: `app.log`, `app.log.1`, ….
    RollingFile(RollingFile),
    /// The collector.
    Otlp {},
}

/// A file that is rotated when it is old or long.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RollingFile {
    pub(crate) path: FilePath,
    /// Default: `daily`, unless `max_bytes` is given.
    #[serde(default)]
    pub(crate) rotation: Option<Rotation>,
    /// The number of rotated files that are kept. Default: 7.
    #[serde(default = "a_week")]
    pub(crate) keep: usize,
    #[serde(default)]
    pub(crate) max_bytes: Option<ByteSize>,
    #[serde(default = "json")]
    pub(crate) format: LogFormat,
}

/// A stream of the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stream {
    #[default]
    Stderr,
    Stdout,
}

/// The interval of rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Rotation {
    Minutely,
    Hourly,
    Daily,
}

fn json() -> LogFormat {
    LogFormat::Json
}

fn a_week() -> usize {
    7
}
