//! Dead letters that the dead-letter connector did not take at once: each is tried again with growing pauses, apart
//! from the lanes, so that none holds up another transaction.
//!
//! A delivery whose dead letter waits stays unsettled, and takes no slot. The letter is dispatched again until the
//! connector takes it, or the run ends; then the delivery is given back to its source. A run that has nothing else left
//! to do gives up after [`ATTEMPTS`] attempts and ends with an error.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::attempt::{Attempts, Finished, Waits, far_future};
use super::clock::Alarm;
use super::consume::{RunGuard, RunState};
use super::delay::DelayQueue;
use super::life::is_stale;
use super::lived::{Completed, Failure, Letter};
use super::settle::{Settling, at};
use crate::connector::{ConnectorError, Disposition};
use crate::error::{Error, ErrorKind};
use crate::policy::RetryPolicy;
use crate::telemetry::event::{DeadLetterFailed, DeadLettersTaken, DeadLettersWait, DroppedStale, causes};
use crate::telemetry::traces::{Ending, Recording};
use crate::telemetry::{Scope, Undelivered};
use crate::transaction::{Transaction, TransactionError};

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
#[derive(Debug, Default)]
pub(super) struct DeadLetters {
    state: Mutex<State>,
    /// How many there are; read by lanes without the lock.
    count: AtomicUsize,
    /// Wakes the task that delivers: one was added.
    added: Notify,
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

/// A dead letter, before it is with those that wait.
#[derive(Debug)]
pub(super) struct Unsent {
    /// The transaction with the reason.
    letter: Transaction,
    attempts: u32,
    error: Option<TransactionError>,
    /// What is recorded of its transaction, if that is sampled; ended with the transaction.
    recording: Option<Box<Recording>>,
}

/// A dead letter that waits, and the delivery that is settled after it.
#[derive(Debug)]
struct Postponed {
    settling: Settling,
    unsent: Unsent,
}

/// An attempt to dispatch a letter: its number, what is recorded of the transaction, and how it ended.
type Attempt = BoxFuture<'static, (u64, Option<Box<Recording>>, Finished<()>)>;

impl Unsent {
    /// A letter that was not tried yet, because others wait before it.
    pub(super) fn new(letter: Transaction) -> Self {
        Self { letter, attempts: 0, error: None, recording: None }
    }

    /// A letter whose first attempt failed.
    pub(super) fn failed(letter: Transaction, error: TransactionError) -> Self {
        Self { letter, attempts: 1, error: Some(error), recording: None }
    }

    /// Keeps the recording of the transaction until its letter is delivered or given up.
    pub(super) fn record(&mut self, recording: Box<Recording>) {
        self.recording = Some(recording);
    }
}

impl DeadLetters {
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
    pub(super) fn left(&self) -> Vec<Settling> {
        let mut state = self.state();
        let State { waiting, under_way, given_up, .. } = &mut *state;
        let mut all = waiting.take_all();
        all.extend(under_way.drain(..).map(|(_, postponed)| postponed));
        all.append(given_up);
        self.count.store(0, Ordering::Relaxed);
        all.into_iter().map(|postponed| postponed.settling).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, run: &RunState, settling: Settling, unsent: Unsent) {
        let mut state = self.state();
        let now = Instant::now();
        let due = match &unsent.error {
            Some(error) => {
                let waits = self.count.load(Ordering::Relaxed).saturating_add(1);
                state.says(run, settling.transaction.id(), error, (waits, now));
                state.error = Some(error.clone());
                due_after(now, &unsent)
            }
            None => now,
        };
        state.waiting.push(due, Postponed { settling, unsent });
        self.count.fetch_add(1, Ordering::Relaxed);
        drop(state);
        self.added.notify_one();
    }

    /// Begins an attempt of the first letter that is due.
    fn begin(&self, run: &Arc<RunGuard>) -> Option<Attempt> {
        let mut state = self.state();
        let mut postponed = state.waiting.pop_due(Instant::now())?;
        state.number = state.number.wrapping_add(1);
        let number = state.number;
        let recording = postponed.unsent.recording.take();
        let attempt = attempt(Arc::clone(run), number, &postponed, recording);
        state.under_way.push((number, postponed));
        Some(attempt)
    }

