//! The consumer: lanes that each take a delivery through its life, one after the other.
//!
//! As many lanes as `concurrency` live as long as the run. A lane takes the next delivery itself, or fetches for all
//! when there is none, so nothing is spawned, boxed or handed over for a single transaction.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::attempt::{at_once, guarded};
use super::life::Life;
use super::settle::{Settling, settle};
use super::slots::{Next, Slots};
use super::{drain, fetch, panic};
use crate::connector::{Delivery, Disposition, Input, Output};
use crate::error::{Error, ErrorKind};
use crate::policy::{ConsumerPolicy, OnHandlerFailure};
use crate::task::{Consumer, Setup, Snapshot};
use crate::telemetry::event::{LaneDied, RunStarted};
use crate::telemetry::{RunReport, Tally};

/// A life that is over before another thread could have been woken. After one, a lane takes the next delivery without
/// waking another lane for the rest.
const QUICK: Duration = Duration::from_micros(2);

/// What the lanes, the fetcher and the settler of one run have in common.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) task: &'static str,
    pub(super) policy: ConsumerPolicy,
    pub(super) input: Input,
    pub(super) dead_letter: Option<Output>,
    pub(super) slots: Slots,
    /// Fetch no more; finish what is in flight.
    pub(super) drain: CancellationToken,
    /// Cancel what is in flight.
    pub(super) abort: CancellationToken,
    pub(super) tally: Mutex<Tally>,
    /// What made the run drain, if it did.
    cause: OnceLock<drain::Cause>,
}

impl Run {
    pub(super) fn new(task: &'static str, setup: Setup) -> Self {
        Self {
            task,
            slots: Slots::new(&setup.policy),
            policy: setup.policy,
            input: setup.input,
            dead_letter: setup.dead_letter,
            drain: setup.stop.drain.child_token(),
            abort: setup.stop.abort.child_token(),
            tally: Mutex::default(),
            cause: OnceLock::new(),
        }
    }

    /// Remembers why the run drains; the first cause stays.
    pub(super) fn note_drain(&self, cause: drain::Cause) {
        let _ = self.cause.set(cause);
    }

    pub(super) fn drained(&self) -> Option<drain::Cause> {
        self.cause.get().copied()
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let load = self.slots.load();
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone();
        tally.fetched = load.fetched;
        Snapshot { tally, in_flight: load.running }
    }

    /// What becomes of a delivery whose exception handler failed.
    pub(super) fn on_handler_failure(&self) -> Disposition {
        match self.policy.on_handler_failure {
            OnHandlerFailure::Requeue => Disposition::Requeue,
            OnHandlerFailure::Reject => Disposition::Reject,
        }
    }
}

/// Runs a consumer to its end, and its `exit` hook after it.
///
/// # Cancel safety
/// When dropped, all lanes are dropped with it, and what they hold is given back by the source's next settle.
pub(super) async fn consume<T: Consumer>(task: &Arc<T>, setup: Setup) -> RunReport {
    panic::install_hook();
    let monitor = setup.monitor.clone();
    let run = Arc::new(Run::new(T::NAME, setup));
    let looked_at = Arc::clone(&run);
    monitor.attach(move || looked_at.snapshot());
    let ConsumerPolicy { concurrency, batch_size, streaming, .. } = run.policy;
    RunStarted { task: T::NAME, concurrency, batch_size, streaming }.emit();
    let began = Instant::now();

    tokio::select! {
        biased;
        () = drain::watch(&run) => (),
        () = run_lanes(task, &run) => (),
    }
    let exit = leave(task.as_ref()).await;
    let ended = drain::ended(&run, exit);
    RunReport::new(T::NAME, run.snapshot().tally, began.elapsed(), ended)
}

/// Runs the lanes to their end, and the settler to its end after them.
async fn run_lanes<T: Consumer>(task: &Arc<T>, run: &Arc<Run>) {
    let lanes_ended = CancellationToken::new();
    let mut settler = JoinSet::new();
    settler.spawn(settle(Arc::clone(run), lanes_ended.clone()));
    let mut lanes = JoinSet::new();
    for _ in 0..run.policy.concurrency {
        lanes.spawn(lane(Arc::clone(task), Arc::clone(run)));
    }
    while let Some(ended) = lanes.join_next().await {
        if let Err(error) = ended {
            died(run, &error);
        }
    }
    lanes_ended.cancel();
    while let Some(ended) = settler.join_next().await {
        if let Err(error) = ended {
            died(run, &error);
        }
    }
}

