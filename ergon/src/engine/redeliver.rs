//! Redelivers dead letters that the dead-letter connector did not accept immediately. Each dead letter is dispatched
//! again with growing pauses, apart from the lanes, so that no dead letter holds up a transaction.
//!
//! A dead letter is dispatched again until the connector accepts it or the run stops. When the run stops, the delivery
//! is given back to its source. A run that has nothing else left to do ends with an error after a few attempts.

use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use super::attempt::{Attempts, StepResult, Waits, code};
use super::clock::{Alarm, at};
use super::completed::{Completed, DeadLetter, Failure, Unsent};
use super::dead_letters::{APART, DeadLetters, Due, Postponed};
use super::finished::Finished;
use super::run_state::{RunGuard, RunState};
use crate::connector::Disposition;
use crate::telemetry::Scope;
use crate::telemetry::event::{DeadLetterFailed, DroppedStale};
use crate::telemetry::traces::{Ending, Recording};

/// An attempt to dispatch a dead letter. Its output is the number, the spans of the transaction, and the result.
type Attempt = BoxFuture<'static, (u64, Option<Box<Recording>>, StepResult)>;

/// Moves the dead letter of a finished transaction to those that wait, if it was not accepted immediately. Returns
/// whether the dead letter was moved. If the run stops, the delivery is given back instead.
pub(super) fn postpone(run: &RunState, finished: &mut Finished) -> bool {
    let Some(failure) = finished.completed.failure.as_mut() else { return false };
    let DeadLetter::Waiting(_) = &failure.dead_letter else { return false };
    let (DeadLetter::Waiting(mut unsent), Some(dead_letters)) = (
        std::mem::replace(&mut failure.dead_letter, DeadLetter::Undelivered),
        run.context.postponed.as_deref(),
    ) else {
        return false;
    };
    if !run.slots.postpone() {
        ends(finished, &mut unsent, DeadLetter::Undelivered);
        report_undelivered(run, finished, &unsent);
        return false;
    }
    let whole = Finished {
        transaction: finished.transaction.clone(),
        receipt: finished.receipt.take(),
        completed: std::mem::replace(&mut finished.completed, Completed::aborted()),
        pushes: finished.pushes,
    };
    dead_letters.put(whole, *unsent);
    true
}

/// Dispatches the waiting dead letters, until all lanes have ended and none waits. After a stop, no other attempt
/// starts, and the deliveries of the waiting dead letters are given back. Attempts under way have the grace of the
/// stop.
pub(super) async fn redeliver(run: Arc<RunGuard>, lanes_ended: CancellationToken) {
    let Some(dead_letters) = run.context.postponed.as_deref() else { return };
    let most = run.context.policy.concurrency;
    let mut attempts = FuturesUnordered::new();
    let mut known = 0;
    loop {
        let closing = run.slots.is_closing() || run.context.drain.is_cancelled();
        if closing {
            dead_letters
                .take_waiting()
                .into_iter()
                .for_each(|dead_letter| hand_in(&run, dead_letters, dead_letter, false));
            if lanes_ended.is_cancelled() && run.slots.dead_letters() == 0 {
                return;
            }
        } else {
            while attempts.len() < most
                && let Some(due) =
                    dead_letters.begin(|finished| run.context.is_stale(finished.receipt.as_ref()))
            {
                attempts.push(attempt(Arc::clone(&run), due));
            }
            let place = || run.context.dead_letter.as_ref().map(ToString::to_string).unwrap_or_default();
            if let Some(error) = dead_letters.undeliverable(&place, || run.slots.has_only_dead_letters()) {
                run.slots.close(Some(error));
                continue;
            }
            if lanes_ended.is_cancelled() {
                return;
            }
        }
        let count = run.slots.dead_letters();
        if count != known {
            known = count;
            run.input.postponed(count);
        }
        let due = if closing || attempts.len() >= most { None } else { dead_letters.next_due() };
        tokio::select! {
            // The end of the grace comes before anything else. An attempt that has ended comes before new ones.
            biased;
            () = run.abort.cancelled() => break,
            Some((number, recording, ended)) = attempts.next() => {
                let Some(dead_letter) = dead_letters.ended(number, recording) else { continue };
                attempted(&run, dead_letters, dead_letter, ended);
            }
            () = dead_letters.added.notified() => (),
            () = run.slots.only_dead_letters.notified() => dead_letters.retry_now(),
            () = run.context.drain.cancelled(), if !closing => (),
            () = lanes_ended.cancelled(), if !lanes_ended.is_cancelled() => (),
            () = at(due) => (),
        }
    }
    // The attempts under way are cancelled. The connector may have accepted their dead letters, so a receiver may see
    // these dead letters twice.
    drop(attempts);
    give_back_all(&run, dead_letters).await;
}

