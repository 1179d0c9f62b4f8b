//! What is to be seen where: plain data, as settings and environment give it.

#![cfg_attr(
    not(feature = "opentelemetry"),
    expect(dead_code, reason = "most of it is read by the exporters")
)]

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use super::{ByteSize, FilePath};

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    /// Pretty, in colour on a terminal; also where there is no terminal, as nobody asked for anything else.
    #[default]
    Auto,
    /// For people.
    Pretty,
    /// One JSON object in each line.
    Json,
}

/// Where spans or metrics go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Target {
    /// Nowhere.
    #[default]
    Off,
    /// To a collector.
    Otlp,
    /// To standard error, one line each.
    Console,
}

/// What is exported, and to whom.
#[derive(Debug, Clone)]
pub(crate) struct ExportPlan {
    pub(crate) traces: Target,
    pub(crate) metrics: Target,
    pub(crate) logs: Target,
    pub(crate) endpoints: Endpoints,
    pub(crate) sampler: SamplerPlan,
    pub(crate) spans: Queueing,
    pub(crate) lines: Queueing,
    /// Whether metrics are kept to be asked for.
    pub(crate) scrape: bool,
    /// How often metrics are sent.
    pub(crate) interval: Option<Duration>,
    /// Whether metrics are sent as what was added since the last time.
    pub(crate) delta: bool,
    /// The program's name.
    pub(crate) service: String,
    /// `OTEL_RESOURCE_ATTRIBUTES`, without the program's name.
    pub(crate) attributes: Vec<(String, String)>,
    /// Whether the place in a trace travels with what is sent, and is taken from what comes.
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
    /// Whether anything leaves the program by itself.
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

/// Where and how one signal is sent.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    /// What sets the URL: `environment variable OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub(crate) set_by: String,
    pub(crate) protocol: Protocol,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) timeout: Duration,
}

/// The URL and the headers may hold credentials.
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

/// How a collector is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Grpc,
    /// Protobuf over HTTP.
    Http,
}

/// Which traces are recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SamplerPlan {
    /// The share of the traces that begin here, 0 to 1.
    pub(crate) ratio: f64,
    /// Whether what comes with a trace does what its sender decided.
    pub(crate) parent_based: bool,
}

impl Default for SamplerPlan {
    fn default() -> Self {
        Self { ratio: 1.0, parent_based: true }
    }
}

/// How much waits to be sent, and how it is bundled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queueing {
    /// Beyond this many, what is new is dropped and counted.
    pub(crate) most: usize,
    pub(crate) batch: usize,
    pub(crate) delay: Duration,
}

impl Default for Queueing {
    /// Four times OpenTelemetry's own: its 2,048 are full in a millisecond of a busy program.
    fn default() -> Self {
        Self { most: 8_192, batch: 1_024, delay: Duration::from_secs(1) }
    }
}

/// Where log lines are written to.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogHandler {
    /// To the terminal.
    Console {
        /// Default: standard error.
        #[serde(default)]
        stream: Stream,
        #[serde(default)]
        format: LogFormat,
    },
    /// To the end of a file.
    File {
        path: FilePath,
        #[serde(default = "json")]
        format: LogFormat,
    },
    /// To a file that is put aside when it is old or long: `app.log`, `app.log.1`, ….
    RollingFile(RollingFile),
    /// To the collector.
    Otlp {},
}

/// A file that is put aside when it is old or long.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RollingFile {
    pub(crate) path: FilePath,
    /// Default: `daily`, unless `max_bytes` is given.
    #[serde(default)]
    pub(crate) rotation: Option<Rotation>,
    /// How many files are kept, besides the one that is written to. Default: 7.
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

/// How often a rolling file begins anew.
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
