//! The traits through which the runner drives a task without knowing its type.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Parts, Quota};
use crate::connector::{Input, Output};
use crate::error::{Error, ErrorKind};
use crate::policy::{ConsumerPolicy, Policies};
use crate::telemetry::{RunReport, SingleReport, Tally, Undelivered};
use crate::transaction::{Result, Transaction};

/// Builds a task, once for each run.
pub(crate) trait Program: Send + Sync {
    /// Builds the task from parts, without calls to external systems; `None` if a part cannot be built. `parts` keeps
    /// the error.
    fn assemble(&self, parts: &mut Parts) -> Option<Box<dyn Runnable>>;
}

/// A built task, whose connectors and services are open.
pub(crate) trait Runnable: Send + Sync {
    /// Runs the loop to its end, and the task's `exit` hook after it.
    fn run(&self, setup: Setup) -> BoxFuture<'_, RunReport>;

    /// Runs one transaction through its steps, without a loop; only the process step if `dry_run`.
    fn process(&self, setup: Setup, transaction: Transaction, dry_run: bool) -> BoxFuture<'_, SingleReport>;

    /// Calls the task's `exit` hook, after the last transaction that was processed without a loop.
    fn exit(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// The input of a run, in addition to the task.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) task: &'static str,
    pub(crate) policies: Policies,
    /// The task's sources and sinks by slot, in the order of their declaration.
    pub(crate) inputs: Vec<(&'static str, Input)>,
    pub(crate) outputs: Vec<(&'static str, Output)>,
    pub(crate) stop: Stop,
    pub(crate) monitor: Monitor,
    /// The limits that are shared with other workers; `None` without such limits.
    pub(crate) quota: Option<Arc<dyn Quota>>,
}

impl Setup {
    /// Returns the source that a policy names, else the first source.
    ///
    /// # Errors
    /// The task has no such source.
    pub(crate) fn source(&self, policy: &ConsumerPolicy) -> Result<Input, Error> {
        let named = |(slot, _): &&(&str, Input)| policy.from.as_ref().is_none_or(|from| from == slot);
        let found = self.inputs.iter().find(named).map(|(_, input)| input.clone());
        found.ok_or_else(|| match &policy.from {
            Some(name) => self.no_connector("from", name, "source"),
            None => {
                Error::new(ErrorKind::Policy, format!("task `{}` has no source to fetch from", self.task))
            }
        })
    }

    /// Returns whether the dead letters of a policy would go to the slot that it fetches from.
    pub(crate) fn goes_round(&self, policy: &ConsumerPolicy) -> bool {
        let first = self.inputs.first().map(|(slot, _)| *slot);
        policy.dead_letter.is_some() && policy.dead_letter.as_deref() == policy.from.as_deref().or(first)
    }

    /// Returns the dead-letter connector that a policy names, if it names one.
    ///
    /// # Errors
    /// The task has no such sink.
    pub(crate) fn dead_letter(&self, policy: &ConsumerPolicy) -> Result<Option<Output>, Error> {
        let Some(name) = &policy.dead_letter else { return Ok(None) };
        let found = self.outputs.iter().find(|(slot, _)| slot == name).map(|(_, output)| output.clone());
        found.ok_or_else(|| self.no_connector("dead_letter", name, "sink")).map(Some)
    }

    fn no_connector(&self, key: &str, name: &str, role: &str) -> Error {
        let message = format!("task `{}`: `{key}` names `{name}`, which is no {role} of the task", self.task);
        Error::new(ErrorKind::Policy, message)
    }
}

/// The stop signals of a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    /// The run fetches no more, and in-flight work finishes within its grace.
    pub(crate) drain: CancellationToken,
    /// The run cancels all in-flight work immediately.
    pub(crate) abort: CancellationToken,
    /// The loops that still exist. A dropped loop counts until its lanes have ended.
    pub(crate) loops: TaskTracker,
}

/// Reports the state of a run while it continues.
#[derive(Clone, Default)]
pub(crate) struct Monitor(Arc<Mutex<Looks>>);

/// The running loops by number, and the total of the loops that have ended.
#[derive(Default)]
struct Looks {
    over: Tally,
    next: u64,
    running: Vec<(u64, Look)>,
}

impl Looks {
    fn add(&mut self, look: Look) -> u64 {
        self.next = self.next.wrapping_add(1);
        self.running.push((self.next, look));
        self.next
    }
}

/// Registers a loop in the monitor. When the value is dropped, the loop's tally is added to the total of the ended
/// loops.
#[must_use]
pub(crate) struct Looked {
    monitor: Monitor,
    number: u64,
}

impl Drop for Looked {
    fn drop(&mut self) {
        let mut looks = self.monitor.looks();
        let Some(at) = looks.running.iter().position(|(number, _)| *number == self.number) else { return };
        let (_, look) = looks.running.remove(at);
        looks.over.add(&look().tally);
    }
}

type Look = Box<dyn Fn() -> Snapshot + Send + Sync>;

/// A run at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    pub(crate) tally: Tally,
    pub(crate) in_flight: usize,
    /// Dead letters that wait because the dead-letter connector does not accept them.
    pub(crate) undelivered: Option<Undelivered>,
}

impl Monitor {
    /// Adds a source of snapshots for the lifetime of the monitor.
    pub(crate) fn attach(&self, look: impl Fn() -> Snapshot + Send + Sync + 'static) {
        self.looks().add(Box::new(look));
    }

    /// Adds a loop until the returned value is dropped. Each loop of the run calls this method when it starts.
    pub(crate) fn attach_loop(&self, look: impl Fn() -> Snapshot + Send + Sync + 'static) -> Looked {
        let number = self.looks().add(Box::new(look));
        Looked { monitor: self.clone(), number }
    }

    /// Returns the state of the run, summed over all its loops; empty before the run starts.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut whole = Snapshot::default();
        let looks = self.looks();
        whole.tally.add(&looks.over);
        for (_, look) in &looks.running {
            let Snapshot { tally, in_flight, undelivered } = look();
            whole.tally.add(&tally);
            whole.in_flight += in_flight;
            whole.undelivered = whole.undelivered.or(undelivered);
        }
        whole
    }

    fn looks(&self) -> MutexGuard<'_, Looks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").field("loops", &self.looks().running.len()).finish()
    }
}
