//! The consumer: lanes that each take a delivery through its life, one after the other.
//!
//! As many lanes as `concurrency` live as long as the run. A lane takes the next delivery itself, or fetches for all
//! when there is none, so nothing is spawned, boxed or handed over for a single transaction.

use std::future::poll_fn;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::task::coop::consume_budget;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::abort::Abort;
use super::attempt::guarded;
use super::blocking::{Threads, on_threads};
use super::clock::Clock;
use super::dead_letters::{DeadLetters, deliver};
use super::delay::DelayQueue;
use super::life::Processing;
use super::lived::Completed;
use super::produce::Pulled;
use super::settle::{Call, Settling, in_turn, settle};
use super::slots::{Fetched, Next, Running, Slots};
use super::steps::Steps;
use super::terms::RunContext;
use super::{dead_letters, drain, fetch, quick};
use crate::connector::{Delivery, Input};
use crate::error::{Error, ErrorKind};
use crate::policy::ConsumerPolicy;
use crate::task::{Monitor, Snapshot, Stop};
use crate::telemetry::event::{LaneDied, RunStarted};
use crate::telemetry::metrics::Levels;
use crate::telemetry::{Ended, RunReport};
use crate::transaction::{Result, TransactionError, panic};

/// What the lanes, the fetcher and the settler of one loop have in common.
#[derive(Debug)]
pub(super) struct RunState {
    pub(super) task: &'static str,
    pub(super) terms: RunContext,
    pub(super) input: Input,
    pub(super) slots: Slots,
    /// Lives that end within this time are quick.
    quick_limit: Duration,
    /// Cancel what is in flight.
    pub(super) abort: CancellationToken,
    /// How the lanes are told of that.
    aborted: Abort,
    /// What a producer's stream has made, if that is the source.
    pub(super) pulled: Option<Arc<dyn Pulled>>,
    /// The threads of a task whose steps block.
    pub(super) threads: Arc<Threads>,
    /// Calls to the source that a lane began and that were not over at once; the settler goes on with them.
    /// It is the settler that holds the other end, so that they are dropped with it.
    pub(super) handed_over: OnceLock<UnboundedSender<Call>>,
    /// Deliveries that are tried again later.
    held: Mutex<DelayQueue<Delivery>>,
    /// What made the run drain, if it did.
    cause: OnceLock<drain::Cause>,
    /// Tells, when it is dropped, that the loop is gone, and has given back what it held.
    _there: TaskTrackerToken,
}

impl RunState {
    /// Makes a loop over a source; `pulled` is what that source is made of if it is the task's own stream.
    pub(super) fn new(
        task: &'static str,
        terms: RunContext,
        (input, pulled): (Input, Option<Arc<dyn Pulled>>),
        stop: &Stop,
    ) -> Self {
        let streaming = terms.policy.streaming;
        let mut terms = terms.watched(task, input.kind(), streaming);
        terms.source = Some(input.clone());
        terms.postponed = terms.dead_letter.as_ref().map(|_| Box::default());
        Self {
            task,
            slots: Slots::new(&terms.policy, pulled.is_some()),
            quick_limit: quick::limit(),
            threads: Threads::new(terms.policy.concurrency),
            aborted: Abort::new(terms.policy.concurrency),
            terms,
            input,
            pulled,
            abort: stop.abort.child_token(),
            handed_over: OnceLock::new(),
            held: Mutex::default(),
            cause: OnceLock::new(),
            _there: stop.loops.token(),
        }
    }

    /// Shows the loop's levels for as long as it runs, and its threads until they have returned.
    fn watch_levels(self: &Arc<Self>) {
        let (looked_at, threads) = (Arc::downgrade(self), Arc::clone(&self.threads));
        let levels = move || {
            let run = looked_at.upgrade()?;
            let load = run.slots.load();
            let limit = run.terms.policy.concurrency;
            Some(Levels { in_flight: load.running, limit, undelivered: load.letters })
        };
        self.terms.meters.watch(levels, move || threads.stuck());
    }

    /// Remembers why the run drains; the first cause stays.
    pub(super) fn note_drain(&self, cause: drain::Cause) {
        let _ = self.cause.set(cause);
    }

