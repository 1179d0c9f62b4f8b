//! Records the spans around transactions: the run, and the batch of a fetch.

#[cfg(not(feature = "opentelemetry"))]
use std::convert::Infallible;
use std::sync::Arc;
use std::time::SystemTime;

#[cfg(feature = "opentelemetry")]
use opentelemetry::{KeyValue, trace::SpanKind};

use super::recording::Recording;
#[cfg(feature = "opentelemetry")]
use super::{
    span::{Failure, Parent, Span},
    tracer::{Traced, installed, new_span_id},
};
use crate::error::Error;
use crate::telemetry::propagation::Place;
use crate::telemetry::with_opentelemetry;
#[cfg(feature = "opentelemetry")]
use crate::telemetry::{
    Scope,
    names::{attribute, span},
    propagation::TraceContext,
};
use crate::transaction::Transaction;

/// The tracing of one run of a task.
#[derive(Debug)]
pub(crate) struct RunTrace {
    #[cfg(feature = "opentelemetry")]
    of: Traced,
    /// The span of a finite run, which is one trace. In a streaming run each transaction is a separate trace.
    #[cfg(feature = "opentelemetry")]
    run: Option<(TraceContext, SystemTime)>,
    #[cfg(not(feature = "opentelemetry"))]
    never: Infallible,
}

/// The deliveries of one fetch. The span is recorded when the last of them is settled.
#[cfg(feature = "opentelemetry")]
#[derive(Debug)]
pub(crate) struct Batch {
    of: Traced,
    context: TraceContext,
    parent: Option<Parent>,
    began: SystemTime,
    count: usize,
}

/// The batch without the feature: nothing is recorded.
#[cfg(not(feature = "opentelemetry"))]
pub(crate) type Batch = Infallible;

impl RunTrace {
    with_opentelemetry! {
        else { None }

        /// Creates the tracing of a run; `None` if nothing is traced.
        pub(crate) fn begin(task: &'static str, system: &'static str, streaming: bool) -> Option<Self> {
            let tracer = Arc::clone(installed()?);
            let run = (!streaming).then(|| (tracer.begin(None), SystemTime::now()));
            Some(Self { of: Traced { tracer, task, system }, run })
        }
    }

    with_opentelemetry! {
        else { match self.never {} }

        /// Ends the span of a finite run.
        pub(crate) fn end(&self, failure: Option<&Error>) {
            let Some((context, began)) = self.run.filter(|(context, _)| context.sampled) else { return };
            self.of.tracer.record(Span {
                name: format!("{} {}", span::RUN, self.of.task).into(),
                kind: SpanKind::Internal,
                context,
                parent: None,
                state: None,
                began,
                ended: SystemTime::now(),
                attributes: vec![KeyValue::new(attribute::TASK, self.of.task)],
                link: None,
                failure: failure.map(|error| Failure { kind: "run", error }),
            });
        }

        /// Starts the batch of a fetch that started at `began`; `None` if the batch is not recorded.
        pub(crate) fn batch(&self, began: SystemTime, count: usize) -> Option<Arc<Batch>> {
            let run = self.run.map(|(context, _)| context);
            let context = self.of.tracer.begin(run);
            if !context.sampled {
                return None;
            }
            let parent = run.map(Parent::local);
            let batch = Batch { of: self.of.clone(), context, parent, began, count };
            batch.record_fetch();
            Some(Arc::new(batch))
        }

        /// Starts a transaction. Returns the position of its code in a trace, and its recording if it is sampled.
        pub(crate) fn transaction(
            &self,
            transaction: &Transaction,
            batch: Option<&Batch>,
        ) -> (Place, Option<Box<Recording>>) {
            // The outbound transactions of a hybrid are part of the inbound one.
            let around = Scope::with_current(|scope| scope?.trace.clone());
            let sent = Place::of(transaction.metadata());
            let batch = batch.map(|batch| batch.context);
            let run = batch.or(self.run.map(|(context, _)| context)).filter(|_| self.run.is_some());
            let (parent, link) = match (&around, run, &sent) {
                (Some(around), ..) => (Some((around.context, false)), None),
                (None, Some(run), sent) => (Some((run, false)), sent.as_ref().map(|sent| sent.context)),
                (None, None, Some(sent)) => (Some((sent.context, true)), batch),
                (None, None, None) => (None, batch),
            };
            let context = self.of.tracer.begin(parent.map(|(parent, _)| parent));
            let state = around.or(sent).and_then(|place| place.state);
            let parent = parent.map(|(parent, remote)| Parent { span_id: parent.span_id, remote });
            let place = Place { context, state };
            let recording =
                context.sampled.then(|| Box::new(Recording::begin(&self.of, transaction, &place, (parent, link))));
            (place, recording)
        }
    }
}

#[cfg(feature = "opentelemetry")]
impl Batch {
    /// Records that the fetch of the batch has just ended.
    fn record_fetch(&self) {
        self.of.tracer.record(Span {
            name: span::FETCH.into(),
            kind: SpanKind::Client,
            context: TraceContext { span_id: new_span_id(), ..self.context },
            parent: Some(Parent::local(self.context)),
            state: None,
            began: self.began,
            ended: SystemTime::now(),
            attributes: vec![
                KeyValue::new(attribute::SYSTEM, self.of.system),
                KeyValue::new(attribute::OPERATION, "receive"),
                KeyValue::new(attribute::BATCH_SIZE, i64::try_from(self.count).unwrap_or(i64::MAX)),
            ],
            link: None,
            failure: None,
        });
    }
}

#[cfg(feature = "opentelemetry")]
impl Drop for Batch {
    fn drop(&mut self) {
        self.of.tracer.record(Span {
            name: span::BATCH.into(),
            kind: SpanKind::Internal,
            context: self.context,
            parent: self.parent,
            state: None,
            began: self.began,
            ended: SystemTime::now(),
            attributes: vec![
                KeyValue::new(attribute::TASK, self.of.task),
                KeyValue::new(attribute::BATCH_SIZE, i64::try_from(self.count).unwrap_or(i64::MAX)),
            ],
            link: None,
            failure: None,
        });
    }
}
