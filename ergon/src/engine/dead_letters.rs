//! The dead letters of a loop that wait for their next attempt.
//!
//! A delivery whose dead letter waits stays unsettled, and takes no slot.

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

/// How the dead-letter connector is tried again where no loop does it apart from the transaction: one transaction by
/// hand, the outbound ones of a hybrid.
pub(super) const IN_PLACE: RetryPolicy = RetryPolicy {
    max_attempts: ATTEMPTS,
    timeout: Some(Duration::from_secs(30)),
    backoff: Duration::from_millis(200),
    backoff_cap: Some(Duration::from_secs(5)),
    jitter: 0.2,
    ..RetryPolicy::DEFAULT
};

/// How a dead letter of a loop is tried: one attempt at a time, then a pause of up to half a minute.
pub(super) const APART: RetryPolicy =
    RetryPolicy { max_attempts: 1, backoff_cap: Some(Duration::from_secs(30)), ..IN_PLACE };

/// How often a dead letter is tried at least before a run that has nothing else left to do gives it up.
const ATTEMPTS: u32 = 5;

/// The log says that dead letters wait at once, then after this time, then after twice as long, …
const SAID_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// … but at least as often as this.
const SAID_AT_LEAST_EVERY: Duration = Duration::from_secs(600);

/// The dead letters of one loop that wait for their next attempt.
#[derive(Debug)]
pub(super) struct DeadLetters {
    task: &'static str,
    state: Mutex<State>,
    /// How many there are; read by lanes without the lock.
    count: AtomicUsize,
    /// Wakes the task that delivers: one was added.
    pub(super) added: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: DelayQueue<Postponed>,
    /// Those whose attempt is under way, by number.
    under_way: Vec<(u64, Postponed)>,
    /// Those that have had their attempts, in a run that has nothing else left to do.
    given_up: Vec<Postponed>,
    /// The number of the latest attempt.
    number: u64,
    /// Why the last attempt that failed did.
    error: Option<TransactionError>,
    /// When the log says it again, and after how long the next time; none while nothing failed.
    said: Option<(Instant, Duration)>,
}

/// A dead letter that waits, and the delivery that is settled after it.
#[derive(Debug)]
pub(super) struct Postponed {
    pub(super) finished: Finished,
    pub(super) unsent: Unsent,
}

/// A dead letter whose attempt begins.
#[derive(Debug)]
pub(super) struct Due {
    /// Stands for the letter until its attempt has ended.
    pub(super) number: u64,
    pub(super) letter: Transaction,
    /// Where its transaction failed.
    pub(super) scope: Option<Scope>,
    pub(super) recording: Option<Box<Recording>>,
    /// The error of the attempt before, if there was one.
    pub(super) retries: Option<Category>,
    /// Whether the source has lost hold of the delivery.
    pub(super) stale: bool,
}

impl DeadLetters {
    pub(super) fn of(task: &'static str) -> Self {
        Self { task, state: Mutex::default(), count: AtomicUsize::new(0), added: Notify::new() }
    }

    /// Whether any dead letter waits. Those that come later do not take the time of a lane then: the connector may
    /// hang.
    pub(super) fn any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// How many wait, and why; for those who look at the run.
    pub(super) fn look(&self) -> Option<Undelivered> {
        let count = self.count.load(Ordering::Relaxed);
        let error = self.state().error.as_ref().map(|error| causes(error)).unwrap_or_default();
        (count > 0).then_some(Undelivered { count, error })
    }

