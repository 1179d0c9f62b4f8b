//! Starts what can be seen of a program: its log lines, spans and metrics.

#[cfg(feature = "opentelemetry")]
use std::time::Duration;

use super::Package;
use super::args::Global;
use super::output::Output;
use crate::error::{Error, ErrorKind};
use crate::settings::Framework;
use crate::settings::LogFormat;
use crate::settings::plan::{ExportPlan, LogHandler, Stream};
#[cfg(feature = "opentelemetry")]
use crate::telemetry::export::{About, Exports, WriteLine};
use crate::telemetry::files::LogFile;
use crate::telemetry::filter::Directives;
use crate::telemetry::logs::{self, LogLayer, LogOptions};

#[cfg(feature = "opentelemetry")]
/// How long the end of the program waits for what is still to be sent.
const LAST_SEND: Duration = Duration::from_secs(2);

/// What can be seen, until the program ends.
#[derive(Debug, Default)]
pub(super) struct Telemetry {
    #[cfg(feature = "opentelemetry")]
    exports: Exports,
    /// The log files, open.
    files: Vec<LogFile>,
}

impl Telemetry {
    /// Starts it: the command line says from which level on lines are written, else the environment, else the
    /// settings.
    ///
    /// # Errors
    /// Directives that cannot be read, a log file that cannot be opened, an address of a collector that is none.
    pub(super) fn start(
        package: &Package,
        global: &Global,
        output: &Output,
        (framework, tasks): (&Framework, &[String]),
    ) -> Result<Self, Error> {
        let directives = directives(package, global, output, framework)?;
        let (plan, ignored) = framework.exports(package.name);
        let mut telemetry = Self::default();
        let mut layers = telemetry.handlers(&directives, &plan, output, framework)?;
        telemetry.export(package, tasks, &plan, output)?;
        layers.extend(telemetry.exporting(&directives));
        logs::install(layers);
        for warning in &ignored {
            output.warn(warning);
        }
        Ok(telemetry)
    }

    /// Sends and writes what is left.
    pub(super) fn finish(self) {
        #[cfg(feature = "opentelemetry")]
        self.exports.finish(LAST_SEND);
        drop(self.files);
    }

    /// The places that lines are written to, but for the collector.
    fn handlers(
        &mut self,
        directives: &Directives,
        plan: &ExportPlan,
        output: &Output,
        framework: &Framework,
    ) -> Result<Vec<LogLayer>, Error> {
        let telemetry = &framework.telemetry;
        let options = |format| LogOptions { format, colour: output.colour(), service: plan.service.clone() };
        let console = || {
            let output = output.clone();
            logs::lines(directives.filter(), options(telemetry.format), move |line| output.write(line))
        };
        let Some(handlers) = &telemetry.logs else { return Ok(vec![console()]) };
        let mut layers = Vec::new();
        for handler in handlers {
            let layer = match handler {
                LogHandler::Otlp {} => continue,
                LogHandler::Console { stream, format } => {
                    let format = if *format == LogFormat::Auto { telemetry.format } else { *format };
                    let (output, stream) = (output.clone(), *stream);
                    logs::lines(directives.filter(), options(format), move |line| match stream {
                        Stream::Stderr => output.write(line),
                        // A pipe that is closed wants no more lines.
                        Stream::Stdout => drop(output.data(line)),
                    })
                }
                LogHandler::File { path, format } => {
                    let (file, write) = LogFile::append(path).map_err(|error| no_file(path, error))?;
                    self.files.push(file);
                    logs::lines(directives.filter(), LogOptions { colour: false, ..options(*format) }, write)
                }
                LogHandler::RollingFile(rolling) => {
                    let opened = LogFile::rolling(rolling).map_err(|error| no_file(&rolling.path, error));
                    let (file, write) = opened?;
                    self.files.push(file);
                    let options = LogOptions { colour: false, ..options(rolling.format) };
                    logs::lines(directives.filter(), options, write)
                }
            };
            layers.push(layer);
        }
        Ok(layers)
    }

    #[cfg(feature = "opentelemetry")]
    fn export(
        &mut self,
        package: &Package,
        tasks: &[String],
        plan: &ExportPlan,
        output: &Output,
    ) -> Result<(), Error> {
        let about = About { version: package.version, tasks: tasks.to_vec(), worker: None };
        let output = output.clone();
        self.exports = Exports::start(plan, &about, &WriteLine::new(move |line| output.write(line)))?;
        Ok(())
    }

    #[cfg(not(feature = "opentelemetry"))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the same call as with exports")]
    fn export(&mut self, _: &Package, _: &[String], plan: &ExportPlan, output: &Output) -> Result<(), Error> {
        if plan.exports() {
            output.warn("a collector is named, but this program was built without the feature `opentelemetry` of `ergon`");
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

fn directives(
    package: &Package,
    global: &Global,
    output: &Output,
    framework: &Framework,
) -> Result<Directives, Error> {
    match framework.log_level(global.log_level.as_deref()) {
        None => Ok(Directives::lenient(if output.quiet() { "warn" } else { "info" }, package.name)),
        Some(level) if level.lenient => Ok(Directives::lenient(&level.directives, package.name)),
        Some(level) => {
            Directives::new(&level.directives, package.name).map_err(|reason| level.refused(&reason))
        }
    }
}

fn no_file(path: &crate::settings::FilePath, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Settings, format!("the log file {path} cannot be written")).with_source(error)
}
