//! Adds finished transactions to the tally, the metrics and the log.

use std::sync::PoisonError;
use std::time::Duration;

use super::completed::{Completed, DeadLetter, Failure, StepRun};
use super::lifecycle::Outcome;
use super::run_context::RunContext;
use crate::connector::Disposition;
use crate::telemetry::event::{HandlerFailed, TransactionFailed};
use crate::telemetry::metrics::Batch;
use crate::telemetry::{Rejection, Scope, Step, Tally};
use crate::transaction::Transaction;

impl RunContext {
    /// Counts and logs a transaction that no source settles.
    pub(super) fn count(&self, task: &'static str, transaction: &Transaction, completed: &Completed) {
        report(task, transaction, completed);
        self.count_one(transaction, completed);
    }

    pub(super) fn count_one(&self, transaction: &Transaction, completed: &Completed) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch = self.meters.batch(&tally);
        count((&mut tally, &mut batch), transaction, completed);
        batch.end(&tally);
    }
}

/// Counts a settled transaction.
pub(super) fn count(
    (tally, batch): (&mut Tally, &mut Batch<'_>),
    transaction: &Transaction,
    completed: &Completed,
) {
    tally.retries += u64::from(completed.retries);
    if returns(completed) {
        let figure = if completed.is_given_back() { &mut tally.given_back } else { &mut tally.requeued };
        *figure += 1;
    }
    let exception = completed.failure.as_ref().and_then(|failure| failure.exception.elapsed);
    for (step, nanos) in
        [(completed.step, completed.first), (Step::Success, completed.success), (Step::Exception, exception)]
    {
        if let Some(nanos) = nanos {
            let elapsed = Duration::from_nanos(nanos.get());
            tally.record(step, elapsed);
            batch.step(step, elapsed, &completed.timings);
        }
    }
    match completed.outcome {
        Outcome::Aborted => return,
        Outcome::Succeeded => tally.succeeded += 1,
        Outcome::Handled => (),
        Outcome::HandlerFailed => tally.handler_failures += 1,
    }
    tally.processed += 1;
    batch.transaction(&completed.timings, completed.failure.as_ref().map(|failure| failure.error.category()));
    if let Some(failure) = &completed.failure {
        count_failure(tally, transaction, completed.disposition, failure);
    }
}

fn count_failure(tally: &mut Tally, transaction: &Transaction, disposition: Disposition, failure: &Failure) {
    let category = failure.error.category();
    tally.failed.add(category);
    tally.undelivered += u64::from(matches!(failure.dead_letter, DeadLetter::Undelivered));
    count_dead_letter(tally, failure);
    if failure.is_dead_lettered() || disposition == Disposition::Reject {
        let message = failure.error.message();
        tally.reject(|| Rejection { id: transaction.id().to_owned(), category, message: message.to_owned() });
    }
}

/// Counts a dead letter that the connector accepted, whether or not the source confirmed the settlement of its
/// delivery.
pub(super) fn count_dead_letter(tally: &mut Tally, failure: &Failure) {
    tally.dead_lettered += u64::from(failure.is_dead_lettered());
}

/// Whether the source delivers the transaction again.
pub(super) fn returns(completed: &Completed) -> bool {
    matches!(completed.disposition, Disposition::Requeue | Disposition::RetryAfter(_))
}

/// Logs the failure of a transaction that went to its exception handler.
pub(super) fn report(task: &'static str, transaction: &Transaction, completed: &Completed) {
    let Some(failure) = &completed.failure else { return };
    let transaction_id = transaction.id();
    let disposition = if failure.is_dead_lettered() { "dead_letter" } else { completed.disposition.as_str() };
    let mut scope = failure.scope.clone();
    Scope::enter(&mut scope, || {
        TransactionFailed { task, transaction, error: &failure.error, disposition }.emit();
    });
    let StepRun { attempts, error: Some(error), .. } = &failure.exception else { return };
    let mut scope = scope.map(|scope| Scope { step: Step::Exception, attempt: *attempts, ..scope });
    Scope::enter(&mut scope, || HandlerFailed { task, transaction_id, error, disposition }.emit());
}
