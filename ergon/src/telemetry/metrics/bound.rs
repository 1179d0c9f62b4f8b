//! Binds the instruments of one loop to their labels, so that recording needs no lookup.

use std::sync::OnceLock;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundCounter, BoundHistogram};

use super::End;
use super::instruments::Instruments;
use crate::telemetry::Step;
use crate::transaction::Category;

/// The outcomes of transactions, steps and attempts, in the order of [`index`].
pub(super) const OUTCOMES: [&str; 5] = ["succeeded", "business", "system", "timeout", "interrupted"];

/// The outcomes of transactions and attempts: the first of the [`OUTCOMES`].
const FINAL_OUTCOMES: [&str; FINAL] = {
    let [succeeded, business, system, timeout, _] = OUTCOMES;
    [succeeded, business, system, timeout]
};

/// The settlements that are counted separately: the dispositions, and `given_back`, which the source sees as `requeue`.
pub(super) const DISPOSITIONS: [&str; SETTLED] = ["ack", "reject", "requeue", "retry_after", "given_back"];

/// The number of settlements that are counted separately.
pub(super) const SETTLED: usize = 5;

/// The number of outcomes of transactions and attempts.
pub(super) const FINAL: usize = 4;

/// The index of an outcome in the [`OUTCOMES`].
pub(super) const fn index(end: End) -> usize {
    match end {
        End::Succeeded => 0,
        End::Failed(Category::Business) => 1,
        End::Failed(Category::System) => 2,
        End::Failed(Category::Timeout) => 3,
        End::Interrupted => 4,
    }
}

/// The index of the outcome for the category of an error, or for success without an error.
pub(super) const fn outcome(failed: Option<Category>) -> usize {
    match failed {
        None => index(End::Succeeded),
        Some(category) => index(End::Failed(category)),
    }
}

/// The index of a step in [`Step::ALL`].
pub(super) const fn place(step: Step) -> usize {
    match step {
        Step::Process => 0,
        Step::Prepare => 1,
        Step::Success => 2,
        Step::Exception => 3,
    }
}

/// Instruments that differ in one label. Each is bound at its first use, so that no unused series exists.
#[derive(Debug)]
pub(super) struct Row<T, const N: usize>([OnceLock<T>; N]);

impl<T, const N: usize> Default for Row<T, N> {
    fn default() -> Self {
        Self([const { OnceLock::new() }; N])
    }
}

impl<T, const N: usize> Row<T, N> {
    /// The instrument at an index; none beyond the row.
    #[inline]
    pub(super) fn get(&self, place: usize, bind: impl FnOnce(&'static str) -> T) -> Option<&T> {
        let cell = self.0.get(place)?;
        let label = OUTCOMES.get(place)?;
        Some(cell.get_or_init(|| bind(label)))
    }
}

/// The instruments of one loop.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) task: &'static str,
    pub(super) instruments: &'static Instruments,
    /// Whether the transactions are outbound transactions of a hybrid, which are part of the outcome of an inbound one.
    pub(super) outbound: bool,
    /// In the order of the [`OUTCOMES`]. Bound from the start, so that the first transaction of an outcome is a change from 0.
    transactions: [BoundCounter<u64>; FINAL],
    durations: Row<BoundHistogram<f64>, FINAL>,
    steps: [Row<BoundHistogram<f64>, 5>; 4],
    attempts: [OnceLock<BoundCounter<u64>>; 4],
    /// In the order of the [`DISPOSITIONS`]. Bound from the start for the same reason.
    settlements: [BoundCounter<u64>; SETTLED],
    pub(super) dead_letters: BoundCounter<u64>,
    pub(super) queue_wait: BoundHistogram<f64>,
    pub(super) fetch: Fetch,
}

/// The instruments of the fetches of a loop.
#[derive(Debug)]
pub(super) struct Fetch {
    pub(super) duration: BoundHistogram<f64>,
    pub(super) batch_size: BoundHistogram<f64>,
    pub(super) empty: BoundCounter<u64>,
    pub(super) answered: BoundCounter<u64>,
}

