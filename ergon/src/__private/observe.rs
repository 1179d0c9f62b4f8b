//! Enables telemetry without a collector, or with a given collector, for the benchmark of telemetry.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tokio::runtime::Handle;

use crate::settings::LogFormat;
use crate::settings::plan::{Endpoint, Endpoints, ExportPlan, Queueing, SamplerPlan, Target};
use crate::telemetry::export::{About, Exporting, Exports, Losses, WriteLine, sampling};
use crate::telemetry::filter::Directives;
use crate::telemetry::logs::{self, LogOptions};
use crate::telemetry::metrics;
use crate::telemetry::traces::{self, Queue, Tracer};

/// Drops everything that is exported.
#[derive(Debug)]
pub struct Nowhere;

impl SpanExporter for Nowhere {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        Ok(())
    }
}

impl PushMetricExporter for Nowhere {
    async fn export(&self, _: &ResourceMetrics) -> OTelSdkResult {
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

/// Starts tracing this share of all transactions.
pub fn trace(ratio: f64, runtime: &Handle) {
    let exporter =
        Exporting::new(Nowhere, runtime, Endpoint::default().timeout, Arc::new(Losses::new("spans")));
    let queue = Queue::new(exporter, &Resource::builder_empty().build(), Queueing::default());
    let sampling = sampling(SamplerPlan { ratio, parent_based: true });
    traces::install(Arc::new(Tracer::new(sampling, Arc::new(queue))));
}

/// Starts the metrics.
pub fn measure() {
    metrics::install(
        SdkMeterProvider::builder().with_reader(PeriodicReader::builder(Nowhere).build()).build(),
    );
}

/// Starts writing log lines of this level and above as JSON to `write`.
pub fn log(level: &str, write: impl Fn(&str) + Send + Sync + 'static) {
    let options =
        LogOptions { format: LogFormat::Json, colour: false, service: "bench".to_owned(), worker: None };
    logs::install(vec![logs::lines(Directives::lenient(level, "bench").filter(), options, write)]);
}

/// Traces this share of all transactions and sends the spans to the collector at this address.
///
/// # Panics
/// The address is not valid, or no thread can be started.
#[expect(clippy::expect_used, reason = "a benchmark may fail")]
pub fn trace_to(url: &str, ratio: f64) -> impl Sized + use<> {
    let endpoint = Endpoint { url: url.to_owned(), ..Endpoint::default() };
    let endpoints = Endpoints { traces: endpoint, ..Endpoints::default() };
    let sampler = SamplerPlan { ratio, parent_based: true };
    let plan = ExportPlan { traces: Target::Otlp, endpoints, sampler, ..ExportPlan::default() };
    Exports::start(&plan, &About::default(), &WriteLine::new(|_| {})).expect("it starts")
}
