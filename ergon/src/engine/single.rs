//! Processes one transaction under a task's policies, without a loop and without a source.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::blocking::{Threads, on_threads};
use super::clock::Clock;
use super::completed::{Completed, StepRun};
use super::lifecycle::Outcome;
use super::processing::{self, Extent, Processing, StepRuns};
use super::role::Role;
use super::run_context::RunContext;
use crate::error::Error;
use crate::telemetry::{GIVEN_BACK, SingleReport, Step, StepReport};
use crate::transaction::{Transaction, TransactionError, panic};

/// A transaction that is processed by hand.
pub(super) struct Given {
    pub(super) transaction: Transaction,
    /// Whether only its first step runs.
    pub(super) dry_run: bool,
    /// Cancels the processing: a stop whose grace is over, or a lease that is lost.
    pub(super) abort: CancellationToken,
}

/// Runs one transaction through the steps of a role.
pub(super) async fn process(
    role: Arc<dyn Role>,
    context: Result<RunContext, Error>,
    given: Given,
) -> SingleReport {
    panic::install_hook();
    let info = role.info();
    let context = match context {
        Ok(context) => context.watched(info.task, "command-line", true),
        Err(error) => {
            let mut report = SingleReport::new(given.transaction.id());
            report.error = Some(TransactionError::system(error.to_string()));
            return report;
        }
    };
    let calls = context.calls.clone();
    let whole = calls.within(async move { one(role.as_ref(), &context, &given).await });
    if info.blocking { on_threads(whole, &Threads::new(1)).await } else { whole.await }
}

async fn one(role: &dyn Role, context: &RunContext, given: &Given) -> SingleReport {
    let Given { transaction, dry_run, abort } = given;
    let mut report = SingleReport::new(transaction.id());
    let (mut clock, mut completed) = (Clock::starting_now(), Completed::aborted());
    let given = processing::Given {
        context,
        transaction,
        receipt: None,
        completed: &mut completed,
        clock: &mut clock,
    };
    let mut processing = Processing::new(role.info(), given);
    processing.extent = if *dry_run { Extent::FirstStep } else { Extent::Shown };
    let mut interrupted = !is_whole(role, &mut processing, abort).await;
    report.output = processing.shown.take().map(|shown| *shown);
    report.steps = steps(role.info().first, &processing.runs);
    report.error = processing.runs.first.error.take();
    drop(processing);
    if !*dry_run {
        report.disposition = Some(match &completed.failure {
            Some(failed) if failed.is_dead_lettered() => "dead_letter",
            _ => completed.disposition.as_str(),
        });
        report.error = completed.failure.map(|failed| failed.error).or(report.error);
        interrupted = completed.outcome == Outcome::Aborted;
    }
    if interrupted {
        let why = context.drain.closed().map_or_else(|| GIVEN_BACK.to_owned(), |closed| closed.to_string());
        report.error = Some(TransactionError::system(why));
    }
    report
}

/// Processes a transaction, or its first step only. Returns whether the processing reached its end.
async fn is_whole(role: &dyn Role, processing: &mut Processing<'_>, abort: &CancellationToken) -> bool {
    let mut running = role.process(processing);
    let ended = tokio::select! {
        biased;
        // The processing is polled first: if it ends at the moment of the cancellation, it counts as whole.
        () = running.as_mut() => true,
        () = abort.cancelled() => false,
    };
    // The `Drop` of a cancelled handler may panic.
    let _ = panic::guard(|| drop(running));
    ended && !processing.is_aborted
}

fn steps(first: Step, runs: &StepRuns) -> Vec<StepReport> {
    let runs: [(Step, &StepRun); 3] =
        [(first, &runs.first), (Step::Success, &runs.success), (Step::Exception, &runs.exception)];
    let ran = runs.into_iter().filter(|(_, run)| run.attempts > 0);
    ran.map(|(step, run)| {
        let own = run.error.as_ref().map(ToString::to_string);
        let elapsed = run.elapsed.map(|nanos| Duration::from_nanos(nanos.get()));
        StepReport::new(step, run.attempts, elapsed.unwrap_or_default(), own)
    })
    .collect()
}
