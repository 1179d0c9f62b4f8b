//! Settles finished deliveries at their source. No other code of the engine calls `settle` for them. Deliveries that
//! finished since the last call are settled together in the next call.

use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::attempt::{at_once, far_future, guarded};
use super::clock::at;
use super::completed::Completed;
use super::count::{count, count_dead_letter, report, returns};
use super::finished::{Finished, SettleCall};
use super::flush::flush;
use super::lifecycle::Outcome;
use super::redeliver::postpone;
use super::run_state::{RunGuard, RunState};
use crate::connector::{ConnectorError, Delivery, Disposition, Input, ItemOutcome, Receipt, Settlement};
use crate::telemetry::event::Unsettled;
use crate::telemetry::metrics::Meters;
use crate::transaction::Transaction;

/// How long the source may take to answer after the grace of a stop, so that a source that hangs does not keep the run
/// from ending.
const LAST_CALL: Duration = Duration::from_secs(2);

/// Settles the finished deliveries in a lane's own turn, unless a settlement is under way. The source is polled once:
/// if it does not answer immediately, the settler awaits the call. So a source that answers immediately costs no switch
/// to another task.
pub(super) async fn in_turn(run: &RunState) {
    let Some(mut call) = begin(run) else { return };
    match at_once(Pin::new(&mut call.answer)).await {
        Some(result) => record(run, call.finished, &result),
        // The settler has ended only if the run was dropped.
        None => drop(run.handed_over.get().map(|settler| settler.send(call))),
    }
}

/// Settles the deliveries that no lane settles in its own turn, until all lanes have ended. Then settles the rest, and
/// gives back the held deliveries.
pub(super) async fn settle(
    run: Arc<RunGuard>,
    mut handed_over: UnboundedReceiver<SettleCall>,
    lanes_ended: CancellationToken,
) {
    loop {
        let due = run.held().next_due();
        let begun = tokio::select! {
            biased;
            // A call that a lane has started comes first, because at most one call runs at a time.
            Some(call) = handed_over.recv() => Some(call),
            () = run.slots.due.notified() => None,
            () = at(due) => None,
            () = lanes_ended.cancelled() => break,
        };
        if begun.is_none() {
            // Lets the lanes that were woken together with the settler finish first, so that one call settles all of
            // them.
            yield_now().await;
        }
        settle_all(&run, begun).await;
        let now = Instant::now();
        while let Some(delivery) = next_due(&run, now) {
            run.slots.release(delivery);
        }
    }
    // A lane that panicked during a settlement has not reported the end of that settlement.
    run.slots.settled(Vec::new(), false);
    run.slots.close(None);
    let released = run.held().take_all();
    for delivery in released {
        run.slots.release(delivery);
    }
    run.slots.abandon();
    settle_all(&run, None).await;
    give_back_dropped(&run).await;
}

/// Takes a held delivery that is due.
fn next_due(run: &RunState, now: Instant) -> Option<Delivery> {
    run.held().pop_due(now)
}

/// Settles until no finished delivery is left. A call that a lane started comes first.
async fn settle_all(run: &RunState, begun: Option<SettleCall>) {
    let mut next = begun.or_else(|| begin(run));
    while let Some(SettleCall { answer, finished }) = next {
        record(run, finished, &answer.await);
        next = begin(run);
    }
}

/// Gives back the deliveries whose receipts were dropped, by a call without settlements.
async fn give_back_dropped(run: &RunState) {
    if let Err(error) = call_source(run.input.clone(), run.abort.clone(), Vec::new()).await {
        let error = error.to_string();
        Unsettled {
            task: run.task,
            transaction_id: "?",
            disposition: "requeue",
            unknown: true,
            error: &error,
            // The number of deliveries is not known.
            meters: Meters::OFF,
        }
        .emit();
    }
}

