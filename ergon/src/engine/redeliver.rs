//! Dead letters that the dead-letter connector did not take at once: each is tried again with growing pauses, apart
//! from the lanes, so that none holds up another transaction.
//!
//! The letter is dispatched again until the connector takes it, or the run ends; then the delivery is given back to its
//! source. A run that has nothing else left to do gives up after a few attempts and ends with an error.

use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use super::attempt::{Attempts, StepResult, Waits, code};
use super::clock::{Alarm, at};
use super::completed::{Completed, Failure, Letter, Unsent};
use super::dead_letters::{APART, DeadLetters, Due, Postponed};
use super::finished::Finished;
use super::run_state::{RunGuard, RunState};
use crate::connector::Disposition;
use crate::telemetry::Scope;
use crate::telemetry::event::{DeadLetterFailed, DroppedStale};
use crate::telemetry::traces::{Ending, Recording};

/// An attempt to dispatch a letter: its number, what is recorded of the transaction, and how it ended.
type Attempt = BoxFuture<'static, (u64, Option<Box<Recording>>, StepResult)>;

/// Puts the dead letter of a finished transaction with those that wait, if it was not taken at once; says whether it
/// did. If the run is ending, the delivery is given back instead.
pub(super) fn postpone(run: &RunState, finished: &mut Finished) -> bool {
    let Some(failure) = finished.completed.failure.as_mut() else { return false };
    let Letter::Waits(_) = &failure.letter else { return false };
    let (Letter::Waits(mut unsent), Some(letters)) =
        (std::mem::replace(&mut failure.letter, Letter::Refused), run.context.postponed.as_deref())
    else {
        return false;
    };
    if !run.slots.postpone() {
        ends(finished, &mut unsent, Letter::Refused);
        says_refused(run, finished, &unsent);
        return false;
    }
    let whole = Finished {
        transaction: finished.transaction.clone(),
        receipt: finished.receipt.take(),
        completed: std::mem::replace(&mut finished.completed, Completed::aborted()),
        pushes: finished.pushes,
    };
    letters.put(whole, *unsent);
    true
}

/// Dispatches the dead letters that wait, until no lane is left and none waits. When the run is to end, no further
/// attempt begins, and what waits is given back; attempts under way have the grace of the stop.
pub(super) async fn redeliver(run: Arc<RunGuard>, lanes_ended: CancellationToken) {
    let Some(letters) = run.context.postponed.as_deref() else { return };
    let most = run.context.policy.concurrency;
    let mut attempts = FuturesUnordered::new();
    let mut known = 0;
    loop {
        let closing = run.slots.is_closing() || run.context.drain.is_cancelled();
        if closing {
            letters.take_waiting().into_iter().for_each(|letter| hand_in(&run, letters, letter, false));
            if lanes_ended.is_cancelled() && run.slots.letters() == 0 {
                return;
            }
        } else {
            while attempts.len() < most
                && let Some(due) = letters.begin(|finished| run.context.is_stale(finished.receipt.as_ref()))
            {
                attempts.push(attempt(Arc::clone(&run), due));
            }
            let place = || run.context.dead_letter.as_ref().map(ToString::to_string).unwrap_or_default();
            if let Some(error) = letters.undeliverable(&place, || run.slots.has_only_letters()) {
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
                attempted(&run, letters, letter, ended);
            }
            () = letters.added.notified() => (),
            () = run.slots.alone.notified() => letters.hasten(),
            () = run.context.drain.cancelled(), if !closing => (),
            () = lanes_ended.cancelled(), if !lanes_ended.is_cancelled() => (),
            () = at(due) => (),
        }
    }
    // What is under way is cancelled. Whether the other side took it is not known, so it comes again.
    drop(attempts);
    give_back_all(&run, letters).await;
}

