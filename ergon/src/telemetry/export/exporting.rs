//! An exporter in a program that must not suffer from it: limited in time, its panics caught, its failures counted.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
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
    losses: Arc<Losses>,
}

impl<E> Exporting<E> {
    pub(crate) fn new(exporter: E, runtime: &Handle, limit: Duration, losses: Arc<Losses>) -> Self {
        Self { exporter, runtime: runtime.clone(), limit, losses }
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
        let result = self.call(count, || self.exporter.export(batch));
        self.losses.leave(count);
        result
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
        let result = self.call(count, || self.exporter.export(batch));
        self.losses.leave(count);
        result
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

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::trace::SpanExporter;

    use super::*;

    #[derive(Debug)]
    struct Faulty(fn() -> OTelSdkResult);

    impl SpanExporter for Faulty {
        async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
            (self.0)()
        }
    }

    #[derive(Debug)]
    struct Hanging;

    impl SpanExporter for Hanging {
        async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
            std::future::pending().await
        }
    }

    fn exported<E: SpanExporter>(exporter: E) -> String {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let losses = Arc::new(Losses::new("spans"));
        let exporting = Exporting::new(exporter, runtime.handle(), Duration::from_millis(20), losses);
        match futures_util::FutureExt::now_or_never(SpanExporter::export(&exporting, Vec::new())) {
            Some(Err(error)) => error.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_exporter_that_panics_or_hangs_is_one_that_fails() {
        assert!(
            exported(Faulty(|| std::panic::panic_any("out of cheese"))).contains("the exporter panicked")
        );
        assert!(exported(Hanging).contains("timed out"));
        let refused = || Err(OTelSdkError::InternalFailure("refused".to_owned()));
        assert!(exported(Faulty(refused)).contains("refused"));
    }
}
