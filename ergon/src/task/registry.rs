//! What the runner drives without knowing the task's type.

use std::fmt;
use std::sync::{Arc, OnceLock};

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::Parts;
use crate::connector::{Input, Output};
use crate::error::Error;
use crate::policy::ConsumerPolicy;
use crate::telemetry::{RunReport, SingleReport, Tally};
use crate::transaction::Transaction;

/// Builds a task, as often as it is to run.
pub(crate) trait Program: Send + Sync {
    /// Builds the task out of parts; touches no external system.
    fn assemble(&self, parts: Parts) -> Result<Assembly, Error>;
}

/// A task that is built, and what it is built of.
pub(crate) struct Assembly {
    pub(crate) parts: Parts,
    pub(crate) task: Box<dyn Runnable>,
}

/// A task that is built; its connectors and services are open.
pub(crate) trait Runnable: Send + Sync {
    /// Runs the loop to its end, and the task's `exit` hook after it.
    fn run(&self, setup: Setup) -> BoxFuture<'_, RunReport>;

    /// Runs one transaction through its steps, without a loop; only the process step if `dry_run`.
    fn process(&self, setup: Setup, transaction: Transaction, dry_run: bool) -> BoxFuture<'_, SingleReport>;
}

/// What a run needs besides the task.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) policy: ConsumerPolicy,
    pub(crate) input: Input,
    pub(crate) dead_letter: Option<Output>,
    pub(crate) stop: Stop,
    pub(crate) monitor: Monitor,
}

/// Tells a run to stop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    /// Fetch no more; let in-flight work finish within its grace.
    pub(crate) drain: CancellationToken,
    /// Cancel what is in flight, now.
    pub(crate) abort: CancellationToken,
}

/// Lets somebody look at a run while it goes on.
#[derive(Clone, Default)]
pub(crate) struct Monitor(Arc<OnceLock<Box<dyn Fn() -> Snapshot + Send + Sync>>>);

/// A run at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    pub(crate) tally: Tally,
    pub(crate) in_flight: usize,
}

impl Monitor {
    /// Called by the run when it begins.
    pub(crate) fn attach(&self, look: impl Fn() -> Snapshot + Send + Sync + 'static) {
        // A run attaches once; a second call would show another run's figures, so the first stays.
        let _ = self.0.set(Box::new(look));
    }

    /// What the run has done so far; nothing before it began.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.0.get().map(|look| look()).unwrap_or_default()
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").field("attached", &self.0.get().is_some()).finish()
    }
}