/// Dispatches a letter once.
fn attempt(run: Arc<RunGuard>, due: Due) -> Attempt {
    let Due { number, letter, mut scope, mut recording, retries, stale } = due;
    if let (Some(scope), Some(recording)) = (&mut scope, recording.as_deref()) {
        scope.stand_at(recording.context());
    }
    if let Some(category) = retries {
        run.context.meters.retried("dead_letter", category);
    }
    Box::pin(async move {
        let Some(output) = run.context.dead_letter.as_ref().filter(|_| !stale) else {
            return (number, recording, StepResult::Interrupted);
        };
        let (waits, alarm) = (Waits::Unless(&run.context.drain), &mut Alarm::default());
        let mut attempts = Attempts {
            recording: recording.as_deref_mut(),
            meters: &run.context.meters,
            ..Attempts::new(&APART, "dead_letter", waits, &mut scope, alarm)
        };
        let mut running = pin!(None);
        let dispatch = || output.dispatch(letter.clone());
        let ended = attempts.run(&mut code(running.as_mut(), dispatch, &mut None)).await;
        if matches!(ended, StepResult::Done) {
            run.context.meters.attempted("dead_letter", None);
        }
        (number, recording, ended)
    })
}

/// Takes in how an attempt of a letter ended.
fn attempted(run: &RunState, letters: &DeadLetters, letter: Postponed, ended: StepResult) {
    match ended {
        StepResult::Done => hand_in(run, letters, letter, true),
        StepResult::Interrupted => hand_in(run, letters, letter, false),
        StepResult::Failed(_) if run.context.is_stale(letter.finished.receipt.as_ref()) => {
            hand_in(run, letters, letter, false);
        }
        StepResult::Failed(error) => {
            let wait = letters.failed(letter, error, run.slots.has_only_letters());
            if let Some(wait) = wait {
                run.context.meters.backs_off("dead_letter", wait);
            }
        }
    }
}

/// Gives back the deliveries of all dead letters, also of those whose attempts were cancelled.
async fn give_back_all(run: &RunState, letters: &DeadLetters) {
    while run.slots.letters() > 0 {
        let under_way: Vec<_> =
            letters.under_way().into_iter().filter_map(|number| letters.ended(number, None)).collect();
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
    let left = run.context.postponed.as_deref().map(DeadLetters::left).unwrap_or_default();
    for mut finished in left {
        finished.completed.disposition = Disposition::Requeue;
        run.slots.hand_in(finished);
    }
}

/// Hands a transaction to the settler: its dead letter is delivered, or it is given back.
fn hand_in(run: &RunState, letters: &DeadLetters, postponed: Postponed, delivered: bool) {
    let Postponed { mut finished, mut unsent } = postponed;
    ends(&mut finished, &mut unsent, if delivered { Letter::Taken } else { Letter::Refused });
    if !delivered && run.context.is_stale(finished.receipt.as_ref()) {
        DroppedStale { task: run.task, transaction_id: finished.transaction.id() }.emit();
        finished.completed = Completed::aborted();
    } else if !delivered {
        says_refused(run, &finished, &unsent);
    }
    letters.leaves(delivered);
    run.slots.hand_in(finished);
}

/// Writes down what became of the letter, and ends the recording of its transaction.
fn ends(finished: &mut Finished, unsent: &mut Unsent, letter: Letter) {
    let taken = matches!(letter, Letter::Taken);
    finished.completed.disposition = if taken { Disposition::Ack } else { Disposition::Requeue };
    let outcome = finished.completed.outcome.as_str();
    let Some(failure) = finished.completed.failure.as_deref_mut() else { return };
    let Failure { error, letter: became, .. } = failure;
    *became = letter;
    if let Some(recording) = unsent.recording.take() {
        let disposition = if taken { "dead_letter" } else { finished.completed.disposition.as_str() };
        recording.end(&Ending { outcome, disposition, error: Some(error) });
    }
}

fn says_refused(run: &RunState, finished: &Finished, unsent: &Unsent) {
    let Some(error) = &unsent.error else { return };
    let (task, transaction_id) = (run.task, finished.transaction.id());
    let mut scope = finished.completed.failure.as_ref().and_then(|failure| failure.scope.clone());
    Scope::enter(&mut scope, || DeadLetterFailed { task, transaction_id, error }.emit());
}
