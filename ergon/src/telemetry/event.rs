//! What happens in a run, as data: one struct for each event, one `emit` for each struct, so that log line, span and
//! metric cannot drift apart.

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
    let mut line = said(error);
    let mut next = error.source();
    while let Some(cause) = next {
        line.push_str(": ");
        line.push_str(&said(cause));
        next = cause.source();
    }
    line
}

/// What an error says of itself; one of the task's own may panic at that.
fn said(error: &(dyn std::error::Error + 'static)) -> String {
    let said = std::panic::catch_unwind(AssertUnwindSafe(|| error.to_string()));
    said.unwrap_or_else(|_| "an error that panics when it is shown".to_owned())
}

/// A run begins.
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
    /// What was attempted.
    pub(crate) name: &'a str,
    pub(crate) scope: Option<&'a Scope>,
    pub(crate) attempt: u32,
    pub(crate) max_attempts: u32,
    pub(crate) error: &'a TransactionError,
    /// How long until the next attempt; none if this was the last.
    pub(crate) wait: Option<Duration>,
    /// Whether it is an attempt of the engine's, and not of a call with retries of its own.
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
        // What a handler calls with retries of its own is not an attempt of its step, whose ids stand in the line. One
        // call that fails for good is one warning: that of the step that it fails, or its own outside of any.
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

/// A transaction went the exception way and its handler decided.
pub(crate) struct TransactionFailed<'a> {
    pub(crate) task: &'static str,
    pub(crate) transaction: &'a Transaction,
    pub(crate) error: &'a TransactionError,
    pub(crate) disposition: &'static str,
}

impl TransactionFailed<'_> {
    /// A business error is an ordinary outcome, and dead-lettered or in the summary; anything else is a warning.
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

/// The dead-letter connector did not take a transaction.
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
            "the dead-letter connector did not take the transaction; it is given back to its source"
        );
    }
}

/// A failed transaction is dropped, because its source has lost hold of it and hands it out again.
pub(crate) struct DroppedStale<'a> {
    pub(crate) task: &'static str,
    pub(crate) transaction_id: &'a str,
}

impl DroppedStale<'_> {
    pub(crate) fn emit(self) {
        let Self { task, transaction_id } = self;
        debug!(task, transaction_id, "stale delivery dropped, the source hands it out again");
    }
}

/// Dead letters wait because the dead-letter connector does not take them; said again after pauses that grow.
pub(crate) struct DeadLettersWait<'a> {
    pub(crate) task: &'static str,
    /// The transaction whose letter failed last.
    pub(crate) transaction_id: &'a str,
    /// How many wait.
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
            "dead letters wait: the dead-letter connector does not take them; they are tried again with growing pauses"
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
            "no dead letter waits any more: the dead-letter connector has taken the last one"
        );
    }
}

/// A handler kept its thread for too long, and with it the other transactions of that thread.
pub(crate) struct ThreadBlocked<'a> {
    pub(crate) task: &'static str,
    /// The step, or what else of the task was running.
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
            "the handler blocked its thread, so other transactions had to wait; make the task `blocking`, or move what \
             blocks into `ergon::spawn_blocking`; this is said once for each task"
        );
    }
}

/// The run is over, and not all that a producer's stream had made by then was produced.
pub(crate) struct LeftUnproduced<'a> {
    pub(crate) task: &'static str,
    pub(crate) count: u64,
    /// Of as many as are known.
    pub(crate) ids: &'a [String],
}

impl LeftUnproduced<'_> {
    pub(crate) fn emit(self) {
        /// A line has its limits.
        const NAMED: usize = 100;
        let Self { task, count, ids } = self;
        let named = ids.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        warn!(task, count, ids = named, "the run ended before all that the stream had made was produced");
    }
}

/// A fetch brought deliveries, or none.
pub(crate) struct Fetched<'a> {
    pub(crate) task: &'static str,
    pub(crate) count: usize,
    /// When the source was asked, if anybody measures.
    pub(crate) asked_at: Option<Instant>,
    pub(crate) meters: &'a Meters,
}

impl Fetched<'_> {
    pub(crate) fn emit(self) {
        self.meters.fetched(self.count, self.asked_at);
        trace!(task = self.task, count = self.count, "fetched");
    }
}

/// A fetch failed, all its attempts used up.
pub(crate) struct FetchFailed<'a> {
    pub(crate) task: &'static str,
    pub(crate) error: &'a Error,
    /// How long until the source is asked again; none if this ends the run.
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

/// A sink lost a part of its buffer; the deliveries that it belongs to are given back.
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

/// The source did not take a settlement, or nobody knows whether it did; it will hand the delivery out again.
pub(crate) struct Unsettled<'a> {
    pub(crate) task: &'static str,
    pub(crate) transaction_id: &'a str,
    pub(crate) disposition: &'static str,
    /// Whether it may have been taken after all.
    pub(crate) unknown: bool,
    pub(crate) error: &'a str,
    pub(crate) meters: &'a Meters,
}

impl Unsettled<'_> {
    pub(crate) fn emit(self) {
        let Self { task, transaction_id, disposition, unknown, error, meters } = self;
        meters.unsettled(disposition, unknown);
        let result = if unknown { "unknown" } else { "not settled" };
        warn!(task, transaction_id, disposition, result, error, "settlement failed, expect a redelivery");
    }
}

/// A lane of the engine itself ended by a panic; what it held is given back.
pub(crate) struct LaneDied<'a> {
    pub(crate) task: &'static str,
    pub(crate) error: &'a str,
}

impl LaneDied<'_> {
    pub(crate) fn emit(self) {
        error!(task = self.task, error = self.error, "a lane of the engine died; its delivery is given back");
    }
}

/// A run is told to stop.
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
            "stopping, in-flight work is finished"
        );
    }
}

/// Several workers each make all that a producer makes.
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
            "each worker makes the whole stream; share it by `Shard::current()`, or set `workers = 1`"
        );
    }
}

/// Some of what was to be seen could not be exported.
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
        warn!(target: "ergon::telemetry", signal, count, reason, "telemetry was lost; the work goes on");
    }
}
