//! What a run adds up to: counts, times, and why it ended.

mod pattern;
mod reasons;
mod wire;

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use self::reasons::Reasons;
use super::Step;
use crate::error::Error;
use crate::transaction::Category;

/// How many of the rejected transactions a [`Tally`] remembers by name.
const REMEMBERED: usize = 10;

/// What a run has done so far.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Tally {
    /// Deliveries that were fetched.
    pub fetched: u64,
    /// Transactions that came to an outcome: succeeded, or their exception handler decided, or that failed.
    pub processed: u64,
    /// Transactions whose success handler ended well.
    pub succeeded: u64,
    /// Transactions that went the exception way, by the category of the error that sent them there.
    pub failed: FailedByCategory,
    /// Failed transactions whose disposition was `reject`: they went to the dead-letter connector, or the source rejected
    /// them.
    pub rejected: u64,
    /// Dead letters that the dead-letter connector took, whether or not the source knows that their transactions are
    /// done. One whose settlement is not known to the source may come, and be dead-lettered, again.
    pub dead_lettered: u64,
    /// Transactions whose dead letter the dead-letter connector did not take; they were given back.
    #[serde(default)]
    pub undelivered: u64,
    /// Transactions whose exception handler failed.
    pub handler_failures: u64,
    /// Attempts after the first one, of any step.
    pub retries: u64,
    /// Calls that were made again after they had failed: requests of a service, functions under `run_fn`. They are no
    /// attempts of a step.
    pub call_retries: u64,
    /// Deliveries whose disposition was `requeue` or `retry_after`: the exception handler or the policy returned them, to
    /// be delivered again.
    pub requeued: u64,
    /// Deliveries that the engine returned to the source, unprocessed or cut short, because the run stopped or ended; and
    /// those whose dead letter was not delivered.
    #[serde(default)]
    pub given_back: u64,
    /// Deliveries whose settlement the source did not take, or may not have taken; it will hand them out again.
    pub unknown: u64,
    /// Outbound transactions of a hybrid that went through.
    pub produced: u64,
    /// Threads whose blocking handler exceeded a limit and has not returned since.
    pub abandoned_threads: u64,
    /// The first few rejected transactions.
    pub rejections: Vec<Rejection>,
    reasons: Reasons,
    process: StepTimes,
    prepare: StepTimes,
    success: StepTimes,
    exception: StepTimes,
}

/// How many transactions failed, by category.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedByCategory {
    /// The transaction itself was wrong.
    pub business: u64,
    /// Something around it failed.
    pub system: u64,
    /// A time limit ran out.
    pub timeout: u64,
}

impl FailedByCategory {
    /// Counts one.
    pub(crate) fn add(&mut self, category: Category) {
        match category {
            Category::Business => self.business += 1,
            Category::System => self.system += 1,
            Category::Timeout => self.timeout += 1,
        }
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.business + self.system + self.timeout
    }
}

/// A transaction that was rejected, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The transaction's id.
    pub id: String,
    /// The category of its error.
    pub category: Category,
    /// The error's message.
    pub message: String,
}

impl Tally {
    /// Records how long a step took, all its attempts and waits included.
    pub(crate) fn record(&mut self, step: Step, elapsed: Duration) {
        self.times_mut(step).record(elapsed);
    }

    /// Counts a rejected transaction and its reason; the first few are remembered.
    pub(crate) fn reject(&mut self, rejection: impl FnOnce() -> Rejection) {
        let rejection = rejection();
        self.rejected += 1;
        self.reasons.add(&rejection.message);
        if self.rejections.len() < REMEMBERED {
            self.rejections.push(rejection);
        }
    }

    /// Adds what another loop of the same run came to.
    pub(crate) fn add(&mut self, other: &Self) {
        let sums = [
            (&mut self.fetched, other.fetched),
            (&mut self.requeued, other.requeued),
            (&mut self.given_back, other.given_back),
            (&mut self.processed, other.processed),
            (&mut self.succeeded, other.succeeded),
            (&mut self.failed.business, other.failed.business),
            (&mut self.failed.system, other.failed.system),
            (&mut self.failed.timeout, other.failed.timeout),
            (&mut self.rejected, other.rejected),
            (&mut self.undelivered, other.undelivered),
            (&mut self.handler_failures, other.handler_failures),
            (&mut self.call_retries, other.call_retries),
            (&mut self.unknown, other.unknown),
            (&mut self.produced, other.produced),
        ];
        for (sum, figure) in sums {
            *sum += figure;
        }
        self.add_outbound(other);
        self.abandoned_threads = self.abandoned_threads.max(other.abandoned_threads);
    }

    /// Adds what the outbound transactions of a hybrid came to, beside what they mean for the inbound ones.
    pub(crate) fn add_outbound(&mut self, outbound: &Self) {
        self.retries += outbound.retries;
        self.dead_lettered += outbound.dead_lettered;
        let room = REMEMBERED.saturating_sub(self.rejections.len());
        self.rejections.extend(outbound.rejections.iter().take(room).cloned());
        for step in Step::ALL {
            self.times_mut(step).add(outbound.times(step));
        }
        self.reasons.add_all(&outbound.reasons);
    }

