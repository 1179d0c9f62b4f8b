//! Finds async steps that block their thread: a single poll of such a step takes longer than [`LONGEST`].
//!
//! A step that ends at its first poll needs no extra read of the clock, because its whole duration is measured anyway.
//! For a step that waits, the clock is read at the end of its first poll and at the start of each later poll.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::telemetry::Step;
use crate::telemetry::event::ThreadBlocked;

/// The duration of one poll above which a step counts as blocking. A poll should take microseconds. The limit is far
/// above that, so that a busy machine causes no false report.
const LONGEST: Duration = Duration::from_millis(100);
const LONGEST_NANOS: u64 = 100_000_000;

/// Measures the polls of the step that runs in a lane.
#[derive(Debug, Default)]
pub(super) struct Polls {
    /// The start of the latest poll; `None` if no step is measured.
    since: Option<Instant>,
    /// Whether the step has waited.
    again: bool,
    /// The longest poll of the step after which it waited.
    longest: Duration,
}

impl Polls {
    /// Measures a step that starts at `since`.
    #[inline]
    pub(super) fn watch(&mut self, since: Instant) {
        (self.since, self.again) = (Some(since), false);
    }

    /// Measures nothing, because the code that is polled next is not the task's.
    pub(super) fn rest(&mut self) {
        (self.since, self.again) = (None, false);
    }

    /// Records the start of a poll.
    #[inline]
    pub(super) fn begin(&mut self) {
        if self.again {
            self.since = Some(Instant::now());
        }
    }

    /// Records the end of a poll after which the step waits.
    pub(super) fn waits(&mut self) {
        if let Some(since) = self.since {
            self.longest = self.longest.max(since.elapsed());
            self.again = true;
        }
    }

    /// Records the end of a step of `task`, with its duration and its end.
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

/// Measures a future of the task that is no step and is polled rarely.
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

/// Reports a blocking step, once for each task of the process: a second line would not help.
#[cold]
fn report(task: &'static str, step: &str, took: Duration) {
    static REPORTED: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let first = REPORTED.lock().unwrap_or_else(PoisonError::into_inner).insert(task);
    if first {
        ThreadBlocked { task, step, took }.emit();
    }
}
