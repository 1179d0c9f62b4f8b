//! Holds the dead letters of a loop that wait for their next attempt.
//!
//! The delivery of a waiting dead letter stays unsettled, and takes no slot.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::attempt::far_future;
use super::completed::Unsent;
use super::delay_queue::DelayQueue;
use super::finished::Finished;
use crate::connector::ConnectorError;
use crate::error::{Error, ErrorKind};
use crate::policy::RetryPolicy;
use crate::telemetry::event::{DeadLettersTaken, DeadLettersWait, causes};
use crate::telemetry::traces::Recording;
use crate::telemetry::{Scope, Undelivered};
use crate::transaction::{Category, Transaction, TransactionError};

/// The retries of a dead letter in place: for a transaction that is processed by hand, and for the outbound
/// transactions of a hybrid. No redelivery retries these dead letters later.
pub(super) const IN_PLACE: RetryPolicy = RetryPolicy {
    max_attempts: ATTEMPTS,
    timeout: Some(Duration::from_secs(30)),
    backoff: Duration::from_millis(200),
    backoff_cap: Some(Duration::from_secs(5)),
    jitter: 0.2,
    ..RetryPolicy::DEFAULT
};

/// The retries of a dead letter of a loop: one attempt at a time, then a pause of up to half a minute. The redelivery
/// starts each attempt, and can do other work during the pause.
pub(super) const APART: RetryPolicy =
    RetryPolicy { max_attempts: 1, backoff_cap: Some(Duration::from_secs(30)), ..IN_PLACE };

/// The number of attempts before a run that has nothing else left to do gives the dead letter back.
const ATTEMPTS: u32 = 5;

/// The log reports waiting dead letters immediately, and again after this time. The time doubles after each report.
const LOGGED_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// The longest time between two reports.
const LOGGED_AT_LEAST_EVERY: Duration = Duration::from_secs(600);

/// The dead letters of one loop that wait for their next attempt.
#[derive(Debug)]
pub(super) struct DeadLetters {
    task: &'static str,
    state: Mutex<State>,
    /// The number of dead letters, which lanes read without the lock. Relaxed, because an old number is harmless: the
    /// lane only dispatches a dead letter itself, or leaves it to the redelivery.
    count: AtomicUsize,
    /// Wakes the redelivery, because a dead letter was added.
    pub(super) added: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: DelayQueue<Postponed>,
    /// Dead letters whose attempt is under way, by the number of the attempt.
    under_way: Vec<(u64, Postponed)>,
    /// Dead letters that have used up their attempts, in a run that has nothing else left to do.
    exhausted: Vec<Postponed>,
    /// The number of the latest attempt.
    number: u64,
    /// The error of the last attempt that failed.
    error: Option<TransactionError>,
    /// The time of the next log line, and the wait after it; `None` while no attempt has failed.
    logged: Option<(Instant, Duration)>,
}

/// A dead letter that waits, and the delivery that is settled after it.
#[derive(Debug)]
pub(super) struct Postponed {
    pub(super) finished: Finished,
    pub(super) unsent: Unsent,
}

/// A dead letter whose attempt starts.
#[derive(Debug)]
pub(super) struct Due {
    /// Identifies the dead letter until its attempt has ended.
    pub(super) number: u64,
    pub(super) dead_letter: Transaction,
    /// The scope in which its transaction failed.
    pub(super) scope: Option<Scope>,
    pub(super) recording: Option<Box<Recording>>,
    /// The category of the previous attempt's error, if there was a previous attempt.
    pub(super) retries: Option<Category>,
    /// Whether the source no longer holds the delivery.
    pub(super) stale: bool,
}

impl DeadLetters {
    pub(super) fn of(task: &'static str) -> Self {
        Self { task, state: Mutex::default(), count: AtomicUsize::new(0), added: Notify::new() }
    }