    /// The reasons that transactions were rejected for, the most frequent first, and how often each came up. Messages
    /// that differ only in ids, numbers and quoted values are one reason, shown with `…` in their places; one that was
    /// the same each time is shown as it was. Of a message the first 200 bytes count.
    pub fn reasons(&self) -> Vec<(&str, u64)> {
        self.reasons.by_frequency()
    }

    /// Whether the counts of the reasons are exact. Beyond 512 different reasons they are lower bounds, each off by less
    /// than a 512th of all.
    pub fn reasons_are_exact(&self) -> bool {
        self.reasons.are_exact()
    }

    /// How long a step took.
    pub fn times(&self, step: Step) -> &StepTimes {
        match step {
            Step::Process => &self.process,
            Step::Prepare => &self.prepare,
            Step::Success => &self.success,
            Step::Exception => &self.exception,
        }
    }

    fn times_mut(&mut self, step: Step) -> &mut StepTimes {
        match step {
            Step::Process => &mut self.process,
            Step::Prepare => &mut self.prepare,
            Step::Success => &mut self.success,
            Step::Exception => &mut self.exception,
        }
    }
}

/// How long a step took, over all transactions; exact to two digits.
#[derive(Clone)]
pub struct StepTimes(Histogram<u64>);

impl StepTimes {
    fn add(&mut self, other: &Self) {
        // Both have the same bounds, so nothing is out of range.
        let _ = self.0.add(&other.0);
    }

    fn record(&mut self, elapsed: Duration) {
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        self.0.saturating_record(nanos);
    }

    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time that a share of them (0 to 1) did not exceed: 0.5 is the median.
    pub fn quantile(&self, share: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(share))
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.0.max())
    }
}

impl Default for StepTimes {
    fn default() -> Self {
        // From 1 ns to an hour; the bounds are constant and valid, so this cannot fail.
        #[expect(clippy::expect_used, reason = "constant, valid bounds")]
        let histogram = Histogram::new_with_bounds(1, 3_600_000_000_000, 2).expect("valid bounds");
        Self(histogram)
    }
}

impl fmt::Debug for StepTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StepTimes({} recorded)", self.count())
    }
}

/// Dead letters that wait because the dead-letter connector does not take them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Undelivered {
    pub(crate) count: usize,
    /// Why the last attempt failed; empty if none of those that wait was tried yet.
    pub(crate) error: String,
}

/// What a run came to.
#[derive(Debug)]
#[non_exhaustive]
pub struct RunReport {
    /// The task's name.
    pub task: String,
    /// What it did.
    pub tally: Tally,
    /// How long it took.
    pub elapsed: Duration,
    /// Why it ended.
    pub ended: Ended,
}

impl RunReport {
    pub(crate) fn new(task: impl Into<String>, tally: Tally, elapsed: Duration, ended: Ended) -> Self {
        Self { task: task.into(), tally, elapsed, ended }
    }
}

/// Why a run ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum Ended {
    /// The source had no more.
    SourceEmpty,
    /// As many were fetched as `limit` allows.
    LimitReached,
    /// It was told to stop; how many deliveries were given back, begun or not.
    Stopped {
        /// Deliveries that were given back; of a producer, what its stream had made and was not produced.
        given_back: u64,
    },
    /// Its time limit ran out with nothing left to do.
    TimeLimit,
    /// Its own `execute` returned.
    Finished,
    /// It could not go on.
    Failed(Error),
}

/// What one transaction came to, outside of a loop.
#[derive(Debug)]
#[non_exhaustive]
pub struct SingleReport {
    /// The transaction's id.
    pub id: String,
    /// The output of the process step, where it can be shown.
    pub output: Option<serde_json::Value>,
    /// The error that ended the process or success step, if one did.
    pub error: Option<crate::transaction::TransactionError>,
    /// What becomes of the transaction (`ack`, `reject`, …); none in a dry run.
    pub disposition: Option<&'static str>,
    /// The steps that ran, in order.
    pub steps: Vec<StepReport>,
}

/// How one step of a single transaction went.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StepReport {
    /// The step.
    pub step: Step,
    /// How many attempts it took.
    pub attempts: u32,
    /// How long it took, waits included.
    pub elapsed: Duration,
    /// The last attempt's error, if it failed.
    pub error: Option<String>,
}

/// Why a transaction was given back that was begun.
pub(crate) const GIVEN_BACK: &str = "it was told to stop before it came to its end";

impl SingleReport {
    pub(crate) fn new(id: &str) -> Self {
        Self { id: id.to_owned(), output: None, error: None, disposition: None, steps: Vec::new() }
    }

    /// Tells of a transaction that was given back in the middle of a step.
    pub(crate) fn given_back(id: &str) -> Self {
        let error = Some(crate::transaction::TransactionError::system(GIVEN_BACK));
        Self { error, disposition: Some("requeue"), ..Self::new(id) }
    }

    /// Says whether the transaction succeeded; one that failed and was handled did not.
    pub fn succeeded(&self) -> bool {
        self.error.is_none()
    }
}

impl StepReport {
    pub(crate) fn new(step: Step, attempts: u32, elapsed: Duration, error: Option<String>) -> Self {
        Self { step, attempts, elapsed, error }
    }
}
