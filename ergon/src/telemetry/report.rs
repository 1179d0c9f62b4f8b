//! Reports on runs: their figures, their times, and the reason why they ended.

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

/// The number of rejected transactions that a [`Tally`] keeps with id and message.
const REMEMBERED: usize = 10;

/// The figures of a run, as the summary prints them.
///
/// ```
/// # use ergon::prelude::*;
/// # use ergon::testing::{self, Script};
/// # #[ergon::task(connectors(input), consumer())]
/// # struct Check;
/// # impl Consumer for Check {
/// #     type Payload = u32;
/// #     type Output = ();
/// #     async fn process_transaction(&self, number: &Transaction<u32>) -> Result<()> {
/// #         if *number.payload() == 0 { Err(TransactionError::business("the number is 0")) } else { Ok(()) }
/// #     }
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let input = Script::new();
/// input.push_json("a", &1);
/// input.push_json("b", &0);
/// let tally = testing::run(Check::config(CheckWiring { input })).await?.tally;
/// assert_eq!((tally.processed, tally.succeeded, tally.failed.business, tally.rejected), (2, 1, 1, 1));
/// assert_eq!(tally.rejections[0].message, "the number is 0");
/// # Ok::<(), ergon::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Tally {
    /// Deliveries that the source handed to the engine.
    pub fetched: u64,
    /// Transactions whose processing reached an outcome and whose settlement the source confirmed.
    pub processed: u64,
    /// Processed transactions whose success step completed.
    pub succeeded: u64,
    /// Processed transactions whose process or success step failed after its retries, by the category of the error.
    pub failed: FailedByCategory,
    /// Failed transactions whose disposition was `reject`: they went to the dead-letter connector, or the source rejected
    /// them.
    pub rejected: u64,
    /// Rejected transactions that the dead-letter connector accepted. A transaction whose settlement the source could not
    /// confirm is counted here too; the source may deliver it again, and it may be dead-lettered again.
    pub dead_lettered: u64,
    /// Transactions whose dead letter the dead-letter connector did not accept; they were given back.
    #[serde(default)]
    pub undelivered: u64,
    /// Transactions whose exception handler failed.
    pub handler_failures: u64,
    /// Attempts after the first one, of any step.
    pub retries: u64,
    /// Retries of calls: requests of a service, functions under `run_fn`. They are not attempts of a step.
    pub call_retries: u64,
    /// Deliveries whose disposition was `requeue` or `retry_after`: the exception handler or the policy returned them, to
    /// be delivered again.
    pub requeued: u64,
    /// Deliveries that the engine returned to the source, unprocessed or cut short, because the run stopped or ended; and
    /// those whose dead letter was not delivered.
    #[serde(default)]
    pub given_back: u64,
    /// Deliveries whose settlement the source could not confirm. The source may deliver them again.
    pub unknown: u64,
    /// Outbound transactions of a hybrid that succeeded.
    pub produced: u64,
    /// Threads whose blocking handler exceeded its time limit and has not returned.
    pub abandoned_threads: u64,
    /// The first few rejected transactions.
    pub rejections: Vec<Rejection>,
    reasons: Reasons,
    process: StepTimes,
    prepare: StepTimes,
    success: StepTimes,
    exception: StepTimes,
}

/// The number of failed transactions, by the category of their error.
///
/// ```
/// use ergon::telemetry::FailedByCategory;
///
/// assert_eq!(FailedByCategory { business: 2, system: 0, timeout: 1 }.total(), 3);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedByCategory {
    /// Business errors: the transaction itself is invalid.
    pub business: u64,
    /// System errors: something that the transaction needs failed.
    pub system: u64,
    /// Timeouts: a time limit ran out.
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

    /// Returns the sum of all categories.
    pub fn total(&self) -> u64 {
        self.business + self.system + self.timeout
    }
}

/// A rejected transaction with its error.
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
    /// Records the time of a step, including all its attempts and waits.
    pub(crate) fn record(&mut self, step: Step, elapsed: Duration) {
        self.times_mut(step).record(elapsed);
    }

    /// Counts a rejected transaction and its reason, and keeps the first few.
    pub(crate) fn reject(&mut self, rejection: impl FnOnce() -> Rejection) {
        let rejection = rejection();
        self.rejected += 1;
        self.reasons.add(&rejection.message);
        if self.rejections.len() < REMEMBERED {
            self.rejections.push(rejection);
        }
    }

    /// Adds the figures of another loop of the same run.
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

    /// Adds the figures of the outbound transactions of a hybrid that are not figures of the inbound transactions.
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

    /// Returns the reasons of the rejected transactions with their counts, the most frequent first.
    ///
    /// Messages that differ only in ids, numbers and quoted values are one reason, with `…` in the place of each
    /// difference. Only the first 200 bytes of a message are compared.
    pub fn reasons(&self) -> Vec<(&str, u64)> {
        self.reasons.by_frequency()
    }

    /// Returns whether the counts of the reasons are exact. Beyond 512 different reasons they are lower bounds, and each
    /// misses less than a 512th of all rejections.
    pub fn reasons_are_exact(&self) -> bool {
        self.reasons.are_exact()
    }

    /// Returns the times of a step.
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

