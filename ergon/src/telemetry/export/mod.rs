//! Exports spans, metrics and log lines to a collector or to the console.
//!
//! The library sends from its own threads, and a small separate runtime drives their connections. So a busy program does
//! not delay its telemetry, and telemetry does not delay the program. Items that find no room in a queue are dropped and
//! counted.

mod console;
mod exporting;
mod lines;
mod losses;
mod otlp;
mod resource;
pub(crate) mod text;

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::{MeterProviderBuilder, PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tokio::runtime::Runtime;
use tracing::subscriber::NoSubscriber;

pub(crate) use console::WriteLine;
pub(crate) use exporting::Exporting;
pub(crate) use losses::Losses;
pub(crate) use resource::About;

use super::metrics;
use super::traces::{self, Queue, Sampling, Shared, Tracer};
use crate::error::{Error, ErrorKind};
use crate::settings::plan::{ExportPlan, SamplerPlan, Target};

/// The interval between exports of metrics: OpenTelemetry's default.
const METRICS_EVERY: Duration = Duration::from_secs(60);

/// The exports of the program.
#[derive(Debug, Default)]
pub(crate) struct Exports {
    tracer: Option<SdkTracerProvider>,
    meter: Option<SdkMeterProvider>,
    logger: Option<SdkLoggerProvider>,
    losses: Vec<Arc<Losses>>,
    /// Drives the connections to the collector.
    runtime: Option<Runtime>,
}

/// The description of the process for exporters.
struct Means<'a> {
    plan: &'a ExportPlan,
    runtime: &'a Runtime,
    resource: Resource,
    write: &'a WriteLine,
    /// The index of this process among several workers.
    #[cfg(feature = "health")]
    worker: Option<usize>,
}

impl Exports {
    /// Starts the planned exports; `write` receives the lines for the console.
    ///
    /// # Errors
    /// The address of the collector is invalid, or the sending threads do not start.
    pub(crate) fn start(plan: &ExportPlan, about: &About, write: &WriteLine) -> Result<Self, Error> {
        let mut exports = Self::default();
        if !plan.exports() && !plan.scrape {
            return Ok(exports);
        }
        let runtime = &*exports.runtime.insert(runtime()?);
        let resource = about.resource(plan);
        let means = Means {
            plan,
            runtime,
            resource,
            write,
            #[cfg(feature = "health")]
            worker: about.worker,
        };
        if plan.traces != Target::Off {
            let (provider, losses) = means.spans()?;
            exports.tracer = Some(provider);
            exports.losses.push(losses);
        }
        if plan.metrics != Target::Off || plan.scrape {
            let (provider, losses) = means.metrics()?;
            exports.meter = Some(provider);
            exports.losses.push(losses);
        }
        if plan.logs == Target::Otlp {
            let (provider, losses) = means.lines()?;
            exports.logger = Some(provider);
            exports.losses.push(losses);
        }
        Ok(exports)
    }

    /// The provider that records the spans of the user's own code.
    pub(crate) fn tracer(&self) -> Option<SdkTracer> {
        self.tracer.as_ref().map(|provider| provider.tracer("ergon"))
    }

    /// The provider that sends log lines.
    pub(crate) fn logger(&self) -> Option<&SdkLoggerProvider> {
        self.logger.as_ref()
    }

    /// Sends the queued telemetry within a time limit, and logs losses.
    pub(crate) fn finish(&self, within: Duration) {
        let (done, ended) = mpsc::channel::<()>();
        let deadline = Instant::now() + within;
        let (tracer, meter, logger) = (self.tracer.clone(), self.meter.clone(), self.logger.clone());
        // Each on a thread that is abandoned when the time is over, because the library waits longer than its limit while a
        // call to the collector hangs.
        let closing: [Box<dyn FnOnce() + Send>; 3] = [
            Box::new(move || drop(tracer.map(|provider| provider.shutdown_with_timeout(within)))),
            Box::new(move || drop(meter.map(|provider| provider.shutdown_with_timeout(within)))),
            Box::new(move || drop(logger.map(|provider| provider.shutdown_with_timeout(within)))),
        ];
        for close in closing {
            let done = done.clone();
            // Without a thread nothing can be sent.
            let _ = std::thread::Builder::new().name("ergon-last-send".to_owned()).spawn(move || {
                close();
                drop(done);
            });
        }
        drop(done);
        // It ends when the last thread drops its sender.
        let _ = ended.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        for losses in &self.losses {
            losses.log(Instant::now(), true);
        }
    }
}

