//! The outcome of a transaction and of each of its steps.

use super::clock::Nanos;
use super::lifecycle::Outcome;
use crate::connector::Disposition;
use crate::telemetry::metrics::Timings;
use crate::telemetry::traces::Recording;
use crate::telemetry::{Scope, Step};
use crate::transaction::{Transaction, TransactionError, Value, key};

/// The result of one step of a transaction.
#[derive(Debug, Default)]
pub(super) struct StepRun {
    /// The number of attempts that were started; 0 if the step did not run.
    pub(super) attempts: u32,
    pub(super) elapsed: Option<Nanos>,
    pub(super) error: Option<TransactionError>,
}

/// The outcome of a transaction.
#[derive(Debug)]
pub(super) struct Completed {
    pub(super) outcome: Outcome,
    pub(super) disposition: Disposition,
    /// The name of the first step: process or prepare.
    pub(super) step: Step,
    /// The duration of the first step, if it ran.
    pub(super) first: Option<Nanos>,
    pub(super) success: Option<Nanos>,
    /// The attempts after the first one, of all steps together.
    pub(super) retries: u32,
    pub(super) timings: Timings,
    /// The failure, if there is one; boxed, because most transactions succeed and the struct is moved for each of them.
    pub(super) failure: Option<Box<Failure>>,
}

/// The failure of a transaction that went to its exception handler.
#[derive(Debug)]
pub(super) struct Failure {
    /// The error that ended the process or success step.
    pub(super) error: TransactionError,
    /// The attempts of that step.
    pub(super) attempts: u32,
    /// The place of the failure for log lines: step, attempt and span.
    pub(super) scope: Option<Scope>,
    /// The result of the exception handler.
    pub(super) exception: StepRun,
    /// The fate of the dead letter.
    pub(super) dead_letter: DeadLetter,
}

/// The state of a dead letter.
#[derive(Debug)]
pub(super) enum DeadLetter {
    /// There is no dead letter to dispatch.
    None,
    /// The dead-letter connector accepted it; the delivery is acknowledged.
    Accepted,
    /// The dead-letter connector did not accept it; the delivery is given back.
    Undelivered,
    /// The dead-letter connector did not accept it immediately; it waits for its next attempt.
    Waiting(Box<Unsent>),
}

/// A dead letter that waits for an attempt to dispatch it.
#[derive(Debug)]
pub(super) struct Unsent {
    /// The transaction, annotated with the reason for its rejection.
    pub(super) dead_letter: Transaction,
    pub(super) attempts: u32,
    pub(super) error: Option<TransactionError>,
    /// The spans of its transaction, if it is sampled; they end when the dead letter is accepted or undelivered.
    pub(super) recording: Option<Box<Recording>>,
}

impl Failure {
    /// The dead letter: the transaction, annotated with the reason for its rejection.
    pub(super) fn annotate(&self, transaction: &Transaction, task: &'static str) -> Transaction {
        let unreadable = transaction.payload().is_broken().then_some((key::UNREADABLE, true.into()));
        let reason = [
            (key::ERROR, Value::from(self.error.message())),
            (key::CATEGORY, self.error.category().as_str().into()),
            (key::ATTEMPTS, self.attempts.into()),
            (key::TASK, task.into()),
        ];
        transaction.annotate(reason.into_iter().chain(unreadable))
    }

    /// Whether the dead-letter connector accepted the transaction.
    pub(super) fn is_dead_lettered(&self) -> bool {
        matches!(self.dead_letter, DeadLetter::Accepted)
    }
}

impl Completed {
    /// Whether the engine returned the delivery, and not its handler or policy: a stop or the end of the run cut it short,
    /// or its dead letter was not delivered.
    pub(super) fn is_given_back(&self) -> bool {
        let undelivered = self
            .failure
            .as_deref()
            .is_some_and(|failure| matches!(failure.dead_letter, DeadLetter::Undelivered));
        self.outcome == Outcome::Aborted || undelivered
    }

    /// The name under which the settlement is counted: the disposition, or `given_back`.
    pub(super) fn settled_as(&self) -> &'static str {
        if self.is_given_back() { "given_back" } else { self.disposition.as_str() }
    }

    /// The outcome of a delivery that is given back: cut short, or never started.
    pub(super) fn aborted() -> Self {
        Self {
            outcome: Outcome::Aborted,
            disposition: Disposition::Requeue,
            step: Step::Process,
            first: None,
            success: None,
            retries: 0,
            timings: Timings::default(),
            failure: None,
        }
    }
}

impl Unsent {
    /// A dead letter that was not dispatched yet, because other dead letters wait before it.
    pub(super) fn new(dead_letter: Transaction) -> Self {
        Self { dead_letter, attempts: 0, error: None, recording: None }
    }

    /// A dead letter whose first attempt failed.
    pub(super) fn failed(dead_letter: Transaction, error: TransactionError) -> Self {
        Self { dead_letter, attempts: 1, error: Some(error), recording: None }
    }

    /// Keeps the spans of the transaction until its dead letter is accepted or undelivered.
    pub(super) fn record(&mut self, recording: Box<Recording>) {
        self.recording = Some(recording);
    }
}
