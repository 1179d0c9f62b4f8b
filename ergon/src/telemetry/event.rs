//! Defines the events of a run: one struct for each event, and one `emit` for each struct, so that log line, span and metric
//! cannot drift apart.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, error, info, trace, warn};

use super::calls::Calls;
use super::metrics::Meters;
use super::{Scope, Step, payloads};
use crate::error::Error;
use crate::transaction::{Category, Transaction, TransactionError};

/// The causes of an error, from the nearest, as one line.
pub(crate) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = message(error);
    let mut next = error.source();
    while let Some(cause) = next {
        line.push_str(": ");
        line.push_str(&message(cause));
        next = cause.source();
    }
    line
}

/// The message of an error. The `Display` of a task's own error may panic.
fn message(error: &(dyn std::error::Error + 'static)) -> String {
    let message = std::panic::catch_unwind(AssertUnwindSafe(|| error.to_string()));
    message.unwrap_or_else(|_| "an error whose `Display` panicked".to_owned())
}

/// A run started.
pub(crate) struct RunStarted {
    pub(crate) task: &'static str,
    pub(crate) concurrency: usize,
    pub(crate) batch_size: usize,
    pub(crate) streaming: bool,
}

impl RunStarted {
    pub(crate) fn emit(self) {
        let Self { task, concurrency, batch_size, streaming } = self;
        debug!(task, concurrency, batch_size, streaming, "run started");
    }
}

/// An attempt of a step failed.
pub(crate) struct AttemptFailed<'a> {
    /// The name of the step or the call.
    pub(crate) name: &'a str,
    pub(crate) scope: Option<&'a Scope>,
    pub(crate) attempt: u32,
    pub(crate) max_attempts: u32,
    pub(crate) error: &'a TransactionError,
    /// The time until the next attempt; none after the last attempt.
    pub(crate) wait: Option<Duration>,
    /// Whether it is an attempt of a step, and not of a call with its own retries.
    pub(crate) is_step: bool,
    pub(crate) meters: &'a Meters,
}

impl AttemptFailed<'_> {
    pub(crate) fn emit(self) {
        let Self { name, scope, attempt, max_attempts, error, wait, is_step, meters } = self;
        meters.attempted(name, Some(error.category()));
        if let Some(wait) = wait {
            meters.backs_off(name, wait);
        }
        let (category, task) = (error.category().as_str(), scope.map(|scope| scope.task));
        let transaction_id = scope.map(|scope| scope.transaction_id.as_str());
        // A call with its own retries is not an attempt of the step whose ids are in the line. A call that fails finally
        // is one warning: that of the step that it fails, or its own outside of a step.
        if !is_step {
            let wait_ms = wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
            let (call, tried, most) = (name, attempt, max_attempts);
            let cause = causes(error);
            match wait_ms {
                Some(wait_ms) => {
                    Calls::retried(error.category());
                    debug!(
                        call,
                        tried,
                        most,
                        category,
                        wait_ms,
                        error = cause,
                        "call failed, will be tried again"
                    );
                }
                None if tried > 1 && !Calls::is_counted() => {
                    warn!(call, tried, most, category, error = cause, "call failed");
                }
                None => debug!(call, tried, most, category, error = cause, "call failed"),
            }
            return;
        }
        match wait {
            Some(wait) => warn!(
                task,
                transaction_id,
                step = name,
                attempt,
                max_attempts,
                category,
                wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                error = causes(error),
                "attempt failed, will be tried again"
            ),
            None => debug!(
                task,
                transaction_id,
                step = name,
                attempt,
                max_attempts,
                category,
                error = causes(error),
                "attempt failed"
            ),
        }
    }
}

/// A transaction failed, and its exception handler or its policy decided the disposition.
pub(crate) struct TransactionFailed<'a> {
    pub(crate) task: &'static str,
    pub(crate) transaction: &'a Transaction,
    pub(crate) error: &'a TransactionError,
    pub(crate) disposition: &'static str,
}

