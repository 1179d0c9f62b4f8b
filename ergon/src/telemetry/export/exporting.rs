//! Guards exporters: limits their time, catches their panics, and counts their failures.

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
use super::text;

/// A guarded exporter.
#[derive(Debug)]
pub(crate) struct Exporting<E> {
    exporter: E,
    /// The runtime of its connections. The library calls the exporter on its own threads.
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

    /// Makes one call that exports `count` items.
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
        self.losses.log(Instant::now(), false);
        result
    }
}

impl<E: SpanExporter> SpanExporter for Exporting<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let texts: Vec<usize> = batch.iter().map(text::in_span).collect();
        let result = self.call(texts.len(), || self.exporter.export(batch));
        self.losses.leave(texts.into_iter());
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
        let texts: Vec<usize> = batch.iter().map(|(line, _)| text::in_line(line)).collect();
        let result = self.call(texts.len(), || self.exporter.export(batch));
        self.losses.leave(texts.into_iter());
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
    use opentelemetry::KeyValue;
    use opentelemetry::logs::{LogRecord, Logger, LoggerProvider};
    use opentelemetry::trace::{Span, Tracer, TracerProvider};
    use opentelemetry_sdk::logs::SdkLoggerProvider;
    use opentelemetry_sdk::trace::{SdkTracerProvider, SpanExporter};

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

    impl LogExporter for Hanging {
        async fn export(&self, _: LogBatch<'_>) -> OTelSdkResult {
            std::future::pending().await
        }
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    }

    fn exported<E: SpanExporter>(exporter: E) -> String {
        let runtime = runtime();
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

    /// A little more than 8 MiB, and the item that was accepted before its size was known.
    const HELD: usize = 9;

    #[test]
    fn long_spans_and_long_lines_wait_in_bounded_memory_though_the_collector_hangs() {
        const LONG: usize = 1 << 20;
        let (runtime, resource) = (runtime(), Resource::builder_empty().build());
        let queueing = crate::settings::plan::Queueing::default();
        let exporting = |losses: &Arc<Losses>| {
            Exporting::new(Hanging, runtime.handle(), Duration::from_secs(3600), Arc::clone(losses))
        };
        let (spans, lines) = (Arc::new(Losses::new("spans")), Arc::new(Losses::new("log lines")));
        let queue = crate::telemetry::traces::Queue::new(exporting(&spans), &resource, queueing);
        let shared = crate::telemetry::traces::Shared(Arc::new(queue));
        let traces = SdkTracerProvider::builder().with_span_processor(shared).build();
        let queue = super::super::lines::Queue::new(exporting(&lines), &resource, queueing);
        let logs = SdkLoggerProvider::builder().with_log_processor(queue).build();
        for _ in 0..100 {
            let mut span = traces.tracer("long").start("long");
            span.set_attribute(KeyValue::new("text", "x".repeat(LONG)));
            span.end();
            let logger = logs.logger("long");
            let mut line = logger.create_log_record();
            line.set_body("x".repeat(LONG).into());
            logger.emit(line);
        }
        for losses in [&spans, &lines] {
            assert_eq!(losses.unlogged(), 100 - HELD as u64, "{losses:?}");
        }
        // Hanging threads are abandoned.
        std::mem::forget((traces, logs));
        runtime.shutdown_background();
    }
}
