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

use crate::telemetry::Step;
use crate::telemetry::event::ThreadBlocked;

/// How long one poll may take before it counts as blocking.
const LONGEST: Duration = Duration::from_millis(100);
const LONGEST_NANOS: u64 = 100_000_000;

/// The polls of the step that runs in a lane.
#[derive(Debug, Default)]
pub(super) struct Polls {
    /// When the latest poll began; none if nothing is watched.
    since: Option<Instant>,
    /// Whether the step has waited.
    again: bool,
    /// How long the longest poll took after which the step waited.
    longest: Duration,
}

impl Polls {
    /// Watches a step that begins now, at `since`.
    #[inline]
    pub(super) fn watch(&mut self, since: Instant) {
        (self.since, self.again) = (Some(since), false);
    }

    /// Watches nothing: what is polled next is no code of the task's.
    pub(super) fn rest(&mut self) {
        (self.since, self.again) = (None, false);
    }

    /// Takes in that a poll begins.
    #[inline]
    pub(super) fn begin(&mut self) {
        if self.again {
            self.since = Some(Instant::now());
        }
    }

    /// Takes in that a poll is over, and the step waits.
    pub(super) fn waits(&mut self) {
        if let Some(since) = self.since {
            self.longest = self.longest.max(since.elapsed());
            self.again = true;
        }
    }

    /// Takes in that a step of `task` is over, which took so long and ends now.
    #[inline]
    pub(super) fn ended(&mut self, (task, step): (&'static str, Step), (nanos, now): (u64, Instant)) {
        if nanos > LONGEST_NANOS {
            self.over((task, step), now);
        }
    }

    #[cold]
    fn over(&mut self, (task, step): (&'static str, Step), now: Instant) {
        let last = self.since.map(|since| now.saturating_duration_since(since)).unwrap_or_default();
        let longest = std::mem::take(&mut self.longest).max(last);
        if longest > LONGEST {
            report(task, step.as_str(), longest);
        }
    }
}

/// Watches a future of the task's that is no step, and is polled seldom.
pub(super) async fn watched<F: Future>(task: &'static str, what: &str, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let since = Instant::now();
        let polled = future.as_mut().poll(context);
        let took = since.elapsed();
        if took > LONGEST {
            report(task, what, took);
        }
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
