//! From outcome to source: the only place that settles. What finished since the last call goes in one call.

use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::attempt::{at_once, far_future, guarded};
use super::consume::{RunGuard, RunState};
use super::dead_letters::postpone;
use super::lifecycle::Outcome;
use super::lived::{Completed, Failure, Letter, StepRun};
use super::terms::RunContext;
use crate::connector::{ConnectorError, Delivery, Disposition, Input, ItemOutcome, Receipt, Settlement};
use crate::telemetry::event::{HandlerFailed, TransactionFailed, Unsettled};
use crate::telemetry::metrics::{Batch, Meters};
use crate::telemetry::{Refusal, Scope, Step, Tally};
use crate::transaction::Transaction;

/// How long the source may take to answer after the grace of a stop is over.
const LAST_CALL: Duration = Duration::from_secs(2);

/// A delivery whose life is over, on its way to be settled.
#[derive(Debug)]
pub(super) struct Settling {
    pub(super) transaction: Transaction,
    /// None once it is used up.
    pub(super) receipt: Option<Receipt>,
    pub(super) lived: Completed,
}

impl Settling {
    /// Gives back a delivery that was not begun.
    pub(super) fn give_back(delivery: Delivery) -> Self {
        let (transaction, receipt) = delivery.into_parts();
        Self { transaction, receipt: Some(receipt), lived: Completed::aborted() }
    }
}

/// A call to the source, and what it settles.
pub(super) struct Call {
    told: BoxFuture<'static, Result<(), ConnectorError>>,
    /// In the order of the settlements.
    settling: Vec<Settling>,
}

/// Settles what is finished in a lane's own turn, if nobody else is at it. The source is polled once: if it does not
/// answer at once, the settler goes on with the call.
pub(super) async fn in_turn(run: &RunState) {
    let Some(mut call) = begin(run) else { return };
    match at_once(Pin::new(&mut call.told)).await {
        Some(result) => record(run, call.settling, &result),
        // It is not taken only when the run was dropped.
        None => drop(run.handed_over.get().map(|settler| settler.send(call))),
    }
}

/// Settles what no lane settles in its own turn, until no lane runs any more; then settles the rest, and gives back
/// what is held.
pub(super) async fn settle(
    run: Arc<RunGuard>,
    mut handed_over: UnboundedReceiver<Call>,
    lanes_ended: CancellationToken,
) {
    loop {
        let due = run.held().next_due();
        let begun = tokio::select! {
            biased;
            Some(call) = handed_over.recv() => Some(call),
            () = run.slots.due.notified() => None,
            () = at(due) => None,
            () = lanes_ended.cancelled() => break,
        };
        if begun.is_none() {
            // Lets the lanes that were woken with the one that woke the settler finish too: one call for all of them.
            yield_now().await;
        }
        settle_all(&run, begun).await;
        let now = Instant::now();
        while let Some(delivery) = next_due(&run, now) {
            run.slots.release(delivery);
        }
    }
    // A lane that died while it settled holds up nobody.
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

/// Takes out a held delivery whose time has come.
fn next_due(run: &RunState, now: Instant) -> Option<Delivery> {
    run.held().pop_due(now)
}

/// Settles until nothing is left that is finished; a call that was begun comes first.
async fn settle_all(run: &RunState, begun: Option<Call>) {
    let mut next = begun.or_else(|| begin(run));
    while let Some(Call { told, settling }) = next {
        record(run, settling, &told.await);
        next = begin(run);
    }
}

/// Gives back the deliveries whose receipts were dropped on the way, by a call without settlements.
async fn give_back_dropped(run: &RunState) {
    if let Err(error) = tell(run.input.clone(), run.abort.clone(), Vec::new()).await {
        let error = error.to_string();
        Unsettled {
            task: run.task,
            transaction_id: "?",
            disposition: "requeue",
            unknown: true,
            error: &error,
            // It is not known how many they are.
            meters: Meters::OFF,
        }
        .emit();
    }
}

/// Takes out what is finished; what is to be tried again later is held, and the rest goes in one call to the source.
fn begin(run: &RunState) -> Option<Call> {
    loop {
        let mut settling = run.slots.take_finished()?;
        let closing = run.terms.drain.is_cancelled();
        let mut settlements = Vec::with_capacity(settling.len());
        settling.retain_mut(|settling| {
            if settling.lived.failure.is_some() {
                if postpone(run, settling) {
                    return false;
                }
                report(run.task, &settling.transaction, &settling.lived);
            }
            let Settling { transaction, receipt, lived } = settling;
            let Some(receipt) = receipt.take() else { return false };
            match lived.disposition {
                Disposition::RetryAfter(wait) if !closing => {
                    hold(run, wait, (transaction.clone(), receipt), lived);
                    false
                }
                disposition => {
                    settlements.push(Settlement::new(receipt, disposition));
                    true
                }
            }
        });
        if !settlements.is_empty() {
            let told = Box::pin(tell(run.input.clone(), run.abort.clone(), settlements));
            return Some(Call { told, settling });
        }
        run.slots.settled(settling, false);
    }
}

/// Holds a delivery until its time; that is an outcome, though not one that the source is told of.
fn hold(run: &RunState, wait: Duration, (transaction, receipt): (Transaction, Receipt), lived: &Completed) {
    run.terms.count_one(&transaction, lived);
    let due = Instant::now().checked_add(wait).unwrap_or_else(far_future).min(far_future());
    let deliveries = transaction.deliveries().saturating_add(1);
    run.held().push(due, Delivery::new(transaction.with_deliveries(deliveries), receipt));
    run.slots.hold();
    // The settler waits for the earliest.
    run.slots.due.notify_one();
}

/// Tells the source. A source that panics, or that does not answer when the grace of a stop is over, leaves the fate of
/// its deliveries unknown; it does not hold up the end of the run.
async fn tell(
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
        told = guarded(&mut outside, input.settle(settlements)) => match told {
            Ok(result) => result,
            Err(panicked) => Err(ConnectorError::unknown(format!("settling {panicked}"))),
        },
        () = too_late => Err(ConnectorError::unknown("the source did not answer before the end of the run")),
    }
}

