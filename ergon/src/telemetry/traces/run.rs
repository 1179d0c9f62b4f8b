//! The spans around transactions: the run, and the batch that a fetch brought.

use std::sync::Arc;
use std::time::SystemTime;

use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;

use super::recording::Recording;
use super::span::{Failure, Parent, Span};
use super::{Tracer, installed, new_span_id};
use crate::telemetry::Scope;
use crate::telemetry::names::{attribute, span};
use crate::telemetry::propagation::{Place, TraceContext};
use crate::transaction::Transaction;

/// How the transactions of one run of a task are traced.
#[derive(Debug)]
pub(crate) struct RunTrace {
    pub(super) tracer: Arc<Tracer>,
    pub(super) task: &'static str,
    /// The kind of the source.
    pub(super) system: &'static str,
    /// The span of a finite run: all that it does is one trace. In a run without an end each transaction is a trace
    /// of its own.
    run: Option<(TraceContext, SystemTime)>,
}

/// What one fetch brought; recorded when the last of it is settled.
#[derive(Debug)]
pub(crate) struct Batch {
    tracer: Arc<Tracer>,
    task: &'static str,
    system: &'static str,
    context: TraceContext,
    parent: Option<Parent>,
    began: SystemTime,
    count: usize,
}

impl RunTrace {
    /// How a run is traced; `None` if nothing is.
    pub(crate) fn begin(task: &'static str, system: &'static str, streaming: bool) -> Option<Self> {
        let tracer = Arc::clone(installed()?);
        let run = (!streaming).then(|| (tracer.begin(None), SystemTime::now()));
        Some(Self { tracer, task, system, run })
    }

    /// Ends the span of a finite run.
    pub(crate) fn end(&self, failure: Option<&crate::Error>) {
        let Some((context, began)) = self.run.filter(|(context, _)| context.sampled) else { return };
        self.tracer.record(Span {
            name: format!("{} {}", span::RUN, self.task).into(),
            kind: SpanKind::Internal,
            context,
            parent: None,
            state: None,
            began,
            ended: SystemTime::now(),
            attributes: vec![KeyValue::new(attribute::TASK, self.task)],
            link: None,
            failure: failure.map(|error| Failure { kind: "run", error }),
        });
    }

    /// Takes in what a fetch brought that began at `began`; `None` if it is not recorded.
    pub(crate) fn batch(&self, began: SystemTime, count: usize) -> Option<Arc<Batch>> {
        let run = self.run.map(|(context, _)| context);
        let context = self.tracer.begin(run);
        if !context.sampled {
            return None;
        }
        let Self { task, system, .. } = *self;
        let parent = run.map(Parent::local);
        let batch = Batch { tracer: Arc::clone(&self.tracer), task, system, context, parent, began, count };
        batch.record_fetch();
        Some(Arc::new(batch))
    }

    /// Begins a transaction: where its code stands in a trace, and its recording if it is sampled.
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
        let context = self.tracer.begin(parent.map(|(parent, _)| parent));
        let state = around.or(sent).and_then(|place| place.state);
        let parent = parent.map(|(parent, remote)| Parent { span_id: parent.span_id, remote });
        let place = Place { context, state };
        let recording =
            context.sampled.then(|| Box::new(Recording::begin(self, transaction, &place, (parent, link))));
        (place, recording)
    }
}

impl Batch {
    /// The call that brought the batch has just ended.
    fn record_fetch(&self) {
        self.tracer.record(Span {
            name: span::FETCH.into(),
            kind: SpanKind::Client,
            context: TraceContext { span_id: new_span_id(), ..self.context },
            parent: Some(Parent::local(self.context)),
            state: None,
            began: self.began,
            ended: SystemTime::now(),
            attributes: vec![
                KeyValue::new(attribute::SYSTEM, self.system),
                KeyValue::new(attribute::OPERATION, "receive"),
                KeyValue::new(attribute::BATCH_SIZE, i64::try_from(self.count).unwrap_or(i64::MAX)),
            ],
            link: None,
            failure: None,
        });
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.tracer.record(Span {
            name: span::BATCH.into(),
            kind: SpanKind::Internal,
            context: self.context,
            parent: self.parent,
            state: None,
            began: self.began,
            ended: SystemTime::now(),
            attributes: vec![
                KeyValue::new(attribute::TASK, self.task),
                KeyValue::new(attribute::BATCH_SIZE, i64::try_from(self.count).unwrap_or(i64::MAX)),
            ],
            link: None,
            failure: None,
        });
    }
}