    pub(super) fn drained(&self) -> Option<drain::Cause> {
        self.cause.get().copied()
    }

    /// What is tried again later; whoever settles puts it in, the settler takes it out.
    pub(super) fn held(&self) -> MutexGuard<'_, DelayQueue<Delivery>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let load = self.slots.load();
        let mut tally = self.terms.tally();
        tally.fetched = load.fetched;
        tally.call_retries = self.terms.calls.retries();
        tally.abandoned_threads = self.threads.stuck() as u64;
        if let Some(outbound) = &self.terms.outbound {
            let outbound = outbound.tally();
            tally.produced = outbound.succeeded;
            tally.add_outbound(&outbound);
        }
        let undelivered = self.terms.postponed.as_deref().and_then(DeadLetters::look);
        Snapshot { tally, in_flight: load.running, undelivered }
    }
}

/// Runs a loop to its end.
///
/// # Cancel safety
/// When dropped, all lanes are dropped with it, and what they hold is given back by the source's next settle.
pub(super) async fn consume<S: Steps>(steps: &Arc<S>, run: RunState, monitor: &Monitor) -> RunReport {
    panic::install_hook();
    let run = Arc::new(run);
    draw(&run);
    let looked_at = Arc::clone(&run);
    let _looked = monitor.attach_loop(move || looked_at.snapshot());
    let ConsumerPolicy { concurrency, batch_size, streaming, .. } = run.terms.policy;
    run.watch_levels();
    RunStarted { task: S::NAME, concurrency, batch_size, streaming }.emit();
    let began = Instant::now();

    tokio::select! {
        biased;
        () = drain::watch(&run) => (),
        () = watch_abort(&run) => (),
        () = run_lanes(steps, &run) => (),
    }
    let ended = drain::ended(&run);
    if let Some(trace) = &run.terms.trace {
        trace.end(if let Ended::Failed(error) = &ended { Some(error) } else { None });
    }
    RunReport::new(S::NAME, run.snapshot().tally, began.elapsed(), ended)
}

/// Begins to draw on a limit that other workers draw on too.
fn draw(run: &Arc<RunState>) {
    let Some((quota, limit)) = run.terms.quota.as_ref().zip(run.terms.policy.limit) else { return };
    let granted = Arc::downgrade(run);
    let heed =
        move |grant| granted.upgrade().into_iter().for_each(|run: Arc<RunState>| run.slots.heed(grant));
    run.slots.draw_on(|| quota.draw(limit, Box::new(heed)));
}

/// Cancels what the lanes wait for when it is to be. Never returns by itself.
async fn watch_abort(run: &RunState) {
    run.abort.cancelled().await;
    run.slots.abandon();
    run.aborted.order();
    std::future::pending::<()>().await;
}

/// A loop in the hands of those who work on it: its lanes and its settler. When the last of them is gone before its
/// time, what the loop has and nobody holds is given back.
#[derive(Debug)]
pub(super) struct RunGuard(Arc<RunState>);

impl Deref for RunGuard {
    type Target = RunState;

    fn deref(&self) -> &RunState {
        &self.0
    }
}

impl Drop for RunGuard {
    fn drop(&mut self) {
        let held = self.held().take_all().into_iter().map(Delivery::into_receipt);
        let letters = self.terms.postponed.as_deref().map(DeadLetters::left).unwrap_or_default();
        let letters = letters.into_iter().filter_map(|settling| settling.receipt);
        let left = self.slots.left().into_iter().chain(held).chain(letters);
        left.for_each(|receipt| self.input.give_back(receipt));
    }
}

/// Runs the lanes to their end, after them what delivers dead letters, and the settler at last.
async fn run_lanes<S: Steps>(steps: &Arc<S>, run: &Arc<RunState>) {
    let (lanes_ended, all_ended) = (CancellationToken::new(), CancellationToken::new());
    let run = Arc::new(RunGuard(Arc::clone(run)));
    let (mut settler, mut letters) = (JoinSet::new(), JoinSet::new());
    let (handed_over, calls) = unbounded_channel();
    // It is set once: a loop runs once.
    let _ = run.handed_over.set(handed_over);
    settler.spawn(settle(Arc::clone(&run), calls, all_ended.clone()));
    if run.terms.postponed.is_some() {
        letters.spawn(deliver(Arc::clone(&run), lanes_ended.clone()));
    }
    let mut lanes = JoinSet::new();
    for number in 0..run.terms.policy.concurrency {
        let lane = run.terms.calls.clone().within(lane(Arc::clone(steps), Arc::clone(&run), number));
        if S::BLOCKING {
            lanes.spawn(on_threads(lane, &run.threads));
        } else {
            lanes.spawn(lane);
        }
    }
    join(&run, lanes).await;
    lanes_ended.cancel();
    join(&run, letters).await;
    dead_letters::give_back(&run);
    all_ended.cancel();
    join(&run, settler).await;
}

