//! Records the spans of one sampled transaction: the transaction, its steps and their attempts.

#[cfg(feature = "opentelemetry")]
use std::{borrow::Cow, sync::Arc, time::SystemTime};

#[cfg(feature = "opentelemetry")]
use opentelemetry::{KeyValue, StringValue, trace::SpanKind};

#[cfg(feature = "opentelemetry")]
use super::{
    span::{Parent, Span},
    tracer::{Traced, new_span_id},
};
use crate::telemetry::propagation::TraceContext;
use crate::telemetry::with_opentelemetry;
#[cfg(feature = "opentelemetry")]
use crate::telemetry::{
    names::{attribute, span},
    propagation::Place,
};
use crate::transaction::TransactionError;
#[cfg(feature = "opentelemetry")]
use crate::transaction::{Transaction, TransactionId};

/// The recording of a transaction in progress. Dropping it before its end records the transaction as aborted.
#[cfg(feature = "opentelemetry")]
#[derive(Debug)]
pub(crate) struct Recording {
    of: Traced,
    source: Option<Arc<str>>,
    id: TransactionId,
    deliveries: u32,
    place: Place,
    parent: Option<Parent>,
    link: Option<TraceContext>,
    began: SystemTime,
    /// The last reading of the clock: most ends are also the start of the next span.
    now: SystemTime,
    step: Option<(Cow<'static, str>, Open)>,
    attempt: Option<Open>,
    ended: bool,
}

/// The recording without the feature: nothing is recorded.
#[cfg(not(feature = "opentelemetry"))]
#[derive(Debug)]
pub(crate) enum Recording {}

/// A span in progress.
#[cfg(feature = "opentelemetry")]
#[derive(Debug, Clone, Copy)]
struct Open {
    span_id: u64,
    began: SystemTime,
}

/// The outcome of a transaction.
#[cfg_attr(not(feature = "opentelemetry"), expect(dead_code, reason = "nothing is recorded"))]
pub(crate) struct Ending<'a> {
    pub(crate) outcome: &'static str,
    pub(crate) disposition: &'static str,
    pub(crate) error: Option<&'a TransactionError>,
}

impl Recording {
    with_opentelemetry! {
        else { match *self {} }

        /// The position of the transaction in its trace.
        pub(crate) fn context(&self) -> TraceContext {
            self.place.context
        }

        /// Records that an activity between the steps has just ended.
        pub(crate) fn resume(&mut self) {
            self.now = SystemTime::now();
        }

        /// Starts a step.
        pub(crate) fn begin_step(&mut self, name: &str) {
            let name = match name {
                "process" => "process".into(),
                "success" => "success".into(),
                other => Cow::Owned(other.to_owned()),
            };
            self.step = Some((name, Open { span_id: new_span_id(), began: self.now }));
        }

        /// Starts an attempt of the step, and returns the position of its code.
        pub(crate) fn begin_attempt(&mut self, number: u32) -> TraceContext {
            if number > 1 {
                self.now = SystemTime::now();
            }
            let attempt = Open { span_id: new_span_id(), began: self.now };
            self.attempt = Some(attempt);
            TraceContext { span_id: attempt.span_id, ..self.place.context }
        }

        /// Ends an attempt that another one follows, or that was not the first.
        pub(crate) fn end_attempt(&mut self, number: u32, most: u32, error: Option<&TransactionError>) {
            self.now = SystemTime::now();
            let (Some(attempt), Some((_, step))) = (self.attempt.take(), &self.step) else { return };
            self.record((span::ATTEMPT.into(), attempt), step.span_id, numbered(number, most), error);
        }

        /// Ends the step. A step with a single attempt is one span, because two spans would cost twice as much.
        pub(crate) fn end_step(&mut self, most: u32, error: Option<&TransactionError>) {
            let Some((name, step)) = self.step.take() else { return };
            let transaction = self.place.context.span_id;
            match self.attempt.take() {
                Some(only) => {
                    self.now = SystemTime::now();
                    self.record((name, only), transaction, numbered(1, most), error);
                }
                None => self.record((name, step), transaction, Vec::new(), error),
            }
        }
    }