    /// Takes out everything, to be given back when no task works on the loop any more.
    pub(super) fn left(&self) -> Vec<Finished> {
        let mut state = self.state();
        let State { waiting, under_way, given_up, .. } = &mut *state;
        let mut all = waiting.take_all();
        all.extend(under_way.drain(..).map(|(_, postponed)| postponed));
        all.append(given_up);
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
                state.says(self.task, finished.transaction.id(), error, (waits, now));
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

    /// Begins an attempt of the first letter that is due; `is_stale` says whether the source has lost hold of a
    /// delivery.
    pub(super) fn begin(&self, is_stale: impl Fn(&Finished) -> bool) -> Option<Due> {
        let mut state = self.state();
        let mut postponed = state.waiting.pop_due(Instant::now())?;
        state.number = state.number.wrapping_add(1);
        let Postponed { finished, unsent } = &mut postponed;
        let retries = unsent.error.as_ref().filter(|_| unsent.attempts > 0).map(TransactionError::category);
        let due = Due {
            number: state.number,
            letter: unsent.letter.clone(),
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

    /// Takes a letter out whose attempt has ended.
    pub(super) fn ended(&self, number: u64, recording: Option<Box<Recording>>) -> Option<Postponed> {
        let mut state = self.state();
        let at = state.under_way.iter().position(|(other, _)| *other == number)?;
        let (_, mut postponed) = state.under_way.swap_remove(at);
        postponed.unsent.recording = recording;
        Some(postponed)
    }

    /// Takes in that one more attempt failed: the letter waits for the next one, and for how long is returned, or the
    /// letter is given up, if `alone` says that nothing else is left to do.
    pub(super) fn failed(
        &self,
        mut postponed: Postponed,
        error: TransactionError,
        alone: bool,
    ) -> Option<Duration> {
        let unsent = &mut postponed.unsent;
        unsent.attempts = unsent.attempts.saturating_add(1);
        let gives_up = alone && is_tried_enough(unsent.attempts, &error);
        let (count, now) = (self.count.load(Ordering::Relaxed), Instant::now());
        let mut state = self.state();
        state.says(self.task, postponed.finished.transaction.id(), &error, (count, now));
        state.error = Some(error.clone());
        unsent.error = Some(error);
        if gives_up {
            state.given_up.push(postponed);
            return None;
        }
        let due = due_after(now, unsent);
        state.waiting.push(due, postponed);
        Some(due.saturating_duration_since(now))
    }

    /// Has those that were tried often enough tried at once, for the last time: nothing else is left to do.
    pub(super) fn hasten(&self) {
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

    /// Why the run cannot go on: nothing is left but letters to `place` that were given up. If there is something to do
    /// again, which `alone` says, they wait with the others.
    pub(super) fn undeliverable(
        &self,
        place: &dyn Fn() -> String,
        alone: impl Fn() -> bool,
    ) -> Option<Error> {
        let mut state = self.state();
        if state.given_up.is_empty() {
            return None;
        }
        if !alone() {
            let now = Instant::now();
            for postponed in std::mem::take(&mut state.given_up) {
                state.waiting.push(due_after(now, &postponed.unsent), postponed);
            }
            return None;
        }
        let all = state.given_up.len() == self.count.load(Ordering::Relaxed);
        all.then(|| undeliverable(&place(), &state))
    }

    /// The numbers of the letters whose attempt is under way.
    pub(super) fn under_way(&self) -> Vec<u64> {
        self.state().under_way.iter().map(|(number, _)| *number).collect()
    }

    /// Takes out those that wait, because no further attempt is to begin.
    pub(super) fn take_waiting(&self) -> Vec<Postponed> {
        let mut state = self.state();
        let mut all = std::mem::take(&mut state.given_up);
        all.extend(state.waiting.take_all());
        all
    }

    /// Takes in that one is delivered or given back; `delivered` says which.
    pub(super) fn leaves(&self, delivered: bool) {
        if self.count.fetch_sub(1, Ordering::Relaxed) > 1 {
            return;
        }
        let mut state = self.state();
        state.error = None;
        if state.said.take().is_some() && delivered {
            DeadLettersTaken { task: self.task }.emit();
        }
    }
}

impl State {
    /// Says in the log that dead letters wait, unless it was said not long ago.
    fn says(
        &mut self,
        task: &'static str,
        id: &str,
        error: &TransactionError,
        (count, now): (usize, Instant),
    ) {
        let after = match self.said {
            None => SAID_AGAIN_AFTER,
            Some((next, after)) if next <= now => after.saturating_mul(2).min(SAID_AT_LEAST_EVERY),
            Some(_) => return,
        };
        self.said = Some((now.checked_add(after).unwrap_or_else(far_future), after));
        DeadLettersWait { task, transaction_id: id, waiting: count, error }.emit();
    }
}

/// When a letter is to be tried again.
fn due_after(now: Instant, unsent: &Unsent) -> Instant {
    let asked_for = unsent.error.as_ref().and_then(TransactionError::retry_after);
    let wait = APART.jittered_wait_after(unsent.attempts, asked_for, fastrand::f64());
    now.checked_add(wait).unwrap_or_else(far_future)
}

/// Whether nothing is gained by a further attempt, as far as anybody can know.
fn is_tried_enough(attempts: u32, error: &TransactionError) -> bool {
    attempts >= ATTEMPTS || error.downcast_ref::<ConnectorError>().is_some_and(ConnectorError::is_permanent)
}

fn undeliverable(place: &str, state: &State) -> Error {
    let count = state.given_up.len();
    let error = state.error.as_ref().map(ToString::to_string).unwrap_or_default();
    let transactions = match (count, state.given_up.first()) {
        (1, Some(only)) => format!("transaction {} was", only.finished.transaction.id()),
        _ => format!("{count} transactions were"),
    };
    let message = format!("dead letters to {place}: {error}; {transactions} given back");
    Error::new(ErrorKind::Connector, message).with_hint(
        "see why the connector does not take them; what was given back comes again in the next run",
    )
}
