//! Running a wired task inside a test.

use tokio::task::JoinHandle;

use crate::connector::Shard;
use crate::error::{Error, ErrorKind};
use crate::runner::{Finished, Plan, Reach};
use crate::task::{Monitor, Stop, TaskConfig};
use crate::telemetry::RunReport;

/// Runs a task until its source is empty, its limit is reached, or it fails.
///
/// Its policy is that of the attribute and of [`TaskConfig`]; no settings are read, no logs or signals set up.
///
/// # Errors
/// What could not be built, opened or closed.
pub async fn run(config: TaskConfig) -> Result<RunReport, Error> {
    start(config).await?.wait().await
}

/// Starts a task that can be stopped.
///
/// # Errors
/// A policy that cannot be obeyed; what could not be built or opened.
pub async fn start(config: TaskConfig) -> Result<Running, Error> {
    let policies = config.outline.policies.clone();
    policies.check().map_err(|(_, problem)| Error::new(ErrorKind::Policy, problem.to_string()))?;
    let built = Plan { config, policies }.build(Shard::default())?;
    let opened = built.open(Reach::Whole).await.map_err(first)?;
    let stop = Stop::default();
    let handle = tokio::spawn(opened.run_apart(stop.clone(), Monitor::default()));
    Ok(Running { handle, stop })
}

/// A task that runs.
#[derive(Debug)]
#[must_use = "a task that is not waited for runs on by itself"]
pub struct Running {
    handle: JoinHandle<Finished>,
    stop: Stop,
}

impl Running {
    /// Tells it to fetch no more and to finish what is in flight within its `shutdown_grace`.
    pub fn stop(&self) {
        self.stop.drain.cancel();
    }

    /// Waits for its end; its connectors and services are closed then.
    ///
    /// # Errors
    /// What could not be closed.
    pub async fn wait(self) -> Result<RunReport, Error> {
        let finished = self.handle.await.map_err(|error| Error::new(ErrorKind::Task, error.to_string()))?;
        if finished.close_errors.is_empty() { Ok(finished.report) } else { Err(first(finished.close_errors)) }
    }
}

/// The first of some problems, which are never none.
fn first(problems: Vec<Error>) -> Error {
    let first = problems.into_iter().next();
    first.unwrap_or_else(|| Error::new(ErrorKind::Connector, "the task could not be opened"))
}
