//! What a loop is measured by, if it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::KeyValue;
use tokio::time::Instant;

use super::Levels;
use super::batch::{Batch, Timings};
use super::bound::{Bound, OUTCOMES, attempt_labels, outcome, settlement_labels};
use super::instruments::installed;
use super::levels::{self, Watched};
use crate::telemetry::Tally;
use crate::transaction::{Category, Transaction};

/// What a loop is measured by; nothing if the process is not measured.
#[derive(Debug, Default)]
pub(crate) struct Meters(Option<Arc<Measured>>);

#[derive(Debug)]
struct Measured {
    bound: Bound,
    /// What the clock of the machine is read against: reading it for each transaction is dear.
    anchor: Instant,
    /// What the machine's clock shows at the anchor, in nanoseconds since the epoch; set anew with each fetch, because
    /// somebody may set the clock.
    shows: AtomicU64,
}

impl Meters {
    /// What measures nothing.
    pub(crate) const OFF: &'static Self = &Self(None);

    /// What a loop of a task is measured by.
    pub(crate) fn of(task: &'static str) -> Self {
        Self::new(task, false)
    }

    /// What the outbound transactions of a hybrid are measured by.
    pub(crate) fn outbound(task: &'static str) -> Self {
        Self::new(task, true)
    }

    fn new(task: &'static str, outbound: bool) -> Self {
        Self(installed().map(|instruments| {
            let bound = Bound::new(task, instruments, outbound);
            Arc::new(Measured { bound, anchor: Instant::now(), shows: AtomicU64::new(0) })
        }))
    }

    /// Begins to follow a transaction whose first step begins at `mark`.
    #[inline]
    pub(crate) fn begin(&self, mark: Instant, transaction: &Transaction) -> Timings {
        match &self.0 {
            Some(measured) => Timings::begin(measured.age(mark, transaction.created_at())),
            None => Timings::default(),
        }
    }

    /// The time, if anybody measures.
    pub(crate) fn now(&self) -> Option<Instant> {
        self.0.as_ref().map(|_| Instant::now())
    }

    /// Watches a loop: its levels until it has ended, its threads until they have returned.
    pub(crate) fn watch(
        &self,
        levels: impl Fn() -> Option<Levels> + Send + Sync + 'static,
        stuck: impl Fn() -> usize + Send + Sync + 'static,
    ) {
        if let Some(measured) = &self.0 {
            let task = measured.bound.task;
            levels::watch(Watched { task, levels: Box::new(levels), stuck: Box::new(stuck) });
        }
    }

    /// Records a fetch that was answered.
    #[expect(clippy::cast_precision_loss, reason = "no fetch brings that many")]
    pub(crate) fn fetched(&self, count: usize, asked_at: Option<Instant>) {
        let (Some(measured), Some(asked_at)) = (&self.0, asked_at) else { return };
        let (now, fetch) = (Instant::now(), &measured.bound.fetch);
        measured.look_at_the_clock(now);
        fetch.answered.add(1);
        fetch.duration.record(now.saturating_duration_since(asked_at).as_secs_f64());
        if count == 0 {
            fetch.empty.add(1);
        } else {
            fetch.batch_size.record(count as f64);
        }
    }

    /// Counts an attempt of what no transaction's course tells.
    pub(crate) fn attempted(&self, step: &str, failed: Option<Category>) {
        let Some(Bound { task, instruments, .. }) = self.bound() else { return };
        let ended = OUTCOMES.get(outcome(failed)).copied().unwrap_or_default();
        instruments.attempts.add(1, &attempt_labels(known(step), ended, task));
        if failed == Some(Category::Timeout) {
            self.timed_out(step);
        }
    }

    /// Records the wait before the next attempt.
    pub(crate) fn backs_off(&self, step: &str, wait: Duration) {
        let Some(Bound { task, instruments, .. }) = self.bound() else { return };
        instruments.backoff_duration.record(wait.as_secs_f64(), &step_labels(step, task));
    }

    /// Counts an attempt after the first one.
    pub(crate) fn retried(&self, step: &str, category: Category) {
        let Some(Bound { task, instruments, .. }) = self.bound() else { return };
        let category = KeyValue::new("category", category.as_str());
        let [step, task] = step_labels(step, task);
        instruments.retries.add(1, &[category, step, task]);
    }

    /// Counts a time limit that ran out.
    pub(crate) fn timed_out(&self, step: &str) {
        let Some(Bound { task, instruments, .. }) = self.bound() else { return };
        instruments.timeouts.add(1, &step_labels(step, task));
    }

    /// Counts a settlement that the source did not take, or may not have taken.
    pub(crate) fn unsettled(&self, disposition: &'static str, unknown: bool) {
        let result = if unknown { "unknown" } else { "not_done" };
        if let Some(bound) = self.bound() {
            bound.instruments.settlements.add(1, &settlement_labels(disposition, result, bound.task));
        }
    }

    /// Begins to count what is settled together; `tally` is what it was before.
    #[inline]
    pub(crate) fn batch(&self, tally: &Tally) -> Batch<'_> {
        Batch::new(self.bound(), tally)
    }

    #[inline]
    fn bound(&self) -> Option<&Bound> {
        self.0.as_deref().map(|measured| &measured.bound)
    }
}

impl Measured {
    fn look_at_the_clock(&self, now: Instant) {
        let since_anchor = nanos(now.saturating_duration_since(self.anchor));
        let shows = nanos(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        self.shows.store(shows.saturating_sub(since_anchor), Ordering::Relaxed);
    }

    /// How old something is at `mark`, in seconds; nothing if it was made by a clock that is ahead.
    fn age(&self, mark: Instant, created_at: SystemTime) -> f32 {
        let since_anchor = nanos(mark.saturating_duration_since(self.anchor));
        let shows = self.shows.load(Ordering::Relaxed).saturating_add(since_anchor);
        let created = nanos(created_at.duration_since(UNIX_EPOCH).unwrap_or_default());
        Duration::from_nanos(shows.saturating_sub(created)).as_secs_f32()
    }
}

fn nanos(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000_000).saturating_add(time.subsec_nanos().into())
}

fn step_labels(step: &str, task: &'static str) -> [KeyValue; 2] {
    [KeyValue::new("step", known(step)), KeyValue::new("task", task)]
}

/// What the engine attempts; no other name becomes a label.
fn known(step: &str) -> &'static str {
    ["fetch", "process", "prepare", "success", "exception", "dead_letter"]
        .into_iter()
        .find(|known| *known == step)
        .unwrap_or("other")
}
