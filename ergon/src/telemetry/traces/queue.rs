//! Queues ended spans for the export. The queue is bounded, so that a slow or absent collector costs no memory, and
//! counted, so that nothing is lost silently.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor,
};

use crate::settings::plan::Queueing;
use crate::telemetry::export::{Exporting, Losses, text};

/// A queue of spans before the exporter.
///
/// The library's own queue drops spans silently when it is full. This queue counts spans before it passes them on, and the
/// library's queue is larger, so that it is never full.
#[derive(Debug)]
pub(crate) struct Queue {
    processor: BatchSpanProcessor,
    most: usize,
    losses: Arc<Losses>,
}

impl Queue {
    /// Creates a queue of at most `most` spans. Spans are exported when a batch is full, or after `delay`.
    pub(crate) fn new<E: SpanExporter + 'static>(
        exporter: Exporting<E>,
        resource: &Resource,
        Queueing { most, batch, delay }: Queueing,
    ) -> Self {
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(most.saturating_mul(2))
            .with_max_export_batch_size(batch)
            .with_scheduled_delay(delay)
            .build();
        let losses = exporter.losses();
        let mut processor = BatchSpanProcessor::new(exporter, config);
        processor.set_resource(resource);
        Self { processor, most, losses }
    }

    /// Reserves a place for a span; `false` if the queue is full and the span is lost.
    pub(super) fn reserve(&self) -> bool {
        self.losses.enter(self.most)
    }

    /// Queues a span that has a place.
    pub(super) fn push(&self, span: SpanData) {
        self.losses.hold(text::in_span(&span));
        self.processor.on_end(span);
    }
}

/// The queue as a span processor of the library, for the spans of the user's own code.
#[derive(Debug)]
pub(crate) struct Shared(pub(crate) Arc<Queue>);

impl SpanProcessor for Shared {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.0.reserve() {
            self.0.push(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.processor.shutdown_with_timeout(timeout)
    }
}
