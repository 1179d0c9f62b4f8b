//! The tracer of the process: which transactions are recorded, and where their spans go.

use std::sync::{Arc, OnceLock};

use opentelemetry::InstrumentationScope;
use opentelemetry::trace::{SpanKind, TraceId};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample};

use super::queue::Queue;
use super::span::Span;
use crate::telemetry::propagation::TraceContext;

/// Which transactions are recorded, and where their spans go.
#[derive(Debug)]
pub(crate) struct Tracer {
    pub(crate) sampling: Sampling,
    pub(crate) queue: Arc<Queue>,
    scope: InstrumentationScope,
}

/// Which traces are recorded.
#[derive(Debug, Clone)]
pub(crate) struct Sampling {
    /// Decides where a trace begins.
    pub(crate) root: Sampler,
    /// Whether what goes on with a trace does what was decided where it began.
    pub(crate) parent_based: bool,
}

impl Sampling {
    /// The same for the spans of the user's own code.
    pub(crate) fn of_provider(&self) -> Sampler {
        let root = self.root.clone();
        if self.parent_based { Sampler::ParentBased(Box::new(root)) } else { root }
    }
}

/// What the spans of one run have in common.
#[derive(Debug, Clone)]
pub(super) struct Traced {
    pub(super) tracer: Arc<Tracer>,
    pub(super) task: &'static str,
    /// The kind of the source.
    pub(super) system: &'static str,
}

static INSTALLED: OnceLock<Arc<Tracer>> = OnceLock::new();

/// Makes a tracer that of the process. The first one stays.
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

    /// Begins a trace, or goes on with one: the context of a new span, sampled or not.
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

    /// Records a span that has ended, unless the queue is full: then it is counted as lost.
    pub(super) fn record(&self, span: Span<'_>) {
        if self.queue.reserve() {
            self.queue.push(span.data(&self.scope));
        }
    }
}

pub(super) fn new_span_id() -> u64 {
    fastrand::u64(1..)
}