/// A defect of the engine itself: the run ends with an error; what the lane held is given back.
fn died(run: &Run, error: &tokio::task::JoinError) {
    let error = error.to_string();
    LaneDied { task: run.task, error: &error }.emit();
    run.slots.close(Some(Error::new(ErrorKind::Task, format!("the engine failed: {error}"))));
}

/// Takes deliveries through their lives until there are no more.
async fn lane<T: Consumer>(task: Arc<T>, run: Arc<Run>) {
    let mut finished = None;
    // When the last life ended, if nothing was waited for since: reading the clock is dear.
    let mut now = None;
    let mut quick = false;
    let mut laps = 0_u32;
    loop {
        match run.slots.next(finished.take(), quick) {
            Next::Run(delivery, key) => {
                let mut holding = Holding::new(&run, delivery);
                let began = now.unwrap_or_else(Instant::now);
                now = holding.live(task.as_ref(), began).await;
                quick = now.is_some_and(|now| now.saturating_duration_since(began) < QUICK);
                finished = holding.release().map(|settling| (key, settling));
            }
            Next::Fetch(count) => {
                fetch::fetch(&run, count).await;
                now = None;
            }
            Next::Wait => {
                run.slots.wait().await;
                now = None;
            }
            Next::End => return,
        }
        // Lets others run on this thread once in a while, also when nothing here ever waits; a quick lane less often,
        // because it may go on on another thread then.
        laps = laps.wrapping_add(1);
        if !quick || laps.is_multiple_of(7) {
            tokio::task::coop::consume_budget().await;
        }
    }
}

/// A delivery in a lane: to be given back, unless its life says otherwise. One that is dropped on the way is given
/// back too.
struct Holding<'a> {
    run: &'a Run,
    settling: Option<Settling>,
}

impl<'a> Holding<'a> {
    fn new(run: &'a Run, delivery: Delivery) -> Self {
        Self { run, settling: Some(Settling::give_back(delivery)) }
    }

    /// Takes the delivery through its life; says when that ended, unless it was cancelled on the way.
    async fn live<T: Consumer>(&mut self, task: &T, began: Instant) -> Option<Instant> {
        let Settling { transaction, lived, .. } = self.settling.as_mut()?;
        let mut life = Life::new(task, self.run, transaction, began);
        let whole = async {
            let mut living = std::pin::pin!(life.live());
            match at_once(living.as_mut()).await {
                Some(lived) => Some(lived),
                None => {
                    self.run.slots.wake_another();
                    self.run.abort.run_until_cancelled(living).await
                }
            }
        };
        // Guarded here too: a handler that is cancelled may panic when it is dropped.
        let came_of_it = guarded(&mut None, whole).await.ok().flatten();
        let ended = life.mark();
        // So may what it made; that changes nothing of what became of the transaction.
        let _ = panic::guard(|| drop(life));
        *lived = came_of_it?;
        Some(ended)
    }

    fn release(mut self) -> Option<Settling> {
        self.settling.take()
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        if let Some(settling) = self.settling.take() {
            self.run.input.give_back(settling.receipt);
        }
    }
}

/// Calls the task's `exit` hook.
async fn leave<T: Consumer>(task: &T) -> Option<Error> {
    let failure = match guarded(&mut None, task.exit()).await {
        Ok(Ok(())) => return None,
        Ok(Err(failure)) | Err(failure) => failure,
    };
    Some(Error::new(ErrorKind::Task, format!("the exit hook of `{}` failed: {failure}", T::NAME)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::memory::{Memory, MemoryQueue};
    use crate::connector::{Context, FetchRequest};
    use crate::task::{Monitor, Stop};
    use crate::transaction::Transaction;

    #[tokio::test]
    async fn a_delivery_that_is_dropped_in_its_lane_is_given_back_by_the_next_settle() {
        let queue = MemoryQueue::new();
        queue.push(Transaction::new("a", &1).unwrap());
        let input = Input::new(Arc::new(Memory::new(Arc::clone(&queue))), &Context::new("t", "input"));
        let (stop, monitor) = (Stop::default(), Monitor::default());
        let setup = Setup { policy: ConsumerPolicy::DEFAULT, input, dead_letter: None, stop, monitor };
        let run = Run::new("t", setup);
        let delivery = run.input.fetch_held(&FetchRequest::new(1)).await.unwrap().remove(0);
        drop(Holding::new(&run, delivery));
        assert_eq!(queue.inspect().handed_out, 1);
        run.input.settle(Vec::new()).await.unwrap();
        assert_eq!((queue.inspect().handed_out, queue.inspect().waiting), (0, 1));
    }
}