impl Bound {
    pub(super) fn new(task: &'static str, instruments: &'static Instruments, outbound: bool) -> Self {
        let labels = [KeyValue::new("task", task)];
        Self {
            task,
            instruments,
            outbound,
            transactions: FINAL_OUTCOMES
                .map(|outcome| instruments.transactions.bind(&outcome_labels(outcome, task))),
            durations: Row::default(),
            steps: Default::default(),
            attempts: Default::default(),
            settlements: DISPOSITIONS.map(|disposition| {
                instruments.settlements.bind(&settlement_labels(disposition, "done", task))
            }),
            dead_letters: instruments.dead_letters.bind(&labels),
            queue_wait: instruments.queue_wait.bind(&labels),
            fetch: Fetch {
                duration: instruments.fetch_duration.bind(&labels),
                batch_size: instruments.fetch_batch_size.bind(&labels),
                empty: instruments.fetch_empty.bind(&labels),
                answered: instruments.attempts.bind(&attempt_labels("fetch", OUTCOMES[0], task)),
            },
        }
    }

    /// Counts transactions of one outcome.
    pub(super) fn count_transactions(&self, outcome: usize, count: u64) {
        if let Some(counter) = self.transactions.get(outcome) {
            counter.add(count);
        }
    }

    /// Records the duration of a transaction of one outcome.
    pub(super) fn transaction_took(&self, outcome: usize, seconds: f64) {
        let bind = |outcome| self.instruments.transaction_duration.bind(&outcome_labels(outcome, self.task));
        if let Some(histogram) = self.durations.get(outcome, bind) {
            histogram.record(seconds);
        }
    }

    /// Records the duration of a step with this end.
    pub(super) fn step_took(&self, step: Step, end: End, seconds: f64) {
        let bind =
            |outcome| self.instruments.step_duration.bind(&attempt_labels(step.as_str(), outcome, self.task));
        let row = self.steps.get(place(step));
        if let Some(histogram) = row.and_then(|row| row.get(index(end), bind)) {
            histogram.record(seconds);
        }
    }

    /// Counts successful attempts of a step.
    pub(super) fn count_attempts(&self, step: Step, count: u64) {
        let bind = || self.instruments.attempts.bind(&attempt_labels(step.as_str(), OUTCOMES[0], self.task));
        if let Some(counter) = self.attempts.get(place(step)) {
            counter.get_or_init(bind).add(count);
        }
    }

    /// Counts settlements that the source confirmed, of the kind at this index of the [`DISPOSITIONS`].
    pub(super) fn count_settled(&self, place: usize, count: u64) {
        if let Some(counter) = self.settlements.get(place) {
            counter.add(count);
        }
    }
}

fn outcome_labels(outcome: &'static str, task: &'static str) -> [KeyValue; 2] {
    [KeyValue::new("outcome", outcome), KeyValue::new("task", task)]
}

/// The labels of an attempt or a step.
pub(super) fn attempt_labels(step: &'static str, outcome: &'static str, task: &'static str) -> [KeyValue; 3] {
    [KeyValue::new("outcome", outcome), KeyValue::new("step", step), KeyValue::new("task", task)]
}

/// The labels of a settlement.
pub(super) fn settlement_labels(
    disposition: &'static str,
    result: &'static str,
    task: &'static str,
) -> [KeyValue; 3] {
    [KeyValue::new("disposition", disposition), KeyValue::new("result", result), KeyValue::new("task", task)]
}

/// The labels of a metric without an outcome.
pub(super) fn step_labels(step: &str, task: &'static str) -> [KeyValue; 2] {
    [KeyValue::new("step", known(step)), KeyValue::new("task", task)]
}

/// The label of a name: a step, `fetch` or `dead_letter`, and `other` for any other name.
pub(super) fn known(step: &str) -> &'static str {
    ["fetch", "process", "prepare", "success", "exception", "dead_letter"]
        .into_iter()
        .find(|known| *known == step)
        .unwrap_or("other")
}