async fn join(run: &RunState, mut tasks: JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            died(run, &error);
        }
    }
}

/// A defect of the engine itself: the run ends with an error; what the lane held is given back.
fn died(run: &RunState, error: &tokio::task::JoinError) {
    let error = error.to_string();
    LaneDied { task: run.task, error: &error }.emit();
    // A fetch that waits for data ends too.
    run.terms.drain.cancel();
    run.slots.close(Some(Error::new(ErrorKind::Task, format!("the engine failed: {error}"))));
}

/// Takes deliveries through their lives until there are no more.
async fn lane<S: Steps>(steps: Arc<S>, hands: Arc<RunGuard>, number: usize) {
    let run: &RunState = &hands;
    let mut holding = LaneGuard { run, number, running: None, fetched: None };
    let mut clock = Clock::starting_now();
    // Whether the clock still tells the time: reading it is dear.
    let mut waited = true;
    let mut quick = false;
    let mut laps = 0_u32;
    loop {
        match run.slots.next(&mut holding.running, holding.fetched.take(), quick) {
            Next::Run => {
                if waited {
                    clock.mark = Instant::now();
                }
                let soon = clock.mark.checked_add(run.quick_limit);
                let whole = holding.live(steps.as_ref(), &mut clock, quick).await;
                waited = !whole;
                quick = whole && soon.is_some_and(|soon| clock.mark < soon);
            }
            Next::Settle => {
                in_turn(run).await;
                waited = true;
            }
            Next::Fetch(asked) => {
                holding.fetched = Some(Fetched { asked, deliveries: fetch::fetch(run, asked).await });
                waited = true;
            }
            Next::Wait => {
                run.slots.wait().await;
                waited = true;
            }
            Next::End => return,
        }
        // Lets others run on this thread once in a while, also when nothing here ever waits; a quick lane less often,
        // because that wakes another thread, to look for work, and it may go on there.
        laps = laps.wrapping_add(1);
        if !quick || laps.is_multiple_of(16) {
            consume_budget().await;
        }
    }
}

/// What a lane holds: to be given back, unless its life says otherwise. What is dropped on the way is given back too.
struct LaneGuard<'a> {
    run: &'a RunState,
    /// The lane's.
    number: usize,
    running: Option<Running>,
    /// For all lanes, until it is handed in.
    fetched: Option<Fetched>,
}

impl LaneGuard<'_> {
    /// Takes the delivery through its life; says whether to its end, or whether it was cancelled on the way.
    /// A `quick` lane has woken nobody when it took the delivery; it does if the life waits.
    async fn live<S: Steps>(&mut self, steps: &S, clock: &mut Clock, quick: bool) -> bool {
        let Some(Running { settling, .. }) = &mut self.running else { return false };
        let Settling { transaction, receipt, lived } = settling;
        let (run, receipt) = (self.run, receipt.as_ref());
        let mut life = Some(Processing::new(steps, &run.terms, transaction, receipt, (lived, clock)));
        let whole = match &mut life {
            Some(life) => run.through(life, self.number, quick).await,
            None => false,
        };
        // What it made may panic when it is dropped; that changes nothing of what became of the transaction.
        let _ = panic::guard(|| life = None);
        if !whole {
            *lived = Completed::aborted();
        }
        whole
    }
}

impl Drop for LaneGuard<'_> {
    fn drop(&mut self) {
        let running = self.running.take().and_then(|running| running.settling.receipt);
        let fetched = self.fetched.take().into_iter().flat_map(|fetched| fetched.deliveries);
        for receipt in running.into_iter().chain(fetched.map(Delivery::into_receipt)) {
            self.run.input.give_back(receipt);
        }
    }
}

