//! Starts the telemetry of a program: log lines, spans and metrics.

#[cfg(feature = "opentelemetry")]
use std::time::Duration;

use super::Package;
use super::args::{Format, Global};
use super::output::Output;
use crate::error::{Error, ErrorKind};
use crate::runner::WorkerIdentity;
use crate::settings::Framework;
use crate::settings::LogFormat;
use crate::settings::plan::{ExportPlan, LogHandler, Stream};
#[cfg(feature = "opentelemetry")]
use crate::telemetry::export::{About, Exports, WriteLine};
use crate::telemetry::files::LogFile;
use crate::telemetry::filter::Directives;
use crate::telemetry::logs::{self, LogLayer, LogOptions};
use crate::telemetry::{payloads, propagation};

#[cfg(feature = "opentelemetry")]
/// The time that the end of the program waits for exports.
const LAST_SEND: Duration = Duration::from_secs(2);

/// The telemetry of the program.
#[derive(Debug, Default)]
pub(super) struct Telemetry {
    #[cfg(feature = "opentelemetry")]
    exports: Exports,
    /// The log files, open.
    files: Vec<LogFile>,
}

impl Telemetry {
    /// Starts the telemetry.
    ///
    /// # Errors
    /// The directives are invalid, a log file cannot be opened, or the address of the collector is invalid.
    pub(super) fn start(start: &Start<'_>) -> Result<Self, Error> {
        let directives = start.directives()?;
        let (plan, ignored) = start.framework.exports(start.package.name);
        let mut telemetry = Self::default();
        let mut layers = start.handlers(&directives, &plan, &mut telemetry.files)?;
        telemetry.export(start, &plan)?;
        layers.extend(telemetry.exporting(&directives));
        logs::install(layers);
        if start.framework.telemetry.log_payloads {
            payloads::show();
        }
        propagation::travels(plan.propagates);
        // The supervisor of a worker has read the same settings and printed the warnings.
        for warning in ignored.iter().filter(|_| start.global.as_worker.is_none()) {
            start.output.warn(warning);
        }
        Ok(telemetry)
    }

    /// Sends and writes the remaining data.
    pub(super) fn finish(self) {
        #[cfg(feature = "opentelemetry")]
        self.exports.finish(LAST_SEND);
        drop(self.files);
    }

    #[cfg(feature = "opentelemetry")]
    fn export(&mut self, start: &Start<'_>, plan: &ExportPlan) -> Result<(), Error> {
        let tasks = start.tasks.to_vec();
        let about = About { version: start.package.version, tasks, worker: start.worker() };
        let output = start.output.clone();
        self.exports = Exports::start(plan, &about, &WriteLine::new(move |line| output.write(line)))?;
        Ok(())
    }

    #[cfg(not(feature = "opentelemetry"))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the same call as with exports")]
    fn export(&mut self, start: &Start<'_>, plan: &ExportPlan) -> Result<(), Error> {
        if plan.exports() {
            let what = "the settings name a collector, but this program was built without its export";
            start.output.warn(&format!("{what}: add the feature `opentelemetry` to `ergon` in Cargo.toml"));
        }
        Ok(())
    }

    #[cfg(feature = "opentelemetry")]
    fn exporting(&self, directives: &Directives) -> Vec<LogLayer> {
        use tracing_subscriber::Layer as _;

        let spans = self.exports.tracer().map(crate::telemetry::traces::nesting::layer);
        let lines = self.exports.logger().map(|provider| {
            let bridge = opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge::new(provider);
            bridge.with_filter(directives.filter_of_sender()).boxed()
        });
        spans.into_iter().chain(lines).collect()
    }

    #[cfg(not(feature = "opentelemetry"))]
    #[expect(clippy::unused_self, reason = "the same call as with exports")]
    fn exporting(&self, _: &Directives) -> Vec<LogLayer> {
        Vec::new()
    }
}

/// The parameters of the telemetry.
pub(super) struct Start<'a> {
    pub(super) package: &'a Package,
    pub(super) global: &'a Global,
    pub(super) output: &'a Output,
    pub(super) framework: &'a Framework,
    /// The tasks that the command runs.
    #[cfg_attr(not(feature = "opentelemetry"), expect(dead_code, reason = "only exports name the tasks"))]
    pub(super) tasks: &'a [String],
}

impl Start<'_> {
    /// The index of this process among several workers.
    fn worker(&self) -> Option<usize> {
        self.global.as_worker.as_ref().and_then(WorkerIdentity::worker)
    }

    /// The level of the log lines: from the command line, else the environment, else the settings.
    fn directives(&self) -> Result<Directives, Error> {
        let package = self.package.name;
        match self.framework.log_level(self.global.log_level.as_deref()) {
            None => Ok(Directives::lenient(if self.output.quiet() { "warn" } else { "info" }, package)),
            Some(level) if level.lenient => Ok(Directives::lenient(&level.directives, package)),
            Some(level) => {
                Directives::new(&level.directives, package).map_err(|reason| level.refused(&reason))
            }
        }
    }

    /// The targets of the log lines, without the collector.
    fn handlers(
        &self,
        directives: &Directives,
        plan: &ExportPlan,
        files: &mut Vec<LogFile>,
    ) -> Result<Vec<LogLayer>, Error> {
        let telemetry = &self.framework.telemetry;
        let Some(handlers) = &telemetry.logs else {
            return Ok(vec![self.console(directives, plan, (Stream::Stderr, telemetry.format))]);
        };
        let mut layers = Vec::new();
        for handler in handlers {
            let (opened, format, path) = match handler {
                LogHandler::Otlp {} => continue,
                LogHandler::Console { stream, format } => {
                    let format = if *format == LogFormat::Auto { telemetry.format } else { *format };
                    layers.push(self.console(directives, plan, (*stream, format)));
                    continue;
                }
                LogHandler::File { path, format } => (LogFile::append(path), *format, path),
                LogHandler::RollingFile(file) => {
                    (LogFile::rolling(file, self.worker()), file.format, &file.path)
                }
            };
            let (file, write) = opened.map_err(|error| no_file(path, error))?;
            files.push(file);
            let options = LogOptions { colour: false, ..self.options(plan, format) };
            layers.push(logs::lines(directives.filter(), options, write));
        }
        Ok(layers)
    }

    fn console(
        &self,
        directives: &Directives,
        plan: &ExportPlan,
        (stream, format): (Stream, LogFormat),
    ) -> LogLayer {
        let output = self.output.clone();
        // With `--format json`, standard output has one JSON document and nothing else.
        let stream = if self.global.format == Format::Text { stream } else { Stream::Stderr };
        logs::lines(directives.filter(), self.options(plan, format), move |line| match stream {
            Stream::Stderr => output.write(line),
            // A closed pipe accepts no more lines.
            Stream::Stdout => drop(output.data(line)),
        })
    }

    fn options(&self, plan: &ExportPlan, format: LogFormat) -> LogOptions {
        let (colour, service) = (self.output.colour(), plan.service.clone());
        LogOptions { format, colour, service, worker: self.worker() }
    }
}

fn no_file(path: &crate::settings::FilePath, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Settings, format!("the log file {path} cannot be written")).with_source(error)
}
