//! The table `[telemetry]`.

use serde::Deserialize;

use super::plan::{LogFormat, LogHandler, Target};

/// `[telemetry]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Telemetry {
    /// The name of the program. Default: the package's.
    pub(crate) service_name: Option<String>,
    /// Which log lines are written: a level, or directives such as `warn,my_crate=debug`.
    pub(super) level: Option<String>,
    /// How log lines are written to the console.
    pub(crate) format: LogFormat,
    /// Where log lines are written to. Default: the console, and the collector if there is one.
    pub(crate) logs: Option<Vec<LogHandler>>,
    /// Where spans go. Default: to the collector if the environment names one.
    pub(super) traces: Option<Target>,
    /// Where metrics go. Default: to the collector if the environment names one.
    pub(super) metrics: Option<Target>,
    /// Whether the payload of a transaction that failed stands in its log line. Default: false.
    pub(crate) log_payloads: bool,
}
