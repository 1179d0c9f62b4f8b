//! Holds the state that the lanes, the fetcher and the settler of one loop share.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::abort::Abort;
use super::blocking::Threads;
use super::buffer::Pulled;
use super::dead_letters::DeadLetters;
use super::delay_queue::DelayQueue;
use super::drain::Cause;
use super::finished::SettleCall;
use super::quick;
use super::run_context::RunContext;
use super::slots::Slots;
use crate::connector::{Delivery, Input};
use crate::task::{Snapshot, Stop};
use crate::telemetry::metrics::Levels;

/// The state that the lanes, the fetcher and the settler of one loop share.
#[derive(Debug)]
pub(super) struct RunState {
    pub(super) task: &'static str,
    pub(super) context: RunContext,
    pub(super) input: Input,
    pub(super) slots: Slots,
    /// The duration below which a transaction counts as quick.
    pub(super) quick_limit: Duration,
    /// Cancels the transactions in flight.
    pub(super) abort: CancellationToken,
    /// Passes the cancellation on to the lanes.
    pub(super) aborted: Abort,
    /// The buffer of the stream, if the source is the task's own stream.
    pub(super) pulled: Option<Arc<dyn Pulled>>,
    /// The threads of a task whose steps block.
    pub(super) threads: Arc<Threads>,
    /// Settlements that a lane started and the source did not answer immediately. The settler awaits them. The settler
    /// owns the receiver, so that pending settlements are dropped with the settler.
    pub(super) handed_over: OnceLock<UnboundedSender<SettleCall>>,
    /// Deliveries that are held until their retry is due.
    held: Mutex<DelayQueue<Delivery>>,
    /// The reason why the run drains, if it does.
    cause: OnceLock<Cause>,
    /// Dropped with the loop. `Run` waits for it before it starts the next loop, so that the deliveries of this loop
    /// are given back.
    _there: TaskTrackerToken,
}

impl RunState {
    /// Makes a loop over a source. `pulled` is the buffer of that source, if it is the task's own stream.
    pub(super) fn new(
        task: &'static str,
        context: RunContext,
        (input, pulled): (Input, Option<Arc<dyn Pulled>>),
        stop: &Stop,
    ) -> Self {
        let streaming = context.policy.streaming;
        let mut context = context.watched(task, input.kind(), streaming);
        context.source = Some(input.clone());
        context.postponed = context.dead_letter.as_ref().map(|_| Box::new(DeadLetters::of(task)));
        Self {
            task,
            slots: Slots::new(&context.policy, pulled.is_some()),
            quick_limit: quick::limit(),
            threads: Threads::new(context.policy.concurrency),
            aborted: Abort::new(context.policy.concurrency),
            context,
            input,
            pulled,
            // A child, because a loop whose grace is over must not cancel the other loops of the process.
            abort: stop.abort.child_token(),
            handed_over: OnceLock::new(),
            held: Mutex::default(),
            cause: OnceLock::new(),
            _there: stop.loops.token(),
        }
    }

    /// Reports the gauges of the loop for as long as it runs, and its abandoned threads until they have returned.
    pub(super) fn watch_levels(self: &Arc<Self>) {
        let (looked_at, threads) = (Arc::downgrade(self), Arc::clone(&self.threads));
        let levels = move || {
            let run = looked_at.upgrade()?;
            let load = run.slots.load();
            let limit = run.context.policy.concurrency;
            Some(Levels { in_flight: load.running, limit, undelivered: load.dead_letters })
        };
        self.context.meters.watch(levels, move || threads.stuck());
    }

    /// Records why the run drains. The first reason stays.
    pub(super) fn note_drain(&self, cause: Cause) {
        let _ = self.cause.set(cause);
    }

    pub(super) fn drained(&self) -> Option<Cause> {
        self.cause.get().copied()
    }

    /// The held deliveries. A settlement adds them, the settler takes them out.
    pub(super) fn held(&self) -> MutexGuard<'_, DelayQueue<Delivery>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let load = self.slots.load();
        let mut tally = self.context.tally();
        tally.fetched = load.fetched;
        tally.call_retries = self.context.calls.retries();
        tally.abandoned_threads = self.threads.stuck() as u64;
        if let Some(outbound) = &self.context.outbound {
            let outbound = outbound.tally();
            tally.produced = outbound.succeeded;
            tally.add_outbound(&outbound);
        }
        let undelivered = self.context.postponed.as_deref().and_then(DeadLetters::look);
        Snapshot { tally, in_flight: load.running, undelivered }
    }
}

/// Shares a loop among its lanes and its settler. When the last of them is dropped before the end of the run, the
/// deliveries that none of them holds are given back.
#[derive(Debug)]
pub(super) struct RunGuard(Arc<RunState>);

impl RunGuard {
    pub(super) fn new(run: Arc<RunState>) -> Self {
        Self(run)
    }
}

impl Deref for RunGuard {
    type Target = RunState;

    fn deref(&self) -> &RunState {
        &self.0
    }
}

impl Drop for RunGuard {
    fn drop(&mut self) {
        let held = self.held().take_all().into_iter().map(Delivery::into_receipt);
        let dead_letters = self.context.postponed.as_deref().map(DeadLetters::left).unwrap_or_default();
        let dead_letters = dead_letters.into_iter().filter_map(|finished| finished.receipt);
        let left = self.slots.left().into_iter().chain(held).chain(dead_letters);
        left.for_each(|receipt| self.input.give_back(receipt));
    }
}
