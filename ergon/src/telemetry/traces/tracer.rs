//! Samples transactions and records their spans: the tracer of the process.

use std::sync::{Arc, OnceLock};

use opentelemetry::InstrumentationScope;
use opentelemetry::trace::{SpanKind, TraceId};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample};

use super::queue::Queue;
use super::span::Span;
use crate::telemetry::propagation::TraceContext;

/// The sampler and the queue of the process.
#[derive(Debug)]
pub(crate) struct Tracer {
    pub(crate) sampling: Sampling,
    pub(crate) queue: Arc<Queue>,
    scope: InstrumentationScope,
}

/// The sampling of traces.
#[derive(Debug, Clone)]
pub(crate) struct Sampling {
    /// Decides at the start of a trace.
    pub(crate) root: Sampler,
    /// Whether a continued trace follows the decision at its start.
    pub(crate) parent_based: bool,
}

impl Sampling {
    /// The same sampling for the spans of the user's own code.
    pub(crate) fn of_provider(&self) -> Sampler {
        let root = self.root.clone();
        if self.parent_based { Sampler::ParentBased(Box::new(root)) } else { root }
    }
}

/// The values that all spans of one run share.
#[derive(Debug, Clone)]
pub(super) struct Traced {
    pub(super) tracer: Arc<Tracer>,
    pub(super) task: &'static str,
    /// The kind of the source.
    pub(super) system: &'static str,
}

static INSTALLED: OnceLock<Arc<Tracer>> = OnceLock::new();

/// Installs the tracer of the process. Only the first one counts.
pub(crate) fn install(tracer: Arc<Tracer>) {
    let _ = INSTALLED.set(tracer);
}

pub(super) fn installed() -> Option<&'static Arc<Tracer>> {
    INSTALLED.get()
}

impl Tracer {
    pub(crate) fn new(sampling: Sampling, queue: Arc<Queue>) -> Self {
        let scope = InstrumentationScope::builder("ergon").with_version(env!("CARGO_PKG_VERSION")).build();
        Self { sampling, queue, scope }
    }

    /// Starts or continues a trace. Returns the context of a new span, sampled or not.
    pub(super) fn begin(&self, parent: Option<TraceContext>) -> TraceContext {
        let trace_id = parent.map_or_else(|| fastrand::u128(1..), |parent| parent.trace_id);
        let sampled = match parent {
            Some(parent) if self.sampling.parent_based => parent.sampled,
            _ => self.samples(trace_id),
        };
        TraceContext { trace_id, span_id: new_span_id(), sampled }
    }

    fn samples(&self, trace_id: u128) -> bool {
        let (id, kind) = (TraceId::from(trace_id), SpanKind::Internal);
        let result = self.sampling.root.should_sample(None, id, "", &kind, &[], &[]);
        result.decision == SamplingDecision::RecordAndSample
    }

    /// Records an ended span. If the queue is full, the span is counted as lost.
    pub(super) fn record(&self, span: Span<'_>) {
        if self.queue.reserve() {
            self.queue.push(span.data(&self.scope));
        }
    }
}

pub(super) fn new_span_id() -> u64 {
    fastrand::u64(1..)
}