impl RunState {
    /// Lives a life to its end; `false` if it was cancelled on the way. One that is over at once wakes nobody and
    /// watches nothing.
    async fn through<S: Steps>(&self, life: &mut Processing<'_, S>, lane: usize, quick: bool) -> bool {
        let mut living = std::pin::pin!(Some(life.live()));
        let (mut first, mut wakes) = (true, quick);
        let whole = poll_fn(|context| {
            let mut poll =
                || living.as_mut().as_pin_mut().is_none_or(|living| living.poll(context).is_ready());
            let lived = if std::mem::take(&mut first) { Ok(poll()) } else { panic::guard(poll) };
            match lived {
                Ok(true) => return Poll::Ready(true),
                Ok(false) => (),
                Err(_) => return Poll::Ready(false),
            }
            if std::mem::take(&mut wakes) {
                self.slots.wake_another();
            }
            self.aborted.poll(lane, context.waker()).map(|()| false)
        })
        .await;
        if !whole {
            // A handler that is cancelled may panic when it is dropped.
            let _ = panic::guard(|| living.set(None));
        }
        whole
    }
}

/// How long an `exit` hook may take.
const EXIT_WITHIN: Duration = Duration::from_secs(30);

/// Calls the task's `exit` hook.
pub(super) async fn exit<S: Steps>(steps: &Arc<S>) -> Result<()> {
    let task = Arc::clone(steps);
    let exit = async move { guarded(&mut None, task.exit()).await.and_then(|left| left) };
    if S::BLOCKING { bounded(on_threads(exit, &Threads::new(1))).await } else { bounded(exit).await }
}

/// Waits for an `exit` hook, as long as one may take.
pub(super) async fn bounded(exit: impl Future<Output = Result<()>>) -> Result<()> {
    let mut exit = Box::pin(exit);
    let left = tokio::time::timeout(EXIT_WITHIN, exit.as_mut()).await;
    // One that is given up may panic when it is dropped.
    let _ = panic::guard(|| drop(exit));
    left.unwrap_or_else(|_| {
        let what = format!("it did not end within {} seconds", EXIT_WITHIN.as_secs());
        Err(TransactionError::timeout(what))
    })
}

/// A run that ended well failed all the same if its exit hook did.
pub(super) fn leave(mut report: RunReport, left: Result<()>) -> RunReport {
    if let (Err(failure), false) = (left, matches!(report.ended, Ended::Failed(_))) {
        let message = format!("the exit hook of `{}` failed: {failure}", report.task);
        report.ended = Ended::Failed(Error::new(ErrorKind::Task, message));
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::memory::{Memory, MemoryQueue};
    use crate::connector::{Context, FetchRequest};
    use crate::transaction::Transaction;

    #[tokio::test]
    async fn a_delivery_that_is_dropped_in_its_lane_is_given_back_by_the_next_settle() {
        let queue = MemoryQueue::new();
        queue.extend(["running", "fetched"].map(|id| Transaction::new(id, &1).unwrap()));
        let input = Input::new(Arc::new(Memory::new(Arc::clone(&queue))), &Context::new("t", "input"));
        let stop = Stop::default();
        let terms = RunContext::new(ConsumerPolicy::DEFAULT, None, &stop);
        let run = RunState::new("t", terms, (input, None), &stop);
        let delivery = run.input.fetch_held(&FetchRequest::new(1)).await.unwrap().remove(0);
        let mut holding = LaneGuard { run: &run, number: 0, running: None, fetched: None };
        let fetched = Some(Fetched { asked: 1, deliveries: vec![delivery] });
        assert!(matches!(run.slots.next(&mut holding.running, fetched, false), Next::Run));
        let deliveries = run.input.fetch_held(&FetchRequest::new(1)).await.unwrap();
        holding.fetched = Some(Fetched { asked: 1, deliveries });
        drop(holding);
        assert_eq!(queue.inspect().handed_out, 2);
        run.input.settle(Vec::new()).await.unwrap();
        assert_eq!((queue.inspect().handed_out, queue.inspect().waiting), (0, 2));
    }
}