impl RunContext {
    /// Counts, and tells of, a transaction that no source settles.
    pub(super) fn count(&self, task: &'static str, transaction: &Transaction, lived: &Completed) {
        report(task, transaction, lived);
        self.count_one(transaction, lived);
    }

    fn count_one(&self, transaction: &Transaction, lived: &Completed) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch = self.meters.batch(&tally);
        count((&mut tally, &mut batch), transaction, lived);
        batch.end(&tally);
    }
}

/// Counts a settled transaction.
fn count((tally, batch): (&mut Tally, &mut Batch<'_>), transaction: &Transaction, lived: &Completed) {
    tally.retries += u64::from(lived.retries);
    tally.requeued += u64::from(returns(lived));
    let exception = lived.failure.as_ref().and_then(|failure| failure.exception.elapsed);
    for (step, nanos) in
        [(lived.step, lived.first), (Step::Success, lived.success), (Step::Exception, exception)]
    {
        if let Some(nanos) = nanos {
            let elapsed = Duration::from_nanos(nanos.get());
            tally.record(step, elapsed);
            batch.step(step, elapsed, &lived.course);
        }
    }
    match lived.outcome {
        Outcome::Aborted => return,
        Outcome::Succeeded => tally.succeeded += 1,
        Outcome::Handled => (),
        Outcome::HandlerFailed => tally.handler_failures += 1,
    }
    tally.processed += 1;
    batch.transaction(&lived.course, lived.failure.as_ref().map(|failure| failure.error.category()));
    if let Some(failure) = &lived.failure {
        count_failure(tally, transaction, lived.disposition, failure);
    }
}

fn count_failure(tally: &mut Tally, transaction: &Transaction, disposition: Disposition, failure: &Failure) {
    let category = failure.error.category();
    tally.failed.add(category);
    tally.undelivered += u64::from(matches!(failure.letter, Letter::Refused));
    count_letter(tally, failure);
    if failure.is_dead_lettered() || disposition == Disposition::Reject {
        let message = failure.error.message();
        tally.refuse(|| Refusal { id: transaction.id().to_owned(), category, message: message.to_owned() });
    }
}

/// Counts a dead letter that the connector has, whether or not the source knows that the delivery is done.
fn count_letter(tally: &mut Tally, failure: &Failure) {
    tally.dead_lettered += u64::from(failure.is_dead_lettered());
}

/// Whether the source will hand the delivery out again.
fn returns(lived: &Completed) -> bool {
    matches!(lived.disposition, Disposition::Requeue | Disposition::RetryAfter(_))
}

/// Counts what the source took, and says what it did not take.
fn record(run: &RunState, settling: Vec<Settling>, result: &Result<(), ConnectorError>) {
    let (mut returned, mut back) = (false, 0);
    let mut tally = run.terms.tally.lock().unwrap_or_else(PoisonError::into_inner);
    let (meters, mut batch) = (&run.terms.meters, run.terms.meters.batch(&tally));
    for (index, Settling { transaction, lived, .. }) in settling.iter().enumerate() {
        match result {
            Err(error) if error.outcome(index) != ItemOutcome::Done => {
                tally.unknown += 1;
                if let Some(failure) = &lived.failure {
                    count_letter(&mut tally, failure);
                }
                let unknown = error.outcome(index) == ItemOutcome::Unknown;
                let (disposition, error) = (lived.disposition.as_str(), error.to_string());
                let transaction_id = transaction.id();
                // The source hands it out again, perhaps at once.
                returned = true;
                Unsettled { task: run.task, transaction_id, disposition, unknown, error: &error, meters }
                    .emit();
            }
            _ => {
                returned |= returns(lived);
                back += u64::from(returns(lived) && lived.outcome != Outcome::Aborted);
                batch.settled(lived.disposition.as_str());
                count((&mut tally, &mut batch), transaction, lived);
            }
        }
    }
    batch.end(&tally);
    drop(tally);
    if run.terms.drain.is_cancelled() {
        run.slots.left_to_do(back);
    } else if run.pulled.is_some() {
        run.slots.not_pulled(back);
    }
    run.slots.settled(settling, returned);
}

/// Says what became of a transaction that went the exception way.
fn report(task: &'static str, transaction: &Transaction, lived: &Completed) {
    let Some(failure) = &lived.failure else { return };
    let transaction_id = transaction.id();
    let disposition = if failure.is_dead_lettered() { "dead_letter" } else { lived.disposition.as_str() };
    let mut scope = failure.scope.clone();
    Scope::enter(&mut scope, || {
        TransactionFailed { task, transaction, error: &failure.error, disposition }.emit();
    });
    let StepRun { attempts, error: Some(error), .. } = &failure.exception else { return };
    let mut scope = scope.map(|scope| Scope { step: Step::Exception, attempt: *attempts, ..scope });
    Scope::enter(&mut scope, || HandlerFailed { task, transaction_id, error, disposition }.emit());
}

pub(super) async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