/// The times of a step over all transactions, exact to two digits.
///
/// ```
/// use ergon::telemetry::{Step, Tally};
///
/// let tally = Tally::default();
/// let times = tally.times(Step::Process);
/// assert_eq!((times.count(), times.max().as_secs()), (0, 0));
/// ```
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

    /// Returns the number of recorded times.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Returns the time that a share (0 to 1) of the recorded times did not exceed: 0.5 is the median.
    pub fn quantile(&self, share: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(share))
    }

    /// Returns the longest time.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.0.max())
    }
}

impl Default for StepTimes {
    fn default() -> Self {
        // From 1 ns to an hour. The bounds are constant and valid, so this cannot fail.
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

/// Dead letters that wait because the dead-letter connector does not accept them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Undelivered {
    pub(crate) count: usize,
    /// The error of the last attempt; empty if none of the waiting dead letters was tried yet.
    pub(crate) error: String,
}

/// The report on a finished run.
///
/// ```
/// # use ergon::prelude::*;
/// # use ergon::testing::{self, Script};
/// # #[ergon::task(connectors(input), consumer())]
/// # struct Check;
/// # impl Consumer for Check {
/// #     type Payload = u32;
/// #     type Output = ();
/// #     async fn process_transaction(&self, _: &Transaction<u32>) -> Result<()> { Ok(()) }
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use ergon::telemetry::Ended;
///
/// let input = Script::new();
/// input.push_json("a", &1);
/// let report = testing::run(Check::config(CheckWiring { input })).await?;
/// assert!(matches!(report.ended, Ended::SourceEmpty));
/// assert_eq!((report.task.as_str(), report.tally.succeeded), ("check", 1));
/// # Ok::<(), ergon::Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct RunReport {
    /// The task's name.
    pub task: String,
    /// The figures of the run.
    pub tally: Tally,
    /// The duration of the run.
    pub elapsed: Duration,
    /// The reason why it ended.
    pub ended: Ended,
}

impl RunReport {
    pub(crate) fn new(task: impl Into<String>, tally: Tally, elapsed: Duration, ended: Ended) -> Self {
        Self { task: task.into(), tally, elapsed, ended }
    }
}

/// The reason why a run ended.
///
/// ```
/// use ergon::telemetry::Ended;
///
/// fn is_complete(ended: &Ended) -> bool {
///     matches!(ended, Ended::SourceEmpty | Ended::LimitReached | Ended::Finished)
/// }
/// assert!(is_complete(&Ended::SourceEmpty) && !is_complete(&Ended::TimeLimit));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Ended {
    /// The source is empty.
    SourceEmpty,
    /// The run fetched as many transactions as `limit` allows.
    LimitReached,
    /// The run was stopped.
    Stopped {
        /// Deliveries that were given back; of a producer, transactions of its stream that were not produced.
        given_back: u64,
    },
    /// The time limit of the run ran out, with nothing left to do.
    TimeLimit,
    /// The task's own `execute` returned.
    Finished,
    /// The run failed.
    Failed(Error),
}

/// The report on one transaction that was processed outside of a run.
///
/// ```
/// # use ergon::prelude::*;
/// # use ergon::testing::{self, Script};
/// # #[ergon::task(connectors(input), consumer())]
/// # struct Check;
/// # impl Consumer for Check {
/// #     type Payload = u32;
/// #     type Output = ();
/// #     async fn process_transaction(&self, _: &Transaction<u32>) -> Result<()> { Ok(()) }
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let config = Check::config(CheckWiring { input: Script::new() });
/// let report = testing::process(config, &1).await?;
/// assert!(report.succeeded());
/// assert_eq!((report.disposition, report.steps[0].attempts), (Some("ack"), 1));
/// # Ok::<(), ergon::Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct SingleReport {
    /// The transaction's id.
    pub id: String,
    /// The output of the process step, if it serializes.
    pub output: Option<serde_json::Value>,
    /// The error of the process or success step, if one failed.
    pub error: Option<crate::transaction::TransactionError>,
    /// The disposition (`ack`, `reject`, …); none in a dry run.
    pub disposition: Option<&'static str>,
    /// The steps that ran, in order.
    pub steps: Vec<StepReport>,
}

/// The report on one step of a single transaction.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StepReport {
    /// The step.
    pub step: Step,
    /// The number of attempts.
    pub attempts: u32,
    /// The time of the step, including waits.
    pub elapsed: Duration,
    /// The error of the last attempt, if the step failed.
    pub error: Option<String>,
}

/// The error of a transaction that was given back after it had started.
pub(crate) const GIVEN_BACK: &str = "the run was stopped before the transaction finished";

impl SingleReport {
    pub(crate) fn new(id: &str) -> Self {
        Self { id: id.to_owned(), output: None, error: None, disposition: None, steps: Vec::new() }
    }

    /// Reports a transaction that was given back during a step.
    pub(crate) fn given_back(id: &str) -> Self {
        let error = Some(crate::transaction::TransactionError::system(GIVEN_BACK));
        Self { error, disposition: Some("requeue"), ..Self::new(id) }
    }

    /// Returns whether the transaction succeeded. A failed transaction whose exception handler succeeded did not.
    pub fn succeeded(&self) -> bool {
        self.error.is_none()
    }
}

impl StepReport {
    pub(crate) fn new(step: Step, attempts: u32, elapsed: Duration, error: Option<String>) -> Self {
        Self { step, attempts, elapsed, error }
    }
}
