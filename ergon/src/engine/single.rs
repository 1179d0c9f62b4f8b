//! One transaction through a task's own policies, without a loop or a source.

use serde_json::Value;
use tokio::time::Instant;

use super::attempt::guarded;
use super::consume::Run;
use super::life::{Life, StepRun};
use super::panic;
use crate::task::{Consumer, Setup};
use crate::telemetry::{SingleReport, Step, StepReport};
use crate::transaction::Transaction;

/// Takes one transaction through its life; only through the process step if `dry_run`.
pub(super) async fn process<T: Consumer>(
    task: &T,
    show: fn(&T::Output) -> Option<Value>,
    setup: Setup,
    transaction: Transaction,
    dry_run: bool,
) -> SingleReport {
    panic::install_hook();
    let run = Run::new(T::NAME, setup);
    let mut report = SingleReport::new(transaction.id());
    let mut life = Life::new(task, &run, &transaction, Instant::now());
    let mut failure = None;
    if dry_run {
        life.process().await;
    } else {
        let lived = life.live().await;
        report.disposition = Some(match &lived.failure {
            Some(failed) if failed.dead_lettered => "dead_letter",
            _ => lived.disposition.as_str(),
        });
        failure = lived.failure.map(|failed| failed.error);
    }
    report.output = life.output().and_then(|output| panic::guard(|| show(output)).ok().flatten());
    report.steps = steps(&life);
    report.error = failure.or(life.process.error.take());
    drop(life);
    if let Err(error) | Ok(Err(error)) = guarded(&mut None, task.exit()).await {
        report.error.get_or_insert(error);
    }
    report
}

fn steps<T: Consumer>(life: &Life<'_, T>) -> Vec<StepReport> {
    let runs: [(Step, &StepRun); 3] =
        [(Step::Process, &life.process), (Step::Success, &life.success), (Step::Exception, &life.exception)];
    let ran = runs.into_iter().filter(|(_, run)| run.attempts > 0);
    ran.map(|(step, run)| {
        let own = run.error.as_ref().map(ToString::to_string);
        StepReport::new(step, run.attempts, run.elapsed.unwrap_or_default(), own)
    })
    .collect()
}