/// Dispatches a dead letter once.
fn attempt(run: Arc<RunGuard>, due: Due) -> Attempt {
    let Due { number, dead_letter, mut scope, mut recording, retries, stale } = due;
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
        let dispatch = || output.dispatch(dead_letter.clone());
        let ended = attempts.run(&mut code(running.as_mut(), dispatch, &mut None)).await;
        if matches!(ended, StepResult::Done) {
            run.context.meters.attempted("dead_letter", None);
        }
        (number, recording, ended)
    })
}

/// Records the end of an attempt.
fn attempted(run: &RunState, dead_letters: &DeadLetters, dead_letter: Postponed, ended: StepResult) {
    match ended {
        StepResult::Done => hand_in(run, dead_letters, dead_letter, true),
        StepResult::Interrupted => hand_in(run, dead_letters, dead_letter, false),
        StepResult::Failed(_) if run.context.is_stale(dead_letter.finished.receipt.as_ref()) => {
            hand_in(run, dead_letters, dead_letter, false);
        }
        StepResult::Failed(error) => {
            let wait = dead_letters.failed(dead_letter, error, run.slots.has_only_dead_letters());
            if let Some(wait) = wait {
                run.context.meters.backs_off("dead_letter", wait);
            }
        }
    }
}

/// Gives back the deliveries of all dead letters, including those whose attempts were cancelled.
async fn give_back_all(run: &RunState, dead_letters: &DeadLetters) {
    while run.slots.dead_letters() > 0 {
        let under_way: Vec<_> = dead_letters
            .under_way()
            .into_iter()
            .filter_map(|number| dead_letters.ended(number, None))
            .collect();
        let waiting = dead_letters.take_waiting();
        under_way
            .into_iter()
            .chain(waiting)
            .for_each(|dead_letter| hand_in(run, dead_letters, dead_letter, false));
        if run.slots.dead_letters() > 0 {
            // A lane has counted the dead letter and not added it yet.
            dead_letters.added.notified().await;
        }
    }
}

/// Gives back the deliveries that are left when the redelivery has panicked, which is a defect of the engine.
pub(super) fn give_back(run: &RunState) {
    let left = run.context.postponed.as_deref().map(DeadLetters::left).unwrap_or_default();
    for mut finished in left {
        finished.completed.disposition = Disposition::Requeue;
        run.slots.hand_in(finished);
    }
}

/// Hands a delivery to the settler: its dead letter was accepted, or the delivery is given back.
fn hand_in(run: &RunState, dead_letters: &DeadLetters, postponed: Postponed, delivered: bool) {
    let Postponed { mut finished, mut unsent } = postponed;
    ends(&mut finished, &mut unsent, if delivered { DeadLetter::Accepted } else { DeadLetter::Undelivered });
    if !delivered && run.context.is_stale(finished.receipt.as_ref()) {
        DroppedStale { task: run.task, transaction_id: finished.transaction.id() }.emit();
        finished.completed = Completed::aborted();
    } else if !delivered {
        report_undelivered(run, &finished, &unsent);
    }
    dead_letters.remove(delivered);
    run.slots.hand_in(finished);
}

/// Records the fate of the dead letter, and ends the spans of its transaction.
fn ends(finished: &mut Finished, unsent: &mut Unsent, dead_letter: DeadLetter) {
    let taken = matches!(dead_letter, DeadLetter::Accepted);
    finished.completed.disposition = if taken { Disposition::Ack } else { Disposition::Requeue };
    let outcome = finished.completed.outcome.as_str();
    let Some(failure) = finished.completed.failure.as_deref_mut() else { return };
    let Failure { error, dead_letter: became, .. } = failure;
    *became = dead_letter;
    if let Some(recording) = unsent.recording.take() {
        let disposition = if taken { "dead_letter" } else { finished.completed.disposition.as_str() };
        recording.end(&Ending { outcome, disposition, error: Some(error) });
    }
}

fn report_undelivered(run: &RunState, finished: &Finished, unsent: &Unsent) {
    let Some(error) = &unsent.error else { return };
    let (task, transaction_id) = (run.task, finished.transaction.id());
    let mut scope = finished.completed.failure.as_ref().and_then(|failure| failure.scope.clone());
    Scope::enter(&mut scope, || DeadLetterFailed { task, transaction_id, error }.emit());
}