impl TransactionFailed<'_> {
    /// Logs at `debug` for a business error, which is an ordinary outcome, and as a warning for any other error.
    pub(crate) fn emit(self) {
        let Self { task, transaction, error, disposition } = self;
        let (category, transaction_id) = (error.category(), transaction.id());
        let (payload, error) = (payloads::shown(transaction.payload()), causes(error));
        if category == Category::Business {
            debug!(task, transaction_id, %category, disposition, error, payload, "transaction failed");
        } else {
            warn!(task, transaction_id, %category, disposition, error, payload, "transaction failed");
        }
    }
}

/// The exception handler of a transaction failed.
pub(crate) struct HandlerFailed<'a> {
    pub(crate) task: &'static str,
    pub(crate) transaction_id: &'a str,
    pub(crate) error: &'a TransactionError,
    pub(crate) disposition: &'static str,
}

impl HandlerFailed<'_> {
    pub(crate) fn emit(self) {
        let Self { task, transaction_id, error, disposition } = self;
        let step = Step::Exception.as_str();
        error!(task, transaction_id, step, disposition, error = causes(error), "exception handler failed");
    }
}

/// The dead-letter connector did not accept a transaction.
pub(crate) struct DeadLetterFailed<'a> {
    pub(crate) task: &'static str,
    pub(crate) transaction_id: &'a str,
    pub(crate) error: &'a TransactionError,
}

impl DeadLetterFailed<'_> {
    pub(crate) fn emit(self) {
        let Self { task, transaction_id, error } = self;
        error!(
            task,
            transaction_id,
            error = causes(error),
            "the dead-letter connector did not accept the transaction; it is given back to its source"
        );
    }
}

/// A failed transaction is dropped, because its receipt is stale and its source delivers it again.
pub(crate) struct DroppedStale<'a> {
    pub(crate) task: &'static str,
    pub(crate) transaction_id: &'a str,
}

impl DroppedStale<'_> {
    pub(crate) fn emit(self) {
        let Self { task, transaction_id } = self;
        debug!(task, transaction_id, "stale delivery dropped, the source delivers it again");
    }
}

/// Dead letters wait because the dead-letter connector does not accept them. The event repeats after growing pauses.
pub(crate) struct DeadLettersWait<'a> {
    pub(crate) task: &'static str,
    /// The transaction whose dead letter failed last.
    pub(crate) transaction_id: &'a str,
    /// The number of waiting dead letters.
    pub(crate) waiting: usize,
    pub(crate) error: &'a TransactionError,
}

impl DeadLettersWait<'_> {
    pub(crate) fn emit(self) {
        let Self { task, transaction_id, waiting, error } = self;
        warn!(
            task,
            transaction_id,
            waiting,
            error = causes(error),
            "dead letters wait: the dead-letter connector does not accept them; they are tried again with growing pauses"
        );
    }
}

/// No dead letter waits any more: the last one was delivered.
pub(crate) struct DeadLettersTaken {
    pub(crate) task: &'static str,
}

impl DeadLettersTaken {
    pub(crate) fn emit(self) {
        info!(
            task = self.task,
            "no dead letter waits any more: the dead-letter connector accepted the last one"
        );
    }
}

/// A handler blocked its thread for too long, and with it the other transactions on that thread.
pub(crate) struct ThreadBlocked<'a> {
    pub(crate) task: &'static str,
    /// The step, or the other code of the task that was running.
    pub(crate) step: &'a str,
    pub(crate) took: Duration,
}

impl ThreadBlocked<'_> {
    pub(crate) fn emit(self) {
        let Self { task, step, took } = self;
        let blocked_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        warn!(
            task,
            step,
            blocked_ms,
            "the handler blocked its thread, so other transactions had to wait; make the task `blocking`, or move the \
             blocking code into `ergon::spawn_blocking`; this line is logged once for each task"
        );
    }
}

/// The run ended before all transactions that a producer's stream had yielded were produced.
pub(crate) struct LeftUnproduced<'a> {
    pub(crate) task: &'static str,
    pub(crate) count: u64,
    /// The known ids among them.
    pub(crate) ids: &'a [String],
}

impl LeftUnproduced<'_> {
    pub(crate) fn emit(self) {
        /// The number of ids in the line, because a log line must not become too long.
        const NAMED: usize = 100;
        let Self { task, count, ids } = self;
        let named = ids.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        warn!(task, count, ids = named, "the run ended before all transactions of the stream were produced");
    }
}

