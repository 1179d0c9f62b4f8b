//! Sends log lines to the collector, with the ids of their transaction.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry::logs::LogRecord;
use opentelemetry::trace::{SpanId, TraceFlags, TraceId};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{
    BatchConfigBuilder, BatchLogProcessor, LogExporter, LogProcessor, SdkLogRecord,
};

use super::exporting::Exporting;
use super::losses::Losses;
use super::text;
use crate::settings::plan::Queueing;
use crate::telemetry::Scope;
use crate::telemetry::traces;

/// A bounded queue that counts dropped lines.
#[derive(Debug)]
pub(super) struct Queue {
    processor: BatchLogProcessor,
    most: usize,
    losses: Arc<Losses>,
}

impl Queue {
    pub(super) fn new<E: LogExporter + 'static>(
        exporter: Exporting<E>,
        resource: &Resource,
        Queueing { most, batch, delay }: Queueing,
    ) -> Self {
        let losses = exporter.losses();
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(most.saturating_mul(2))
            .with_max_export_batch_size(batch)
            .with_scheduled_delay(delay)
            .build();
        let mut processor = BatchLogProcessor::builder(exporter).with_batch_config(config).build();
        processor.set_resource(resource);
        Self { processor, most, losses }
    }
}

impl LogProcessor for Queue {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        if !self.losses.enter(self.most) {
            return;
        }
        Scope::with_current(|current| identify(record, current));
        self.losses.hold(text::in_line(record));
        self.processor.emit(record, scope);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.processor.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.processor.set_resource(resource);
    }
}

/// Adds the ids of the transaction to a line.
fn identify(record: &mut SdkLogRecord, current: Option<&Scope>) {
    if let Some(context) = traces::current(current.and_then(|scope| scope.trace.as_ref())) {
        let flags = if context.sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
        let (trace_id, span_id) = (TraceId::from(context.trace_id), SpanId::from(context.span_id));
        record.set_trace_context(trace_id, span_id, Some(flags));
    }
    if let Some(scope) = current {
        record.add_attribute("task", scope.task);
        record.add_attribute("transaction_id", scope.transaction_id.to_string());
        record.add_attribute("step", scope.step.as_str());
        record.add_attribute("attempt", i64::from(scope.attempt));
    }
}
