//! Defines the table `[telemetry]` of `ergon.toml`.

use serde::Deserialize;

use super::plan::{LogFormat, LogHandler, Target};

/// `[telemetry]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Telemetry {
    /// The name of the program. Default: the name of the package.
    pub(crate) service_name: Option<String>,
    /// The directives for log lines: a level, or directives such as `warn,my_crate=debug`.
    pub(super) level: Option<String>,
    /// The format of log lines on the console.
    pub(crate) format: LogFormat,
    /// The targets of log lines. Default: the console, and the collector if there is one.
    pub(crate) logs: Option<Vec<LogHandler>>,
    /// The target of spans. Default: the collector if the environment names one.
    pub(super) traces: Option<Target>,
    /// The target of metrics. Default: the collector if the environment names one.
    pub(super) metrics: Option<Target>,
    /// Whether the log line of a failed transaction contains its payload. Default: false.
    pub(crate) log_payloads: bool,
}
