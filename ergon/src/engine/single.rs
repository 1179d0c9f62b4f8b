//! One transaction through a task's own policies, without a loop or a source.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::attempt::guarded;
use super::blocking::{Threads, on_threads};
use super::clock::Clock;
use super::life::Life;
use super::lifecycle::{Event, Outcome};
use super::lived::{Lived, StepRun};
use super::panic;
use super::steps::Steps;
use super::terms::Terms;
use crate::error::Error;
use crate::telemetry::{SingleReport, Step, StepReport};
use crate::transaction::{Transaction, TransactionError};

/// Takes one transaction through its life; only through the first step if `dry_run`.
pub(super) async fn process<S: Steps>(
    steps: Arc<S>,
    terms: Result<Terms, Error>,
    show: fn(&S::Output) -> Option<Value>,
    transaction: Transaction,
    dry_run: bool,
) -> SingleReport {
    panic::install_hook();
    let terms = match terms {
        Ok(terms) => terms.watched(S::NAME, "command-line", true),
        Err(error) => {
            let mut report = SingleReport::new(transaction.id());
            report.error = Some(TransactionError::system(error.to_string()));
            return report;
        }
    };
    let whole = async move { live(steps.as_ref(), &terms, show, &transaction, dry_run).await };
    if S::BLOCKING { on_threads(whole, &Threads::new(1)).await } else { whole.await }
}

async fn live<S: Steps>(
    task: &S,
    terms: &Terms,
    show: fn(&S::Output) -> Option<Value>,
    transaction: &Transaction,
    dry_run: bool,
) -> SingleReport {
    let mut report = SingleReport::new(transaction.id());
    let mut clock = Clock::starting_now();
    let mut lived = Lived::aborted();
    let mut life = Life::new(task, terms, transaction, None, (&mut lived, &mut clock));
    let mut interrupted = false;
    if dry_run {
        interrupted = life.process().await == Event::Aborted;
    } else {
        life.live().await;
    }
    report.output = life.output().and_then(|output| panic::guard(|| show(output)).ok().flatten());
    report.steps = steps(&life);
    report.error = life.process.error.take();
    drop(life);
    if !dry_run {
        report.disposition = Some(match &lived.failure {
            Some(failed) if failed.dead_lettered => "dead_letter",
            _ => lived.disposition.as_str(),
        });
        report.error = lived.failure.map(|failed| failed.error).or(report.error);
        interrupted = lived.outcome == Outcome::Aborted;
    }
    if interrupted {
        let told = "it was told to stop before it came to its end".to_owned();
        let why = terms.drain.gone().map_or(told, |gone| gone.to_string());
        report.error = Some(TransactionError::system(why));
    }
    if let Err(error) | Ok(Err(error)) = guarded(&mut None, task.exit()).await {
        report.error.get_or_insert(error);
    }
    report
}

fn steps<S: Steps>(life: &Life<'_, S>) -> Vec<StepReport> {
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