impl Drop for Exports {
    fn drop(&mut self) {
        // A hanging call must not delay the end of the program. The library's own drop would wait for it.
        std::mem::forget((self.tracer.take(), self.meter.take(), self.logger.take()));
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Means<'_> {
    fn spans(&self) -> Result<(SdkTracerProvider, Arc<Losses>), Error> {
        let losses = Arc::new(Losses::new("spans"));
        let (handle, limit) = (self.runtime.handle(), self.plan.endpoints.traces.timeout);
        let queueing = self.plan.spans;
        let queue = if self.plan.traces == Target::Console {
            let exporter = console::Spans::new(self.write);
            Queue::new(Exporting::new(exporter, handle, limit, Arc::clone(&losses)), &self.resource, queueing)
        } else {
            let exporter = otlp::spans(&self.plan.endpoints.traces, handle)?;
            Queue::new(Exporting::new(exporter, handle, limit, Arc::clone(&losses)), &self.resource, queueing)
        };
        let (sampling, queue) = (sampling(self.plan.sampler), Arc::new(queue));
        let provider = SdkTracerProvider::builder()
            .with_resource(self.resource.clone())
            .with_sampler(sampling.of_provider())
            .with_span_processor(Shared(Arc::clone(&queue)))
            .build();
        traces::install(Arc::new(Tracer::new(sampling, queue)));
        Ok((provider, losses))
    }

    fn metrics(&self) -> Result<(SdkMeterProvider, Arc<Losses>), Error> {
        let losses = Arc::new(Losses::new("metrics"));
        let (endpoint, handle) = (&self.plan.endpoints.metrics, self.runtime.handle());
        let every = self.plan.interval.unwrap_or(METRICS_EVERY);
        let builder = SdkMeterProvider::builder().with_resource(self.resource.clone());
        let builder = match self.plan.metrics {
            Target::Off => builder,
            Target::Console => {
                let exporter = console::Metrics::new(self.write);
                let exporter = Exporting::new(exporter, handle, endpoint.timeout, Arc::clone(&losses));
                builder.with_reader(PeriodicReader::builder(exporter).with_interval(every).build())
            }
            Target::Otlp => {
                let exporter = otlp::metrics(endpoint, self.plan.delta, handle)?;
                let exporter = Exporting::new(exporter, handle, endpoint.timeout, Arc::clone(&losses));
                builder.with_reader(PeriodicReader::builder(exporter).with_interval(every).build())
            }
        };
        let provider = self.asked_for(builder)?.build();
        metrics::install(provider.clone());
        Ok((provider, losses))
    }

    /// Registers the metrics for Prometheus, too.
    #[cfg(feature = "health")]
    fn asked_for(&self, builder: MeterProviderBuilder) -> Result<MeterProviderBuilder, Error> {
        if !self.plan.scrape {
            return Ok(builder);
        }
        let reader = super::prometheus::install(self.worker);
        let reader = reader.map_err(|error| {
            Error::new(ErrorKind::Task, "the metrics cannot be registered for Prometheus").with_source(error)
        })?;
        Ok(builder.with_reader(reader))
    }

    #[cfg(not(feature = "health"))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the same call as with the feature")]
    fn asked_for(&self, builder: MeterProviderBuilder) -> Result<MeterProviderBuilder, Error> {
        Ok(builder)
    }

    fn lines(&self) -> Result<(SdkLoggerProvider, Arc<Losses>), Error> {
        let losses = Arc::new(Losses::new("log lines"));
        let (endpoint, handle) = (&self.plan.endpoints.logs, self.runtime.handle());
        let exporter = otlp::lines(endpoint, handle)?;
        let exporter = Exporting::new(exporter, handle, endpoint.timeout, Arc::clone(&losses));
        let queue = lines::Queue::new(exporter, &self.resource, self.plan.lines);
        let provider = SdkLoggerProvider::builder()
            .with_resource(self.resource.clone())
            .with_log_processor(queue)
            .build();
        Ok((provider, losses))
    }
}

/// The threads that send telemetry. Their own log lines are not exported.
fn runtime() -> Result<Runtime, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("ergon-telemetry")
        .on_thread_start(|| std::mem::forget(tracing::subscriber::set_default(NoSubscriber::new())))
        .enable_all()
        .build();
    runtime.map_err(|error| {
        Error::new(ErrorKind::Task, "the threads that send telemetry cannot start").with_source(error)
    })
}

pub(crate) fn sampling(plan: SamplerPlan) -> Sampling {
    let root = match plan.ratio {
        ratio if ratio >= 1.0 => Sampler::AlwaysOn,
        ratio if ratio <= 0.0 => Sampler::AlwaysOff,
        ratio => Sampler::TraceIdRatioBased(ratio),
    };
    Sampling { root, parent_based: plan.parent_based }
}