/// Takes the finished deliveries. Deliveries that are retried later are held. All others go to the source in one call.
fn begin(run: &RunState) -> Option<SettleCall> {
    loop {
        let mut finished = run.slots.take_finished()?;
        if let Some(buffers) = &run.context.buffers {
            flush(run, buffers, &mut finished);
        }
        let closing = run.context.drain.is_cancelled();
        let mut settlements = Vec::with_capacity(finished.len());
        finished.retain_mut(|finished| {
            if finished.completed.failure.is_some() {
                if postpone(run, finished) {
                    return false;
                }
                report(run.task, &finished.transaction, &finished.completed);
            }
            let Finished { transaction, receipt, completed, .. } = finished;
            let Some(receipt) = receipt.take() else { return false };
            match completed.disposition {
                Disposition::RetryAfter(wait) if !closing => {
                    hold(run, wait, (transaction.clone(), receipt), completed);
                    false
                }
                disposition => {
                    let settlement = Settlement::new(receipt, disposition);
                    settlements.push(match &completed.failure {
                        // A source that keeps what is rejected stores the reason with it.
                        Some(failure) if disposition == Disposition::Reject => {
                            settlement.with_rejected(failure.annotate(transaction, run.task))
                        }
                        _ => settlement,
                    });
                    true
                }
            }
        });
        if !settlements.is_empty() {
            let answer = Box::pin(call_source(run.input.clone(), run.abort.clone(), settlements));
            return Some(SettleCall { answer, finished });
        }
        run.slots.settled(finished, false);
    }
}

/// Holds a delivery until its retry is due. The delivery is counted now, although the source gets its settlement only
/// later.
fn hold(
    run: &RunState,
    wait: Duration,
    (transaction, receipt): (Transaction, Receipt),
    completed: &Completed,
) {
    run.context.count_one(&transaction, completed);
    let due = Instant::now().checked_add(wait).unwrap_or_else(far_future).min(far_future());
    let deliveries = transaction.deliveries().saturating_add(1);
    run.held().push(due, Delivery::new(transaction.with_deliveries(deliveries), receipt));
    run.slots.hold();
    // The settler waits for the delivery that is due first.
    run.slots.due.notify_one();
}

/// Calls the source. A source that panics, or that does not answer after the grace of a stop, leaves the settlement of
/// its deliveries unknown. It does not hold up the end of the run.
async fn call_source(
    input: Input,
    abort: CancellationToken,
    settlements: Vec<Settlement>,
) -> Result<(), ConnectorError> {
    let too_late = async {
        abort.cancelled().await;
        sleep(LAST_CALL).await;
    };
    let mut outside = None;
    tokio::select! {
        biased;
        // The call is polled first: an answer that arrives at the moment of the time limit counts.
        answer = guarded(&mut outside, input.settle(settlements)) => match answer {
            Ok(result) => result,
            Err(panicked) => Err(ConnectorError::unknown(format!("finished {panicked}"))),
        },
        () = too_late => Err(ConnectorError::unknown("the source did not answer before the end of the run")),
    }
}

/// Counts the settlements that the source confirmed, and logs the settlements that it did not confirm.
fn record(run: &RunState, finished: Vec<Finished>, result: &Result<(), ConnectorError>) {
    let (mut returned, mut back) = (false, 0);
    let mut tally = run.context.tally.lock().unwrap_or_else(PoisonError::into_inner);
    let (meters, mut batch) = (&run.context.meters, run.context.meters.batch(&tally));
    for (index, Finished { transaction, completed, .. }) in finished.iter().enumerate() {
        match result {
            Err(error) if error.outcome(index) != ItemOutcome::Done => {
                tally.unknown += 1;
                if let Some(failure) = &completed.failure {
                    count_dead_letter(&mut tally, failure);
                }
                let unknown = error.outcome(index) == ItemOutcome::Unknown;
                let (disposition, error) = (completed.disposition.as_str(), error.to_string());
                let transaction_id = transaction.id();
                // The source may deliver it again, perhaps immediately.
                returned = true;
                Unsettled { task: run.task, transaction_id, disposition, unknown, error: &error, meters }
                    .emit();
            }
            _ => {
                returned |= returns(completed);
                back += u64::from(returns(completed) && completed.outcome != Outcome::Aborted);
                batch.settled(completed.settled_as());
                count((&mut tally, &mut batch), transaction, completed);
            }
        }
    }
    batch.end(&tally);
    drop(tally);
    if run.context.drain.is_cancelled() {
        run.slots.left_to_do(back);
    } else if run.pulled.is_some() {
        run.slots.not_pulled(back);
    }
    run.slots.settled(finished, returned);
}