    with_opentelemetry! {
        else { match self {} }

        /// Ends the transaction.
        pub(crate) fn end(mut self, ending: &Ending<'_>) {
            self.ended = true;
            self.finish(ending);
        }
    }
}

#[cfg(feature = "opentelemetry")]
impl Recording {
    pub(super) fn begin(
        of: &Traced,
        transaction: &Transaction,
        place: &Place,
        (parent, link): (Option<Parent>, Option<TraceContext>),
    ) -> Self {
        let began = SystemTime::now();
        Self {
            of: of.clone(),
            source: transaction.shared_source().cloned(),
            id: transaction.shared_id().clone(),
            deliveries: transaction.deliveries(),
            place: place.clone(),
            parent,
            link: link.filter(|link| link.sampled),
            began,
            now: began,
            step: None,
            attempt: None,
            ended: false,
        }
    }

    fn finish(&mut self, ending: &Ending<'_>) {
        let ended = SystemTime::now();
        let attributes = self.attributes(ending);
        self.of.tracer.record(Span {
            name: span::TRANSACTION.into(),
            kind: SpanKind::Consumer,
            context: self.place.context,
            parent: self.parent,
            state: self.place.state.as_ref(),
            began: self.began,
            ended,
            attributes,
            link: self.link,
            failure: ending.error.map(Into::into),
        });
    }

    fn attributes(&self, ending: &Ending<'_>) -> Vec<KeyValue> {
        let id = StringValue::from(self.id.shared());
        let mut attributes = Vec::with_capacity(12);
        attributes.extend([
            KeyValue::new(attribute::TASK, self.of.task),
            KeyValue::new(attribute::TRANSACTION_ID, id.clone()),
            KeyValue::new(attribute::OUTCOME, ending.outcome),
            KeyValue::new(attribute::DISPOSITION, ending.disposition),
            KeyValue::new(attribute::DELIVERIES, i64::from(self.deliveries)),
            KeyValue::new(attribute::SYSTEM, self.of.system),
            KeyValue::new(attribute::OPERATION, "process"),
            KeyValue::new(attribute::MESSAGE_ID, id),
        ]);
        if let Some(source) = &self.source {
            attributes.push(KeyValue::new(attribute::DESTINATION, Arc::clone(source)));
        }
        if let Some(error) = ending.error {
            attributes.push(KeyValue::new(attribute::CATEGORY, error.category().as_str()));
        }
        attributes
    }

    fn record(
        &self,
        (name, open): (Cow<'static, str>, Open),
        parent: u64,
        attributes: Vec<KeyValue>,
        error: Option<&TransactionError>,
    ) {
        self.of.tracer.record(Span {
            name,
            kind: SpanKind::Internal,
            context: TraceContext { span_id: open.span_id, ..self.place.context },
            parent: Some(Parent { span_id: parent, remote: false }),
            state: self.place.state.as_ref(),
            began: open.began,
            ended: self.now,
            attributes,
            link: None,
            failure: error.map(Into::into),
        });
    }
}

#[cfg(feature = "opentelemetry")]
impl Drop for Recording {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // Spans in progress are recorded until now.
        self.now = SystemTime::now();
        if let Some((name, step)) = self.step.take() {
            self.record((name, self.attempt.unwrap_or(step)), self.place.context.span_id, Vec::new(), None);
        }
        self.finish(&Ending { outcome: "aborted", disposition: "requeue", error: None });
    }
}

#[cfg(feature = "opentelemetry")]
fn numbered(attempt: u32, most: u32) -> Vec<KeyValue> {
    vec![
        KeyValue::new(attribute::ATTEMPT, i64::from(attempt)),
        KeyValue::new(attribute::MAX_ATTEMPTS, i64::from(most)),
    ]
}
