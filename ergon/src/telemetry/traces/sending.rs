//! The span of a dispatch, whose place travels with what is dispatched.

use std::time::SystemTime;

use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;

use super::span::{Failure, Parent, Span};
use super::{installed, new_span_id};
use crate::telemetry::Scope;
use crate::telemetry::names::{attribute, span};
use crate::telemetry::propagation::{Place, TraceContext};
use crate::transaction::{Transaction, TransactionError};

/// A dispatch under way.
#[derive(Debug)]
pub(crate) struct Sending(Option<Sampled>);

#[derive(Debug)]
struct Sampled {
    place: Place,
    parent: TraceContext,
    began: SystemTime,
    system: &'static str,
    count: usize,
}

impl Sending {
    /// Begins a dispatch to a sink of this kind: what is sent knows of the trace that the running code stands in.
    #[inline]
    pub(crate) fn begin(system: &'static str, transactions: &mut [Transaction]) -> Self {
        let Some(mut place) = Scope::with_current(|scope| scope?.trace.clone()) else { return Self(None) };
        let sampled = (place.context.sampled && installed().is_some()).then(|| {
            let parent = place.context;
            place.context.span_id = new_span_id();
            let (began, count) = (SystemTime::now(), transactions.len());
            Sampled { place: place.clone(), parent, began, system, count }
        });
        for transaction in transactions {
            place.inject(transaction);
        }
        Self(sampled)
    }

    /// Ends it.
    #[inline]
    pub(crate) fn end(self, failure: Option<&TransactionError>) {
        if let Self(Some(sampled)) = self {
            sampled.end(failure);
        }
    }
}

impl Sampled {
    fn end(self, failure: Option<&TransactionError>) {
        let Some(tracer) = installed() else { return };
        tracer.record(Span {
            name: span::DISPATCH.into(),
            kind: SpanKind::Producer,
            context: self.place.context,
            parent: Some(Parent::local(self.parent)),
            state: self.place.state.as_ref(),
            began: self.began,
            ended: SystemTime::now(),
            attributes: vec![
                KeyValue::new(attribute::SYSTEM, self.system),
                KeyValue::new(attribute::OPERATION, "send"),
                KeyValue::new(attribute::BATCH_SIZE, i64::try_from(self.count).unwrap_or(i64::MAX)),
            ],
            link: None,
            failure: failure.map(Failure::from),
        });
    }
}