    fn next_due(&self) -> Option<Instant> {
        self.state().waiting.next_due()
    }

    /// Takes a letter out whose attempt has ended.
    fn ended(&self, number: u64, recording: Option<Box<Recording>>) -> Option<Postponed> {
        let mut state = self.state();
        let at = state.under_way.iter().position(|(other, _)| *other == number)?;
        let (_, mut postponed) = state.under_way.swap_remove(at);
        postponed.unsent.recording = recording;
        Some(postponed)
    }

    /// Takes in that one more attempt failed: the letter waits for the next one, or is given up.
    fn failed(&self, run: &RunState, mut postponed: Postponed, error: TransactionError) {
        let unsent = &mut postponed.unsent;
        unsent.attempts = unsent.attempts.saturating_add(1);
        let gives_up = is_tried_enough(unsent.attempts, &error) && run.slots.has_only_letters();
        let (count, now) = (self.count.load(Ordering::Relaxed), Instant::now());
        let mut state = self.state();
        state.says(run, postponed.settling.transaction.id(), &error, (count, now));
        state.error = Some(error.clone());
        unsent.error = Some(error);
        if gives_up {
            state.given_up.push(postponed);
        } else {
            let due = due_after(now, unsent);
            run.terms.meters.backs_off("dead_letter", due.saturating_duration_since(now));
            state.waiting.push(due, postponed);
        }
    }

