//! Running a wired task inside a test.

use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::connector::{AnyConnector, Shard};
use crate::error::{Error, ErrorKind};
use crate::task::{Monitor, Parts, Setup, Stop, TaskConfig};
use crate::telemetry::RunReport;

/// Runs a task until its source is empty, its limit is reached, or it fails.
///
/// Its policy is that of the attribute and of [`TaskConfig`]; no settings are read, no logs or signals set up.
///
/// # Errors
/// What could not be built or opened.
pub async fn run(config: TaskConfig) -> Result<RunReport, Error> {
    start(config).await?.wait().await
}

/// Starts a task that can be stopped.
///
/// # Errors
/// What could not be built or opened.
pub async fn start(config: TaskConfig) -> Result<Running, Error> {
    let policy = config.outline.consumer.clone().unwrap_or_default();
    policy.check().map_err(|problem| Error::new(ErrorKind::Policy, problem.to_string()))?;
    let assembly = config.program.assemble(Parts::new(config.name(), Shard::default(), policy.clone()))?;
    let connectors: Vec<Arc<dyn AnyConnector>> =
        assembly.parts.connectors.iter().map(|(_, connector)| Arc::clone(connector)).collect();
    for connector in &connectors {
        connector.open().await.map_err(|error| Error::new(ErrorKind::Connector, error.to_string()))?;
    }
    let named = |slot: &Option<_>| slot.as_deref().map(str::to_owned);
    let (from, dead_letter) = (named(&policy.from), named(&policy.dead_letter));
    let mut inputs = assembly.parts.inputs.iter();
    let input = inputs.find(|(slot, _)| from.as_deref().is_none_or(|from| from == *slot));
    let Some((_, input)) = input else {
        return Err(Error::new(ErrorKind::Policy, "the task has no source to fetch from"));
    };
    let mut outputs = assembly.parts.outputs.iter();
    let dead_letter = outputs.find(|(slot, _)| dead_letter.as_deref() == Some(slot));
    let dead_letter = dead_letter.map(|(_, output)| output.clone());
    let (stop, monitor) = (Stop::default(), Monitor::default());
    let setup = Setup { policy, input: input.clone(), dead_letter, stop: stop.clone(), monitor };
    let task = assembly.task;
    let handle = tokio::spawn(async move { task.run(setup).await });
    Ok(Running { handle, stop, connectors })
}

/// A task that runs.
#[must_use = "a task that is not waited for runs on by itself"]
pub struct Running {
    handle: JoinHandle<RunReport>,
    stop: Stop,
    connectors: Vec<Arc<dyn AnyConnector>>,
}

impl Running {
    /// Tells it to fetch no more and to finish what is in flight within its `shutdown_grace`.
    pub fn stop(&self) {
        self.stop.drain.cancel();
    }

    /// Waits for its end, and closes its connectors.
    ///
    /// # Errors
    /// What could not be closed.
    pub async fn wait(self) -> Result<RunReport, Error> {
        let report = self.handle.await;
        for connector in &self.connectors {
            connector.close().await.map_err(|error| Error::new(ErrorKind::Connector, error.to_string()))?;
        }
        report.map_err(|error| Error::new(ErrorKind::Task, error.to_string()))
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("finished", &self.handle.is_finished()).finish_non_exhaustive()
    }
}
