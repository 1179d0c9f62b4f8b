//! Finds async steps that block their thread: one poll of them takes longer than [`LONGEST`].
//!
//! A step that ends at its first poll costs no reading of the clock: its whole time is known anyway. The clock is read
//! only for a step that waits, at the end of its first poll and at the beginning of each further one.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::clock::Nanos;
use crate::telemetry::event::ThreadBlocked;

/// How long one poll may take before it counts as blocking.
const LONGEST: Duration = Duration::from_millis(100);

/// The polls of one step, all its attempts included.
#[derive(Debug, Clone, Copy)]
pub(super) struct Polls {
    task: &'static str,
    /// When the latest poll began.
    since: Instant,
    /// Whether there was a poll before the latest.
    again: bool,
}

impl Polls {
    /// The polls of a step that begins now, at `since`.
    #[inline]
    pub(super) fn of(task: &'static str, since: Instant) -> Self {
        Self { task, since, again: false }
    }

    /// Takes in that a poll begins.
    #[inline]
    pub(super) fn begin(&mut self) {
        if self.again {
            self.since = Instant::now();
        }
        self.again = true;
    }

    /// Takes in that a poll is over, and the step waits.
    pub(super) fn waits(&self, step: &str) {
        self.over(step, Instant::now());
    }

    /// Takes in that the step is over, which took so long and ends now.
    #[inline]
    pub(super) fn ended(&self, step: &str, (elapsed, now): (Nanos, Instant)) {
        if u128::from(elapsed.get()) > LONGEST.as_nanos() {
            self.over(step, now);
        }
    }

    #[cold]
    fn over(&self, step: &str, now: Instant) {
        let took = now.saturating_duration_since(self.since);
        if took > LONGEST {
            report(self.task, step, took);
        }
    }
}

/// Watches a future of the task's that is no step, and is polled seldom.
pub(super) async fn watched<F: Future>(task: &'static str, what: &str, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let since = Instant::now();
        let polled = future.as_mut().poll(context);
        Polls::of(task, since).waits(what);
        polled
    })
    .await
}

/// Reports it once for each task of the process.
#[cold]
fn report(task: &'static str, step: &str, took: Duration) {
    static REPORTED: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let first = REPORTED.lock().unwrap_or_else(PoisonError::into_inner).insert(task);
    if first {
        ThreadBlocked { task, step, took }.emit();
    }
}
