//! How a consumer fetches, processes and settles.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;

use super::problem::{MOST_AT_ONCE, NO_TIME};
use super::{PolicyProblem, RetryPolicy};

/// How a consumer fetches, processes and settles its transactions.
///
/// ```
/// use ergon::policy::ConsumerPolicy;
///
/// let policy = ConsumerPolicy { concurrency: 8, batch_size: 100, ..ConsumerPolicy::DEFAULT };
/// assert!(policy.check().is_ok());
/// assert_eq!(ConsumerPolicy { concurrency: 0, ..policy }.check().unwrap_err().to_string(),
///     "`concurrency` must be at least 1");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ConsumerPolicy {
    /// How many transactions are in process, success and exception at once; from 1 to 100,000. Default 1: in order.
    pub concurrency: usize,
    /// How many deliveries one fetch may bring; at least 1. Default 1.
    pub batch_size: usize,
    /// How many deliveries may wait in the worker beyond its free slots. Default 0.
    pub prefetch: usize,
    /// Whether a batch ends before the next is fetched. Default: continuous.
    pub mode: Mode,
    /// Whether the run goes on when the source is empty. Default: it ends.
    pub streaming: bool,
    /// How many deliveries the run fetches at most. Default: no limit.
    pub limit: Option<u64>,
    /// How long the run may take. Default: no limit.
    pub timeout: Option<Duration>,
    /// How long process and success of one transaction may take together. Default 60 s.
    pub transaction_timeout: Option<Duration>,
    /// How long a streaming run waits when the source is empty.
    pub empty_queue: EmptyQueuePolicy,
    /// How a fetch is retried.
    pub fetch: RetryPolicy,
    /// How `process_transaction` is retried.
    pub process: RetryPolicy,
    /// How `handle_process_success` is retried.
    pub success: RetryPolicy,
    /// How `handle_process_exception` is retried.
    pub exception: RetryPolicy,
    /// The slot of the connector that is fetched from. Default: the first connector.
    pub from: Option<Cow<'static, str>>,
    /// The slot of the connector that takes rejected transactions. Default: the source's own reject.
    pub dead_letter: Option<Cow<'static, str>>,
    /// What becomes of a transaction whose exception handler failed. Default: requeue.
    pub on_handler_failure: OnHandlerFailure,
    /// How often a transaction may be delivered before it is rejected as poison; at least 1. Default 20.
    pub max_deliveries: u32,
    /// How long in-flight transactions may go on after a stop. Default 25 s.
    pub shutdown_grace: Duration,
}

impl ConsumerPolicy {
    /// The policy of a consumer that says nothing.
    pub const DEFAULT: Self = Self {
        concurrency: 1,
        batch_size: 1,
        prefetch: 0,
        mode: Mode::Continuous,
        streaming: false,
        limit: None,
        timeout: None,
        transaction_timeout: Some(Duration::from_secs(60)),
        empty_queue: EmptyQueuePolicy::DEFAULT,
        fetch: RetryPolicy::DEFAULT,
        process: RetryPolicy::DEFAULT,
        success: RetryPolicy::DEFAULT,
        exception: RetryPolicy::DEFAULT,
        from: None,
        dead_letter: None,
        on_handler_failure: OnHandlerFailure::Requeue,
        max_deliveries: 20,
        shutdown_grace: Duration::from_secs(25),
    };

    /// Says what makes this policy impossible, if anything does.
    ///
    /// # Errors
    /// The first rule that does not hold, with its key: `process.max_attempts`.
    pub fn check(&self) -> Result<(), PolicyProblem> {
        self.problems().next().map_or(Ok(()), Err)
    }

