//! How a producer pulls, prepares and hands on.

use std::borrow::Cow;
use std::time::Duration;

use super::{ConsumerPolicy, OnHandlerFailure, PolicyProblem, RetryPolicy};

/// How a producer pulls its stream, prepares each transaction and hands it on.
///
/// ```
/// use ergon::policy::ProducerPolicy;
///
/// let policy = ProducerPolicy { concurrency: 4, limit: Some(1000), ..ProducerPolicy::DEFAULT };
/// assert!(policy.check().is_ok());
/// assert_eq!(ProducerPolicy { batch_size: 0, ..policy }.check().unwrap_err().to_string(),
///     "`batch_size` must be at least 1");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ProducerPolicy {
    /// How many transactions are in prepare, success and exception at once; at least 1. Default 1: in order.
    pub concurrency: usize,
    /// How many transactions are pulled from the stream at once, and how many of those that are dispatched one by one
    /// at the same time may go to the sink in one call; at least 1. Default 1.
    pub batch_size: usize,
    /// How many transactions are pulled at most. Default: no limit.
    pub limit: Option<u64>,
    /// How long the run may take. Default: no limit.
    pub timeout: Option<Duration>,
    /// How long prepare and success of one transaction may take together. Default 60 s.
    pub transaction_timeout: Option<Duration>,
    /// How `prepare_transaction` is retried.
    pub prepare: RetryPolicy,
    /// How `handle_prepare_success` is retried.
    pub success: RetryPolicy,
    /// How `handle_prepare_exception` is retried.
    pub exception: RetryPolicy,
    /// The slot of the connector that takes rejected transactions. Default: they are listed in the run's summary.
    pub dead_letter: Option<Cow<'static, str>>,
    /// What becomes of a transaction whose exception handler failed. Default: requeue.
    pub on_handler_failure: OnHandlerFailure,
    /// How often a transaction may be tried in a run before it is rejected as poison; at least 1. Default 20.
    pub max_deliveries: u32,
    /// How long in-flight transactions may go on after a stop. Default 25 s.
    pub shutdown_grace: Duration,
}

impl ProducerPolicy {
    /// The policy of a producer that says nothing.
    pub const DEFAULT: Self = Self {
        concurrency: 1,
        batch_size: 1,
        limit: None,
        timeout: None,
        transaction_timeout: Some(Duration::from_secs(60)),
        prepare: RetryPolicy::DEFAULT,
        success: RetryPolicy::DEFAULT,
        exception: RetryPolicy::DEFAULT,
        dead_letter: None,
        on_handler_failure: OnHandlerFailure::Requeue,
        max_deliveries: 20,
        shutdown_grace: Duration::from_secs(25),
    };

    /// Says what makes this policy impossible, if anything does.
    ///
    /// # Errors
    /// The first rule that does not hold, with its key: `prepare.max_attempts`.
    pub fn check(&self) -> Result<(), PolicyProblem> {
        self.problems().next().map_or(Ok(()), Err)
    }

    /// All rules that do not hold.
    pub(super) fn problems(&self) -> impl Iterator<Item = PolicyProblem> + use<> {
        let named = |problem: PolicyProblem| match problem.key().strip_prefix("process.") {
            Some(key) => PolicyProblem::of(format!("prepare.{key}"), problem.rule()),
            None => problem,
        };
        self.to_loop().problems().map(named)
    }

    /// The policy of the loop that runs it: its stream is the source, its `prepare` the loop's `process`.
    pub(crate) fn to_loop(&self) -> ConsumerPolicy {
        ConsumerPolicy {
            concurrency: self.concurrency,
            batch_size: self.batch_size,
            limit: self.limit,
            timeout: self.timeout,
            transaction_timeout: self.transaction_timeout,
            process: self.prepare,
            success: self.success,
            exception: self.exception,
            dead_letter: self.dead_letter.clone(),
            on_handler_failure: self.on_handler_failure,
            max_deliveries: self.max_deliveries,
            shutdown_grace: self.shutdown_grace,
            ..ConsumerPolicy::DEFAULT
        }
    }
}

impl Default for ProducerPolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_problem_names_the_producers_own_key() {
        let prepare = RetryPolicy { max_attempts: 0, ..RetryPolicy::DEFAULT };
        let policy = ProducerPolicy { prepare, ..ProducerPolicy::DEFAULT };
        assert_eq!(policy.check().unwrap_err().to_string(), "`prepare.max_attempts` must be at least 1");
    }
}
