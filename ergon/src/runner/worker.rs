//! Runs tasks in this process, from opening their connectors to closing them.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::runtime::Runtime;
use tokio::time::Instant;

use super::build::Reach;
use super::{Built, Opened};
use crate::error::{Error, ErrorKind};
use crate::settings::Breach;
use crate::task::{Monitor, Quota, Setup, Stop};
use crate::telemetry::{Ended, RunReport, SingleReport};
use crate::transaction::{Transaction, TransactionError};

/// A run that is over, with its connectors and services closed.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) report: RunReport,
    /// The errors of connectors and services that could not be closed: a file may be incomplete.
    pub(crate) close_errors: Vec<Error>,
    /// The conditions of `fail_when` that apply to it.
    pub(crate) breaches: Vec<Breach>,
    /// The workers that ran it; `None` if this process did.
    pub(crate) supervised: Option<Supervised>,
}

/// The worker processes that ran a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Supervised {
    pub(crate) workers: usize,
    /// The number of worker processes that died and were replaced.
    pub(crate) restarts: u64,
}

/// Makes the runtime that tasks run on.
///
/// # Errors
/// Returns an error if the system gives no threads.
pub(crate) fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("ergon").build()
}

/// Opens and starts all tasks, or none: if one fails, the others are closed again.
///
/// # Errors
/// Returns the error of each connector and service that cannot be opened, with the name of its task if there are
/// several tasks.
pub(crate) async fn open_all(tasks: Vec<Built>) -> Result<Vec<Opened>, Vec<Error>> {
    let open = |task: Built| async move { (task.name, task.open(Reach::Whole).await) };
    let opened = all_or_none(join_all(tasks.into_iter().map(open)).await).await?;
    // Only now it is certain that the run takes place. An output that is to be emptied keeps its content until here.
    let start = |task: Opened| async move { (task.name, task.start().await) };
    all_or_none(join_all(opened.into_iter().map(start)).await).await
}

async fn all_or_none(
    results: Vec<(&'static str, Result<Opened, Vec<Error>>)>,
) -> Result<Vec<Opened>, Vec<Error>> {
    let several = results.len() > 1;
    let mut opened = Vec::new();
    let mut errors = Vec::new();
    for (name, result) in results {
        match result {
            Ok(task) => opened.push(task),
            Err(found) if several => errors.extend(found.into_iter().map(|error| error.of_task(name))),
            Err(found) => errors.extend(found),
        }
    }
    if errors.is_empty() {
        return Ok(opened);
    }
    for task in opened {
        errors.extend(task.close().await);
    }
    Err(errors)
}

impl Opened {
    /// Runs the task to its end, then closes everything.
    async fn run(self, stop: Stop, monitor: Monitor, quota: Option<Arc<dyn Quota>>) -> Finished {
        let began = Instant::now();
        let setup = Setup { quota, ..self.setup(stop, monitor.clone()) };
        // Panics of handlers are caught by the engine. A panic of the engine itself must not keep sinks from being
        // closed.
        let run = AssertUnwindSafe(async { self.task.run(setup).await }).catch_unwind();
        let report = run.await.unwrap_or_else(|_| {
            let error = Error::new(
                ErrorKind::Task,
                "the engine panicked; the deliveries in flight are delivered again",
            );
            RunReport::new(self.name, monitor.snapshot().tally, began.elapsed(), Ended::Failed(error))
        });
        Finished { report, close_errors: self.close().await, breaches: Vec::new(), supervised: None }
    }

    /// Runs the task on its own tokio task, so that several tasks run at the same time. A panic outside of the run
    /// is its failure too.
    pub(crate) async fn run_apart(
        self,
        stop: Stop,
        monitor: Monitor,
        quota: Option<Arc<dyn Quota>>,
    ) -> Finished {
        let (name, began) = (self.name, Instant::now());
        tokio::spawn(self.run(stop, monitor.clone(), quota)).await.unwrap_or_else(|_| {
            let error =
                Error::new(ErrorKind::Connector, "a connector or service panicked while it was closed");
            let ended = Ended::Failed(error);
            let report = RunReport::new(name, monitor.snapshot().tally, began.elapsed(), ended);
            Finished { report, close_errors: Vec::new(), breaches: Vec::new(), supervised: None }
        })
    }

    /// Runs one transaction through the task, without a loop. Does not call the task's `exit` hook, see
    /// [`exit`](Self::exit).
    pub(crate) async fn process(&self, transaction: Transaction, dry_run: bool, stop: Stop) -> SingleReport {
        self.task.process(self.setup(stop, Monitor::default()), transaction, dry_run).await
    }

    /// Calls the task's `exit` hook, after the last transaction that was processed without a loop.
    pub(crate) async fn exit(&self) -> Result<(), TransactionError> {
        self.task.exit().await
    }

    /// Runs one transaction through the task, and its `exit` hook after it.
    pub(super) async fn process_one(
        &self,
        transaction: Transaction,
        dry_run: bool,
        stop: Stop,
    ) -> SingleReport {
        let mut report = self.process(transaction, dry_run, stop).await;
        if let Err(error) = self.exit().await {
            report.error.get_or_insert(error);
        }
        report
    }

    /// The setup of a run, without a quota.
    pub(super) fn setup(&self, stop: Stop, monitor: Monitor) -> Setup {
        Setup {
            task: self.name,
            policies: self.policies.clone(),
            inputs: self.inputs.clone(),
            outputs: self.outputs.clone(),
            stop,
            monitor,
            quota: None,
        }
    }
}

impl Built {
    /// Opens and starts the task; returns `None` if the process is stopped before everything is open.
    ///
    /// # Errors
    /// Returns the errors of what cannot be opened.
    pub(super) async fn open_unless_stopped(
        self,
        reach: Reach,
        stop: &Stop,
    ) -> Result<Option<Opened>, Vec<Error>> {
        tokio::select! {
            biased;
            () = stop.drain.cancelled() => Ok(None),
            opened = Box::pin(async { self.open(reach).await?.start().await }) => opened.map(Some),
        }
    }

    /// Runs one transaction through the task, without a loop, and closes everything. The report is `None` if the
    /// process was stopped before the transaction started.
    ///
    /// # Errors
    /// Returns the errors of what cannot be opened.
    pub(crate) async fn process(
        self,
        transaction: Transaction,
        dry_run: bool,
        stop: Stop,
    ) -> Result<(Option<SingleReport>, Vec<Error>), Vec<Error>> {
        let reach = if dry_run { Reach::ProcessOnly } else { Reach::WithoutSource };
        let Some(opened) = self.open_unless_stopped(reach, &stop).await? else {
            return Ok((None, Vec::new()));
        };
        let report = opened.process_one(transaction, dry_run, stop).await;
        Ok((Some(report), opened.close().await))
    }

    /// Opens what a transaction needs that is not fetched; returns `None` if the process is stopped before everything
    /// is open.
    ///
    /// # Errors
    /// Returns the errors of what cannot be opened.
    pub(crate) async fn open_to_process(self, stop: &Stop) -> Result<Option<Opened>, Vec<Error>> {
        self.open_unless_stopped(Reach::WithoutSource, stop).await
    }
}
