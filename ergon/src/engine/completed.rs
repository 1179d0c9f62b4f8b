//! What became of a transaction, and of each of its steps.

use super::clock::Nanos;
use super::lifecycle::Outcome;
use crate::connector::Disposition;
use crate::telemetry::metrics::Timings;
use crate::telemetry::traces::Recording;
use crate::telemetry::{Scope, Step};
use crate::transaction::{Transaction, TransactionError};

/// How one step of a transaction went.
#[derive(Debug, Default)]
pub(super) struct StepRun {
    /// How many attempts were begun; none if the step did not run.
    pub(super) attempts: u32,
    pub(super) elapsed: Option<Nanos>,
    pub(super) error: Option<TransactionError>,
}

/// What became of a transaction.
#[derive(Debug)]
pub(super) struct Completed {
    pub(super) outcome: Outcome,
    pub(super) disposition: Disposition,
    /// What the first step was: process or prepare.
    pub(super) step: Step,
    /// How long it took, if it was run.
    pub(super) first: Option<Nanos>,
    pub(super) success: Option<Nanos>,
    /// Attempts after the first, of all steps.
    pub(super) retries: u32,
    pub(super) timings: Timings,
    /// What went wrong, if anything did; apart, because most transactions succeed.
    pub(super) failure: Option<Box<Failure>>,
}

/// What is known of a transaction that went the exception way.
#[derive(Debug)]
pub(super) struct Failure {
    /// The error that ended process or success.
    pub(super) error: TransactionError,
    /// Where it went wrong, for the lines that tell of it: in which step, at which attempt, where in which trace.
    pub(super) scope: Option<Scope>,
    /// How its handler went.
    pub(super) exception: StepRun,
    /// What became of its dead letter.
    pub(super) letter: Letter,
}

/// What became of a dead letter.
#[derive(Debug)]
pub(super) enum Letter {
    /// There is none to dispatch.
    None,
    /// The dead-letter connector has it; the source is told that the delivery is done.
    Taken,
    /// The dead-letter connector did not take it; the delivery is given back.
    Refused,
    /// The dead-letter connector did not take it at once; it waits for its next attempt.
    Waits(Box<Unsent>),
}

/// A dead letter, before it is with those that wait.
#[derive(Debug)]
pub(super) struct Unsent {
    /// The transaction with the reason.
    pub(super) letter: Transaction,
    pub(super) attempts: u32,
    pub(super) error: Option<TransactionError>,
    /// What is recorded of its transaction, if that is sampled; ended with the transaction.
    pub(super) recording: Option<Box<Recording>>,
}

impl Failure {
    /// Whether the dead-letter connector has the transaction.
    pub(super) fn is_dead_lettered(&self) -> bool {
        matches!(self.letter, Letter::Taken)
    }
}

impl Completed {
    /// Whether the engine returned the delivery, and not its handler or policy: a stop or the end of the run cut it short,
    /// or its dead letter was not delivered.
    pub(super) fn is_given_back(&self) -> bool {
        let undelivered =
            self.failure.as_deref().is_some_and(|failure| matches!(failure.letter, Letter::Refused));
        self.outcome == Outcome::Aborted || undelivered
    }

    /// The name under which the settlement is counted: the disposition, or `given_back`.
    pub(super) fn settled_as(&self) -> &'static str {
        if self.is_given_back() { "given_back" } else { self.disposition.as_str() }
    }

    /// What becomes of a delivery that was given up, or not begun.
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
    /// A letter that was not tried yet, because others wait before it.
    pub(super) fn new(letter: Transaction) -> Self {
        Self { letter, attempts: 0, error: None, recording: None }
    }

    /// A letter whose first attempt failed.
    pub(super) fn failed(letter: Transaction, error: TransactionError) -> Self {
        Self { letter, attempts: 1, error: Some(error), recording: None }
    }

    /// Keeps the recording of the transaction until its letter is delivered or given up.
    pub(super) fn record(&mut self, recording: Box<Recording>) {
        self.recording = Some(recording);
    }
}