    /// Whether any dead letter waits. If so, further ones are not tried in their lane, because the connector may hang.
    pub(super) fn any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// The number of waiting dead letters, and the error, for the health of the process.
    pub(super) fn look(&self) -> Option<Undelivered> {
        let count = self.count.load(Ordering::Relaxed);
        let error = self.state().error.as_ref().map(|error| causes(error)).unwrap_or_default();
        (count > 0).then_some(Undelivered { count, error })
    }

    /// Takes out all dead letters. For a loop that no task works on any more.
    pub(super) fn left(&self) -> Vec<Finished> {
        let mut state = self.state();
        let State { waiting, under_way, exhausted, .. } = &mut *state;
        let mut all = waiting.take_all();
        all.extend(under_way.drain(..).map(|(_, postponed)| postponed));
        all.append(exhausted);
        self.count.store(0, Ordering::Relaxed);
        all.into_iter().map(|postponed| postponed.finished).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, finished: Finished, unsent: Unsent) {
        let mut state = self.state();
        let now = Instant::now();
        let due = match &unsent.error {
            Some(error) => {
                let waits = self.count.load(Ordering::Relaxed).saturating_add(1);
                state.log_waiting(self.task, finished.transaction.id(), error, (waits, now));
                state.error = Some(error.clone());
                due_after(now, &unsent)
            }
            None => now,
        };
        state.waiting.push(due, Postponed { finished, unsent });
        self.count.fetch_add(1, Ordering::Relaxed);
        drop(state);
        self.added.notify_one();
    }

    /// Starts an attempt of the first dead letter that is due. `is_stale` says whether the source no longer holds a
    /// delivery.
    pub(super) fn begin(&self, is_stale: impl Fn(&Finished) -> bool) -> Option<Due> {
        let mut state = self.state();
        let mut postponed = state.waiting.pop_due(Instant::now())?;
        state.number = state.number.wrapping_add(1);
        let Postponed { finished, unsent } = &mut postponed;
        let retries = unsent.error.as_ref().filter(|_| unsent.attempts > 0).map(TransactionError::category);
        let due = Due {
            number: state.number,
            dead_letter: unsent.dead_letter.clone(),
            scope: finished.completed.failure.as_ref().and_then(|failure| failure.scope.clone()),
            recording: unsent.recording.take(),
            retries,
            stale: is_stale(finished),
        };
        let number = state.number;
        state.under_way.push((number, postponed));
        Some(due)
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.state().waiting.next_due()
    }

    /// Takes out a dead letter whose attempt has ended.
    pub(super) fn ended(&self, number: u64, recording: Option<Box<Recording>>) -> Option<Postponed> {
        let mut state = self.state();
        let at = state.under_way.iter().position(|(other, _)| *other == number)?;
        let (_, mut postponed) = state.under_way.swap_remove(at);
        postponed.unsent.recording = recording;
        Some(postponed)
    }

    /// Records that an attempt failed. Returns the wait until the next attempt, or `None` if no attempt is left:
    /// `alone` says that nothing else is left to do.
    pub(super) fn failed(
        &self,
        mut postponed: Postponed,
        error: TransactionError,
        alone: bool,
    ) -> Option<Duration> {
        let unsent = &mut postponed.unsent;
        unsent.attempts = unsent.attempts.saturating_add(1);
        let is_exhausted = alone && is_tried_enough(unsent.attempts, &error);
        let (count, now) = (self.count.load(Ordering::Relaxed), Instant::now());
        let mut state = self.state();
        state.log_waiting(self.task, postponed.finished.transaction.id(), &error, (count, now));
        state.error = Some(error.clone());
        unsent.error = Some(error);
        if is_exhausted {
            state.exhausted.push(postponed);
            return None;
        }
        let due = due_after(now, unsent);
        state.waiting.push(due, postponed);
        Some(due.saturating_duration_since(now))
    }

