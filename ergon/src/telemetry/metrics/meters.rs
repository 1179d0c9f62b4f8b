//! Records the metrics of a loop.

#[cfg(feature = "opentelemetry")]
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "opentelemetry")]
use opentelemetry::KeyValue;
use tokio::time::Instant;

use super::{Batch, Levels, Timings};
#[cfg(feature = "opentelemetry")]
use super::{
    bound::{Bound, OUTCOMES, attempt_labels, known, outcome, settlement_labels, step_labels},
    instruments::installed,
    levels::{self, Watched},
    measured::Measured,
};
use crate::telemetry::{Tally, with_opentelemetry};
use crate::transaction::{Category, Transaction};

/// The meters of a loop. They record nothing if metrics are off.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    #[cfg(feature = "opentelemetry")]
    measured: Option<Arc<Measured>>,
}

impl Meters {
    /// Meters that record nothing.
    pub(crate) const OFF: &'static Self = &Self {
        #[cfg(feature = "opentelemetry")]
        measured: None,
    };

    with_opentelemetry! {
        else { Default::default() }

        /// Creates the meters of a loop of a task.
        pub(crate) fn of(task: &'static str) -> Self {
            Self::new(task, false)
        }

        /// Creates the meters of the outbound transactions of a hybrid.
        pub(crate) fn outbound(task: &'static str) -> Self {
            Self::new(task, true)
        }

        /// Starts the timings of a transaction whose first step starts at `mark`.
        #[inline]
        pub(crate) fn begin(&self, mark: Instant, transaction: &Transaction) -> Timings {
            match &self.measured {
                Some(measured) => Timings::begin(measured.age(mark, transaction.created_at())),
                None => Timings::default(),
            }
        }

        /// The current time, if metrics are on.
        pub(crate) fn now(&self) -> Option<Instant> {
            self.measured.as_ref().map(|_| Instant::now())
        }

        /// Watches a loop: its gauges until it has ended, its threads until they have returned.
        pub(crate) fn watch(
            &self,
            levels: impl Fn() -> Option<Levels> + Send + Sync + 'static,
            stuck: impl Fn() -> usize + Send + Sync + 'static,
        ) {
            if let Some(measured) = &self.measured {
                let task = measured.bound.task;
                levels::watch(Watched { task, levels: Box::new(levels), stuck: Box::new(stuck) });
            }
        }

        /// Records a successful fetch.
        #[allow(clippy::cast_precision_loss, reason = "no fetch returns that many")]
        pub(crate) fn fetched(&self, count: usize, asked_at: Option<Instant>) {
            let (Some(measured), Some(asked_at)) = (&self.measured, asked_at) else { return };
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

        /// Counts an attempt that is not in the timings of a transaction.
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

        /// Counts a retry.
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

        /// Counts a settlement that the source did not confirm, or whose result is unknown.
        pub(crate) fn unsettled(&self, disposition: &'static str, unknown: bool) {
            let result = if unknown { "unknown" } else { "not_done" };
            if let Some(bound) = self.bound() {
                bound.instruments.settlements.add(1, &settlement_labels(disposition, result, bound.task));
            }
        }

        /// Starts a batch of transactions that are settled together; `tally` is the tally before it.
        #[inline]
        pub(crate) fn batch(&self, tally: &Tally) -> Batch<'_> {
            Batch::new(self.bound(), tally)
        }
    }

    #[cfg(feature = "opentelemetry")]
    fn new(task: &'static str, outbound: bool) -> Self {
        let bound = installed().map(|instruments| Bound::new(task, instruments, outbound));
        Self { measured: bound.map(|bound| Arc::new(Measured::new(bound))) }
    }

    #[cfg(feature = "opentelemetry")]
    #[inline]
    fn bound(&self) -> Option<&Bound> {
        self.measured.as_deref().map(|measured| &measured.bound)
    }
}

with_opentelemetry! {
    else {}

    /// Counts a retry of a call.
    pub(crate) fn call_retried(task: &'static str, category: Category) {
        if let Some(instruments) = installed() {
            let labels = [KeyValue::new("category", category.as_str()), KeyValue::new("task", task)];
            instruments.call_retries.add(1, &labels);
        }
    }

    /// Counts a reconnection.
    pub(crate) fn reconnected(connector: &str, purpose: &'static str) {
        if let Some(instruments) = installed() {
            let connector = KeyValue::new("connector", connector.to_owned());
            instruments.reconnects.add(1, &[connector, KeyValue::new("purpose", purpose)]);
        }
    }
    /// Counts lost leases.
    pub(crate) fn leases_lost(connector: &str, count: u64) {
        if let Some(instruments) = installed() {
            instruments.leases_lost.add(count, &[KeyValue::new("connector", connector.to_owned())]);
        }
    }
}