/// A fetch returned deliveries, or none.
pub(crate) struct Fetched<'a> {
    pub(crate) task: &'static str,
    pub(crate) count: usize,
    /// The start of the fetch, if metrics are recorded.
    pub(crate) asked_at: Option<Instant>,
    pub(crate) meters: &'a Meters,
}

impl Fetched<'_> {
    pub(crate) fn emit(self) {
        self.meters.fetched(self.count, self.asked_at);
        trace!(task = self.task, count = self.count, "fetched");
    }
}

/// A fetch failed, after all its attempts.
pub(crate) struct FetchFailed<'a> {
    pub(crate) task: &'static str,
    pub(crate) error: &'a Error,
    /// The time until the next fetch; none if the run ends.
    pub(crate) wait: Option<Duration>,
}

impl FetchFailed<'_> {
    pub(crate) fn emit(self) {
        let Self { task, error, wait } = self;
        let wait_ms = wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        match wait_ms {
            Some(wait_ms) => warn!(task, wait_ms, error = causes(error), "fetch failed, will be tried again"),
            None => debug!(task, error = causes(error), "fetch failed, the run ends"),
        }
    }
}

/// A sink lost a part of its buffer. The deliveries of that part are given back.
pub(crate) struct FlushFailed<'a> {
    pub(crate) task: &'static str,
    pub(crate) error: &'a (dyn std::error::Error + 'static),
}

impl FlushFailed<'_> {
    pub(crate) fn emit(self) {
        let Self { task, error } = self;
        warn!(task, error = causes(error), "buffered dispatches were lost; their deliveries are given back");
    }
}

/// The source did not confirm a settlement, or its result is unknown. The source may deliver the transaction again.
pub(crate) struct Unsettled<'a> {
    pub(crate) task: &'static str,
    pub(crate) transaction_id: &'a str,
    pub(crate) disposition: &'static str,
    /// Whether the source may have recorded it after all.
    pub(crate) unknown: bool,
    pub(crate) error: &'a str,
    pub(crate) meters: &'a Meters,
}

impl Unsettled<'_> {
    pub(crate) fn emit(self) {
        let Self { task, transaction_id, disposition, unknown, error, meters } = self;
        meters.unsettled(disposition, unknown);
        let result = if unknown { "unknown" } else { "not_done" };
        warn!(task, transaction_id, disposition, result, error, "settlement failed, expect a redelivery");
    }
}

/// A lane of the engine panicked; its delivery is given back.
pub(crate) struct LaneDied<'a> {
    pub(crate) task: &'static str,
    pub(crate) error: &'a str,
}

impl LaneDied<'_> {
    pub(crate) fn emit(self) {
        error!(
            task = self.task,
            error = self.error,
            "a lane of the engine panicked; its delivery is given back"
        );
    }
}

/// A run starts to stop.
pub(crate) struct Stopping {
    pub(crate) task: &'static str,
    pub(crate) in_flight: usize,
    pub(crate) grace: Duration,
}

impl Stopping {
    pub(crate) fn emit(self) {
        let grace_ms = u64::try_from(self.grace.as_millis()).unwrap_or(u64::MAX);
        debug!(
            task = self.task,
            in_flight = self.in_flight,
            grace_ms,
            "stopping, transactions in flight may finish"
        );
    }
}

/// Each of several workers produces the whole stream of a producer.
pub(crate) struct MadeByAll {
    pub(crate) task: &'static str,
    pub(crate) workers: usize,
}

impl MadeByAll {
    pub(crate) fn emit(self) {
        let Self { task, workers } = self;
        warn!(
            task,
            workers,
            "each worker produces the whole stream; divide it by `Shard::current()`, or set `workers = 1`"
        );
    }
}

/// Some telemetry could not be exported.
#[cfg(feature = "opentelemetry")]
pub(crate) struct TelemetryLost<'a> {
    /// `spans`, `log lines` or `metrics`.
    pub(crate) signal: &'static str,
    pub(crate) count: u64,
    pub(crate) reason: &'a str,
}

#[cfg(feature = "opentelemetry")]
impl TelemetryLost<'_> {
    pub(crate) fn emit(self) {
        let Self { signal, count, reason } = self;
        warn!(target: "ergon::telemetry", signal, count, reason, "telemetry was lost; transactions are not affected");
    }
}
