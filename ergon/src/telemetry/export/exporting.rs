//! An exporter in a program that must not suffer from it: limited in time, its panics caught, its failures counted.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::logs::{LogBatch, LogExporter};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::losses::Losses;

/// An exporter, guarded.
#[derive(Debug)]
pub(crate) struct Exporting<E> {
    exporter: E,
    /// What drives its connections; the library calls it on threads of its own.
    runtime: Handle,
    limit: Duration,
    /// How much waits in the queue before it.
    waiting: Arc<AtomicUsize>,
    losses: Arc<Losses>,
}

impl<E> Exporting<E> {
    pub(crate) fn new(exporter: E, runtime: &Handle, limit: Duration, losses: Arc<Losses>) -> Self {
        Self { exporter, runtime: runtime.clone(), limit, waiting: Arc::default(), losses }
    }

    pub(crate) fn waiting(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.waiting)
    }

    pub(crate) fn losses(&self) -> Arc<Losses> {
        Arc::clone(&self.losses)
    }

    /// Makes one call, which `count` things depend on.
    fn call<F>(&self, count: usize, call: impl FnOnce() -> F) -> OTelSdkResult
    where
        F: Future<Output = OTelSdkResult>,
    {
        let limited = || self.runtime.block_on(async { timeout(self.limit, call()).await });
        let result = match catch_unwind(AssertUnwindSafe(limited)) {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(OTelSdkError::Timeout(self.limit)),
            Err(_) => Err(OTelSdkError::InternalFailure("the exporter panicked".to_owned())),
        };
        if let Err(error) = &result {
            self.losses.failed(count as u64, error.to_string());
        }
        self.losses.tell(Instant::now(), false);
        result
    }
}

impl<E: SpanExporter> SpanExporter for Exporting<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        self.waiting.fetch_sub(count, Ordering::Relaxed);
        self.call(count, || self.exporter.export(batch))
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E: LogExporter> LogExporter for Exporting<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let count = batch.iter().count();
        self.waiting.fetch_sub(count, Ordering::Relaxed);
        self.call(count, || self.exporter.export(batch))
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Exporting<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.call(1, || self.exporter.export(metrics))
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}
