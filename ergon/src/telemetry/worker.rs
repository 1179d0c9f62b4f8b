//! Defines the events of worker processes, as `event` does for runs: one struct for each event, and one `emit` for each
//! struct.

use std::time::Duration;

use tracing::{debug, warn};

/// A worker process was started.
pub(crate) struct WorkerStarted<'a> {
    pub(crate) task: &'a str,
    /// Its index, from 0.
    pub(crate) worker: usize,
    pub(crate) pid: u32,
}

impl WorkerStarted<'_> {
    pub(crate) fn emit(self) {
        let Self { task, worker, pid } = self;
        debug!(task, worker, pid, "worker started");
    }
}

/// A worker process died, and a new process replaces it.
pub(crate) struct WorkerDied<'a> {
    pub(crate) task: &'a str,
    /// Its index, from 0.
    pub(crate) worker: usize,
    /// The way it ended: `killed by signal 9`.
    pub(crate) how: &'a str,
    /// The time until the new process starts.
    pub(crate) wait: Duration,
}

impl WorkerDied<'_> {
    pub(crate) fn emit(self) {
        let Self { task, worker, how, wait } = self;
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        warn!(task, worker, wait_ms, how, "worker died, a new worker replaces it");
    }
}

/// A worker process did not end in time and is killed. Its transactions in flight will be delivered again.
pub(crate) struct WorkerKilled<'a> {
    pub(crate) task: &'a str,
    /// Its index, from 0.
    pub(crate) worker: usize,
}

impl WorkerKilled<'_> {
    pub(crate) fn emit(self) {
        warn!(task = self.task, worker = self.worker, "worker did not end in time and is killed");
    }
}
