//! Builds ended spans for the exporters.

use std::borrow::Cow;
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use opentelemetry::trace::{
    Event, Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use crate::telemetry::event::causes;
use crate::telemetry::names::attribute;
use crate::telemetry::propagation::TraceContext;
use crate::transaction::TransactionError;

/// The data of a span at its end.
pub(super) struct Span<'a> {
    pub(super) name: Cow<'static, str>,
    pub(super) kind: SpanKind,
    pub(super) context: TraceContext,
    pub(super) parent: Option<Parent>,
    pub(super) state: Option<&'a Arc<str>>,
    pub(super) began: SystemTime,
    pub(super) ended: SystemTime,
    pub(super) attributes: Vec<KeyValue>,
    pub(super) link: Option<TraceContext>,
    pub(super) failure: Option<Failure<'a>>,
}

/// The parent of a span.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parent {
    pub(super) span_id: u64,
    /// Whether the parent is from another process.
    pub(super) remote: bool,
}

impl Parent {
    pub(super) fn local(context: TraceContext) -> Self {
        Self { span_id: context.span_id, remote: false }
    }
}

/// The failure of a span.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failure<'a> {
    /// The category, or another word from a small set.
    pub(super) kind: &'static str,
    pub(super) error: &'a (dyn std::error::Error + 'static),
}

impl<'a> From<&'a TransactionError> for Failure<'a> {
    fn from(error: &'a TransactionError) -> Self {
        Self { kind: error.category().as_str(), error }
    }
}

impl Span<'_> {
    pub(super) fn data(mut self, scope: &InstrumentationScope) -> SpanData {
        let mut events = SpanEvents::default();
        let mut status = Status::Unset;
        if let Some(Failure { kind, error }) = self.failure {
            let message = causes(error);
            self.attributes.push(KeyValue::new(attribute::ERROR_TYPE, kind));
            let about = vec![
                KeyValue::new(attribute::EXCEPTION_TYPE, kind),
                KeyValue::new(attribute::EXCEPTION_MESSAGE, message.clone()),
            ];
            events.events.push(Event::new("exception", self.ended, about, 0));
            status = Status::error(message);
        }
        let mut links = SpanLinks::default();
        links.links.extend(self.link.map(|link| Link::with_context(span_context(link, None, false))));
        SpanData {
            span_context: span_context(self.context, self.state, false),
            parent_span_id: self.parent.map_or(SpanId::INVALID, |parent| SpanId::from(parent.span_id)),
            parent_span_is_remote: self.parent.is_some_and(|parent| parent.remote),
            span_kind: self.kind,
            name: self.name,
            start_time: self.began,
            end_time: self.ended,
            attributes: self.attributes,
            dropped_attributes_count: 0,
            events,
            links,
            status,
            instrumentation_scope: scope.clone(),
        }
    }
}

/// Converts a context to that of the library. An invalid `tracestate` is dropped.
pub(super) fn span_context(context: TraceContext, state: Option<&Arc<str>>, remote: bool) -> SpanContext {
    let flags = if context.sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    let state = state.and_then(|state| TraceState::from_str(state).ok()).unwrap_or_default();
    let (trace_id, span_id) = (TraceId::from(context.trace_id), SpanId::from(context.span_id));
    SpanContext::new(trace_id, span_id, flags, remote, state)
}