    /// Makes the dead letters that have used up their attempts due now, for one last attempt, because nothing else is
    /// left to do.
    pub(super) fn retry_now(&self) {
        let mut state = self.state();
        let now = Instant::now();
        for postponed in state.waiting.take_all() {
            let tried_enough = match &postponed.unsent.error {
                Some(error) => is_tried_enough(postponed.unsent.attempts, error),
                None => true,
            };
            let due = if tried_enough { now } else { due_after(now, &postponed.unsent) };
            state.waiting.push(due, postponed);
        }
    }

    /// The error of a run in which only dead letters are left that have used up their attempts. `place` names the
    /// dead-letter connector. If there is work again, which `alone` says, the dead letters wait with the others.
    pub(super) fn undeliverable(
        &self,
        place: &dyn Fn() -> String,
        alone: impl Fn() -> bool,
    ) -> Option<Error> {
        let mut state = self.state();
        if state.exhausted.is_empty() {
            return None;
        }
        if !alone() {
            let now = Instant::now();
            for postponed in std::mem::take(&mut state.exhausted) {
                state.waiting.push(due_after(now, &postponed.unsent), postponed);
            }
            return None;
        }
        let all = state.exhausted.len() == self.count.load(Ordering::Relaxed);
        all.then(|| undeliverable(&place(), &state))
    }

    /// The numbers of the attempts under way.
    pub(super) fn under_way(&self) -> Vec<u64> {
        self.state().under_way.iter().map(|(number, _)| *number).collect()
    }

    /// Takes out the waiting dead letters, because no other attempt may start.
    pub(super) fn take_waiting(&self) -> Vec<Postponed> {
        let mut state = self.state();
        let mut all = std::mem::take(&mut state.exhausted);
        all.extend(state.waiting.take_all());
        all
    }

    /// Records that a dead letter was accepted, or that its delivery is given back.
    pub(super) fn remove(&self, delivered: bool) {
        if self.count.fetch_sub(1, Ordering::Relaxed) > 1 {
            return;
        }
        let mut state = self.state();
        state.error = None;
        if state.logged.take().is_some() && delivered {
            DeadLettersTaken { task: self.task }.emit();
        }
    }
}

impl State {
    /// Logs that dead letters wait, unless a log line reported it recently.
    fn log_waiting(
        &mut self,
        task: &'static str,
        id: &str,
        error: &TransactionError,
        (count, now): (usize, Instant),
    ) {
        let after = match self.logged {
            None => LOGGED_AGAIN_AFTER,
            Some((next, after)) if next <= now => after.saturating_mul(2).min(LOGGED_AT_LEAST_EVERY),
            Some(_) => return,
        };
        self.logged = Some((now.checked_add(after).unwrap_or_else(far_future), after));
        DeadLettersWait { task, transaction_id: id, waiting: count, error }.emit();
    }
}

/// The time of the next attempt.
fn due_after(now: Instant, unsent: &Unsent) -> Instant {
    let asked_for = unsent.error.as_ref().and_then(TransactionError::retry_after);
    let wait = APART.jittered_wait_after(unsent.attempts, asked_for, fastrand::f64());
    now.checked_add(wait).unwrap_or_else(far_future)
}

/// Whether another attempt is unlikely to succeed.
fn is_tried_enough(attempts: u32, error: &TransactionError) -> bool {
    attempts >= ATTEMPTS || error.downcast_ref::<ConnectorError>().is_some_and(ConnectorError::is_permanent)
}

fn undeliverable(place: &str, state: &State) -> Error {
    let count = state.exhausted.len();
    let error = state.error.as_ref().map(ToString::to_string).unwrap_or_default();
    let transactions = match (count, state.exhausted.first()) {
        (1, Some(only)) => format!("transaction {} was", only.finished.transaction.id()),
        _ => format!("{count} transactions were"),
    };
    let message = format!("dead letters to {place}: {error}; {transactions} given back");
    Error::new(ErrorKind::Connector, message).with_hint(
        "see why the connector does not accept them; the next run processes these transactions again",
    )
}
