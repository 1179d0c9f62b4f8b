//! One transaction through a task's own policies, without a loop or a source.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::blocking::{Threads, on_threads};
use super::clock::Clock;
use super::life::Processing;
use super::lifecycle::{Event, Outcome};
use super::lived::{Completed, StepRun};
use super::steps::Steps;
use super::terms::RunContext;
use crate::error::Error;
use crate::telemetry::{GIVEN_BACK, SingleReport, Step, StepReport};
use crate::transaction::{Transaction, TransactionError, panic};

/// A transaction that is given by hand.
pub(super) struct Given {
    pub(super) transaction: Transaction,
    /// Whether it goes through the first step only.
    pub(super) dry_run: bool,
    /// Tells that it is to be given back wherever it is.
    pub(super) abort: CancellationToken,
}

/// Takes one transaction through its life.
pub(super) async fn process<S: Steps>(
    steps: Arc<S>,
    terms: Result<RunContext, Error>,
    show: fn(&S::Output) -> Option<Value>,
    given: Given,
) -> SingleReport {
    panic::install_hook();
    let terms = match terms {
        Ok(terms) => terms.watched(S::NAME, "command-line", true),
        Err(error) => {
            let mut report = SingleReport::new(given.transaction.id());
            report.error = Some(TransactionError::system(error.to_string()));
            return report;
        }
    };
    let calls = terms.calls.clone();
    let whole = calls.within(async move { live(steps.as_ref(), &terms, show, &given).await });
    if S::BLOCKING { on_threads(whole, &Threads::new(1)).await } else { whole.await }
}

async fn live<S: Steps>(
    task: &S,
    terms: &RunContext,
    show: fn(&S::Output) -> Option<Value>,
    given: &Given,
) -> SingleReport {
    let Given { transaction, dry_run, abort } = given;
    let mut report = SingleReport::new(transaction.id());
    let mut clock = Clock::starting_now();
    let mut lived = Completed::aborted();
    let mut life = Processing::new(task, terms, transaction, None, (&mut lived, &mut clock));
    let mut interrupted = !lives(&mut life, *dry_run, abort).await;
    report.output = life.output().and_then(|output| panic::guard(|| show(output)).ok().flatten());
    report.steps = steps(&life);
    report.error = life.process.error.take();
    drop(life);
    if !*dry_run {
        report.disposition = Some(match &lived.failure {
            Some(failed) if failed.is_dead_lettered() => "dead_letter",
            _ => lived.disposition.as_str(),
        });
        report.error = lived.failure.map(|failed| failed.error).or(report.error);
        interrupted = lived.outcome == Outcome::Aborted;
    }
    if interrupted {
        let why = terms.drain.gone().map_or_else(|| GIVEN_BACK.to_owned(), |gone| gone.to_string());
        report.error = Some(TransactionError::system(why));
    }
    report
}

/// Lives a life, or its first step; says whether that came to its end.
async fn lives<S: Steps>(life: &mut Processing<'_, S>, dry_run: bool, abort: &CancellationToken) -> bool {
    let mut living = Box::pin(async {
        if dry_run {
            return life.process().await != Event::Aborted;
        }
        life.live().await;
        true
    });
    let whole = tokio::select! {
        biased;
        whole = living.as_mut() => whole,
        () = abort.cancelled() => false,
    };
    // A handler that is cancelled may panic when it is dropped.
    let _ = panic::guard(|| drop(living));
    whole
}

fn steps<S: Steps>(life: &Processing<'_, S>) -> Vec<StepReport> {
    let runs: [(Step, &StepRun); 3] =
        [(S::FIRST, &life.process), (Step::Success, &life.success), (Step::Exception, &life.exception)];
    let ran = runs.into_iter().filter(|(_, run)| run.attempts > 0);
    ran.map(|(step, run)| {
        let own = run.error.as_ref().map(ToString::to_string);
        let elapsed = run.elapsed.map(|nanos| Duration::from_nanos(nanos.get()));
        StepReport::new(step, run.attempts, elapsed.unwrap_or_default(), own)
    })
    .collect()
}