    /// All rules that do not hold.
    pub(super) fn problems(&self) -> impl Iterator<Item = PolicyProblem> + use<> {
        let counts = [
            ("concurrency", self.concurrency == 0),
            ("batch_size", self.batch_size == 0),
            ("max_deliveries", self.max_deliveries == 0),
        ];
        let steps = [
            ("fetch", self.fetch),
            ("process", self.process),
            ("success", self.success),
            ("exception", self.exception),
        ];
        let too_many = (self.concurrency > MOST_AT_ONCE)
            .then(|| PolicyProblem::new("concurrency", "must be at most 100000"));
        let limits = [("timeout", self.timeout), ("transaction_timeout", self.transaction_timeout)];
        let none = counts.into_iter().filter(|(_, none)| *none);
        let no_time = limits.into_iter().filter(|(_, limit)| limit.is_some_and(|limit| limit.is_zero()));
        let of_waits = self.empty_queue.problems().map(|problem| problem.within("empty_queue"));
        let of_steps = steps
            .into_iter()
            .flat_map(|(step, policy)| policy.problems().map(move |problem| problem.within(step)));
        none.map(|(key, _)| PolicyProblem::new(key, "must be at least 1"))
            .chain(too_many)
            .chain(no_time.map(|(key, _)| PolicyProblem::new(key, NO_TIME)))
            .chain(of_waits)
            .chain(of_steps)
    }
}

impl Default for ConsumerPolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Whether a batch ends before the next is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// A fetch brings more as soon as slots are free; a slow transaction holds back nobody else.
    #[default]
    Continuous,
    /// A batch ends, every one of it settled, before the next is fetched.
    Batch,
}

/// What becomes of a transaction whose exception handler failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnHandlerFailure {
    /// It is given back and handed out again, up to `max_deliveries` times.
    #[default]
    Requeue,
    /// It is refused: to the dead-letter connector if one is named, else the source's own reject.
    Reject,
}

/// How long a streaming consumer waits when the source is empty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EmptyQueuePolicy {
    /// The first wait. Default 100 ms.
    pub backoff: Duration,
    /// What each further wait is multiplied by, until something is fetched; at least 1. Default 2.
    pub backoff_multiplier: f64,
    /// The longest wait. Default 5 s.
    pub backoff_cap: Duration,
}

impl EmptyQueuePolicy {
    /// 100 ms, doubled up to 5 s.
    pub const DEFAULT: Self = Self {
        backoff: Duration::from_millis(100),
        backoff_multiplier: 2.0,
        backoff_cap: Duration::from_secs(5),
    };

    /// The wait after the `n`-th empty fetch in a row, from 1.
    pub fn wait_after(&self, n: u32) -> Duration {
        self.as_retry().wait_after(n, None)
    }

    fn problems(&self) -> impl Iterator<Item = PolicyProblem> + use<> {
        let rule = "must be more than 0: the source would be asked without pause";
        let no_pause = self.backoff.is_zero().then(|| PolicyProblem::new("backoff", rule));
        no_pause.into_iter().chain(self.as_retry().problems())
    }

    fn as_retry(&self) -> RetryPolicy {
        RetryPolicy {
            backoff: self.backoff,
            backoff_multiplier: self.backoff_multiplier,
            backoff_cap: Some(self.backoff_cap),
            ..RetryPolicy::DEFAULT
        }
    }
}

impl Default for EmptyQueuePolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_problem_names_the_whole_key() {
        let process = RetryPolicy { max_attempts: 0, ..RetryPolicy::DEFAULT };
        let policy = ConsumerPolicy { process, ..ConsumerPolicy::DEFAULT };
        assert_eq!(policy.check().unwrap_err().to_string(), "`process.max_attempts` must be at least 1");
    }

    #[test]
    fn no_more_at_once_than_there_can_be_lanes() {
        let policy = ConsumerPolicy { concurrency: 100_001, ..ConsumerPolicy::DEFAULT };
        assert_eq!(policy.check().unwrap_err().to_string(), "`concurrency` must be at most 100000");
    }

    #[test]
    fn an_empty_source_is_asked_twice_a_second_at_most_after_the_first_second() {
        let policy = EmptyQueuePolicy::DEFAULT;
        let waits: Vec<_> = (1..=8).map(|n| policy.wait_after(n).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }
}