    /// Has those that were tried often enough tried at once, for the last time: nothing else is left to do.
    fn hasten(&self) {
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

    /// Why the run cannot go on: nothing is left but letters that were given up. If there is something to do again,
    /// they wait with the others.
    fn undeliverable(&self, run: &RunState) -> Option<Error> {
        let mut state = self.state();
        if state.given_up.is_empty() {
            return None;
        }
        if !run.slots.has_only_letters() {
            let now = Instant::now();
            for postponed in std::mem::take(&mut state.given_up) {
                state.waiting.push(due_after(now, &postponed.unsent), postponed);
            }
            return None;
        }
        let all = state.given_up.len() == self.count.load(Ordering::Relaxed);
        all.then(|| undeliverable(run, &state))
    }

    /// Takes out those that wait, because no further attempt is to begin.
    fn take_waiting(&self) -> Vec<Postponed> {
        let mut state = self.state();
        let mut all = std::mem::take(&mut state.given_up);
        all.extend(state.waiting.take_all());
        all
    }

    /// Takes in that one is delivered or given back; `delivered` says which.
    fn leaves(&self, run: &RunState, delivered: bool) {
        if self.count.fetch_sub(1, Ordering::Relaxed) > 1 {
            return;
        }
        let mut state = self.state();
        state.error = None;
        if state.said.take().is_some() && delivered {
            DeadLettersTaken { task: run.task }.emit();
        }
    }
}

impl State {
    /// Says in the log that dead letters wait, unless it was said not long ago.
    fn says(&mut self, run: &RunState, id: &str, error: &TransactionError, (count, now): (usize, Instant)) {
        let after = match self.said {
            None => SAID_AGAIN_AFTER,
            Some((next, after)) if next <= now => after.saturating_mul(2).min(SAID_AT_LEAST_EVERY),
            Some(_) => return,
        };
        self.said = Some((now.checked_add(after).unwrap_or_else(far_future), after));
        DeadLettersWait { task: run.task, transaction_id: id, waiting: count, error }.emit();
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

fn undeliverable(run: &RunState, state: &State) -> Error {
    let count = state.given_up.len();
    let place = run.terms.dead_letter.as_ref().map(ToString::to_string).unwrap_or_default();
    let error = state.error.as_ref().map(ToString::to_string).unwrap_or_default();
    let transactions = match (count, state.given_up.first()) {
        (1, Some(only)) => format!("transaction {} was", only.settling.transaction.id()),
        _ => format!("{count} transactions were"),
    };
    let message = format!("dead letters to {place}: {error}; {transactions} given back");
    Error::new(ErrorKind::Connector, message).with_hint(
        "see why the connector does not take them; what was given back comes again in the next run",
    )
}

/// Dispatches a letter once.
fn attempt(
    run: Arc<RunGuard>,
    number: u64,
    postponed: &Postponed,
    mut recording: Option<Box<Recording>>,
) -> Attempt {
    let letter = postponed.unsent.letter.clone();
    let mut scope = postponed.settling.lived.failure.as_ref().and_then(|failure| failure.scope.clone());
    if let (Some(scope), Some(recording)) = (&mut scope, recording.as_deref()) {
        scope.stand_at(recording.context());
    }
    if postponed.unsent.attempts > 0
        && let Some(error) = &postponed.unsent.error
    {
        run.terms.meters.retried("dead_letter", error.category());
    }
    let stale = is_stale(&run.terms, postponed.settling.receipt.as_ref());
    Box::pin(async move {
        let Some(output) = run.terms.dead_letter.as_ref().filter(|_| !stale) else {
            return (number, recording, Finished::Interrupted);
        };
        let mut attempts = Attempts {
            policy: &APART,
            name: "dead_letter",
            scope: &mut scope,
            recording: recording.as_deref_mut(),
            deadline: None,
            waits: Waits::Unless(&run.terms.drain),
            alarm: &mut Alarm::default(),
            meters: &run.terms.meters,
            made: 0,
        };
        let ended = attempts.run(&mut || output.dispatch(letter.clone())).await;
        if matches!(ended, Finished::Done(())) {
            run.terms.meters.attempted("dead_letter", None);
        }
        (number, recording, ended)
    })
}

/// Puts the dead letter of a finished transaction with those that wait, if it was not taken at once; says whether it
/// did. If the run is ending, the delivery is given back instead.
pub(super) fn postpone(run: &RunState, settling: &mut Settling) -> bool {
    let Some(failure) = settling.lived.failure.as_mut() else { return false };
    let Letter::Waits(_) = &failure.letter else { return false };
    let (Letter::Waits(mut unsent), Some(letters)) =
        (std::mem::replace(&mut failure.letter, Letter::Refused), run.terms.postponed.as_deref())
    else {
        return false;
    };
    if !run.slots.postpone() {
        ends(settling, &mut unsent, Letter::Refused);
        says_refused(run, settling, &unsent);
        return false;
    }
    let whole = Settling {
        transaction: settling.transaction.clone(),
        receipt: settling.receipt.take(),
        lived: std::mem::replace(&mut settling.lived, Completed::aborted()),
    };
    letters.put(run, whole, *unsent);
    true
}

/// Dispatches the dead letters that wait, until no lane is left and none waits. When the run is to end, no further
/// attempt begins, and what waits is given back; attempts under way have the grace of the stop.
pub(super) async fn deliver(run: Arc<RunGuard>, lanes_ended: CancellationToken) {
    let Some(letters) = run.terms.postponed.as_deref() else { return };
    let most = run.terms.policy.concurrency;
    let mut attempts = FuturesUnordered::new();
    let mut known = 0;
    loop {
        let closing = run.slots.is_closing() || run.terms.drain.is_cancelled();
        if closing {
            letters.take_waiting().into_iter().for_each(|letter| hand_in(&run, letters, letter, false));
            if lanes_ended.is_cancelled() && run.slots.letters() == 0 {
                return;
            }
        } else {
            while attempts.len() < most
                && let Some(attempt) = letters.begin(&run)
            {
                attempts.push(attempt);
            }
            if let Some(error) = letters.undeliverable(&run) {
                run.slots.close(Some(error));
                continue;
            }
            if lanes_ended.is_cancelled() {
                return;
            }
        }
        let count = run.slots.letters();
        if count != known {
            known = count;
            run.input.postponed(count);
        }
        let due = if closing || attempts.len() >= most { None } else { letters.next_due() };
        tokio::select! {
            biased;
            () = run.abort.cancelled() => break,
            Some((number, recording, ended)) = attempts.next() => {
                let Some(letter) = letters.ended(number, recording) else { continue };
                match ended {
                    Finished::Done(()) => hand_in(&run, letters, letter, true),
                    Finished::Interrupted => hand_in(&run, letters, letter, false),
                    Finished::Failed(_) if is_stale(&run.terms, letter.settling.receipt.as_ref()) => {
                        hand_in(&run, letters, letter, false);
                    }
                    Finished::Failed(error) => letters.failed(&run, letter, error),
                }
            }
            () = letters.added.notified() => (),
            () = run.slots.alone.notified() => letters.hasten(),
            () = run.terms.drain.cancelled(), if !closing => (),
            () = lanes_ended.cancelled(), if !lanes_ended.is_cancelled() => (),
            () = at(due) => (),
        }
    }
    // What is under way is cancelled. Whether the other side took it is not known, so it comes again.
    drop(attempts);
    give_back_all(&run, letters).await;
}

/// Gives back the deliveries of all dead letters, also of those whose attempts were cancelled.
async fn give_back_all(run: &RunState, letters: &DeadLetters) {
    while run.slots.letters() > 0 {
        let numbers: Vec<_> = letters.state().under_way.iter().map(|(number, _)| *number).collect();
        let under_way: Vec<_> =
            numbers.into_iter().filter_map(|number| letters.ended(number, None)).collect();
        let waiting = letters.take_waiting();
        under_way.into_iter().chain(waiting).for_each(|letter| hand_in(run, letters, letter, false));
        if run.slots.letters() > 0 {
            // One that was counted is not put in yet.
            letters.added.notified().await;
        }
    }
}

/// Gives back what is left when what delivers has died: a defect of the engine.
pub(super) fn give_back(run: &RunState) {
    let left = run.terms.postponed.as_deref().map(DeadLetters::left).unwrap_or_default();
    for mut settling in left {
        settling.lived.disposition = Disposition::Requeue;
        run.slots.hand_in(settling);
    }
}

/// Hands a transaction to the settler: its dead letter is delivered, or it is given back.
fn hand_in(run: &RunState, letters: &DeadLetters, postponed: Postponed, delivered: bool) {
    let Postponed { mut settling, mut unsent } = postponed;
    ends(&mut settling, &mut unsent, if delivered { Letter::Taken } else { Letter::Refused });
    if !delivered && is_stale(&run.terms, settling.receipt.as_ref()) {
        DroppedStale { task: run.task, transaction_id: settling.transaction.id() }.emit();
        settling.lived = Completed::aborted();
    } else if !delivered {
        says_refused(run, &settling, &unsent);
    }
    letters.leaves(run, delivered);
    run.slots.hand_in(settling);
}

/// Writes down what became of the letter, and ends the recording of its transaction.
fn ends(settling: &mut Settling, unsent: &mut Unsent, letter: Letter) {
    let taken = matches!(letter, Letter::Taken);
    settling.lived.disposition = if taken { Disposition::Ack } else { Disposition::Requeue };
    let outcome = settling.lived.outcome.as_str();
    let Some(failure) = settling.lived.failure.as_deref_mut() else { return };
    let Failure { error, letter: became, .. } = failure;
    *became = letter;
    if let Some(recording) = unsent.recording.take() {
        let disposition = if taken { "dead_letter" } else { settling.lived.disposition.as_str() };
        recording.end(&Ending { outcome, disposition, error: Some(error) });
    }
}

fn says_refused(run: &RunState, settling: &Settling, unsent: &Unsent) {
    let Some(error) = &unsent.error else { return };
    let (task, transaction_id) = (run.task, settling.transaction.id());
    let mut scope = settling.lived.failure.as_ref().and_then(|failure| failure.scope.clone());
    Scope::enter(&mut scope, || DeadLetterFailed { task, transaction_id, error }.emit());
}
