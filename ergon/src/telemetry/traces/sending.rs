//! Records the span of a dispatch. The dispatched transactions carry the position of this span in the trace.

#[cfg(feature = "opentelemetry")]
use std::time::SystemTime;

#[cfg(feature = "opentelemetry")]
use opentelemetry::{KeyValue, trace::SpanKind};

#[cfg(feature = "opentelemetry")]
use super::{
    span::{Failure, Parent, Span},
    tracer::{installed, new_span_id},
};
use crate::telemetry::propagation::Place;
use crate::telemetry::{Scope, with_opentelemetry};
#[cfg(feature = "opentelemetry")]
use crate::telemetry::{
    names::{attribute, span},
    propagation::TraceContext,
};
use crate::transaction::{Transaction, TransactionError};

/// A dispatch in progress.
#[derive(Debug, Default)]
pub(crate) struct Sending {
    #[cfg(feature = "opentelemetry")]
    sampled: Option<Sampled>,
}

#[cfg(feature = "opentelemetry")]
#[derive(Debug)]
struct Sampled {
    place: Place,
    parent: TraceContext,
    began: SystemTime,
    system: &'static str,
    count: usize,
}

impl Sending {
    /// Starts a dispatch to a sink of this kind. The dispatched transactions carry the trace of the running code.
    #[inline]
    pub(crate) fn begin(system: &'static str, transactions: &mut [Transaction]) -> Self {
        let Some(mut place) = Scope::with_current(|scope| scope?.trace.clone()) else {
            return Self::default();
        };
        let sending = Self::from(&mut place, system, transactions.len());
        for transaction in transactions {
            place.inject(transaction);
        }
        sending
    }

    with_opentelemetry! {
        else { Default::default() }

        /// Starts the span of the dispatch if the trace is sampled. The position becomes that of the span.
        fn from(place: &mut Place, system: &'static str, count: usize) -> Self {
            let sampled = (place.context.sampled && installed().is_some()).then(|| {
                let parent = place.context;
                place.context.span_id = new_span_id();
                Sampled { place: place.clone(), parent, began: SystemTime::now(), system, count }
            });
            Self { sampled }
        }

        /// Ends the span.
        #[inline]
        pub(crate) fn end(self, failure: Option<&TransactionError>) {
            if let Some(sampled) = self.sampled {
                sampled.end(failure);
            }
        }
    }
}

#[cfg(feature = "opentelemetry")]
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
