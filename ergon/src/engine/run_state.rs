//! What the lanes, the fetcher and the settler of one loop share.

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

/// What the lanes, the fetcher and the settler of one loop have in common.
#[derive(Debug)]
pub(super) struct RunState {
    pub(super) task: &'static str,
    pub(super) context: RunContext,
    pub(super) input: Input,
    pub(super) slots: Slots,
    /// Transactions that end within this time are quick.
    pub(super) quick_limit: Duration,
    /// Cancel what is in flight.
    pub(super) abort: CancellationToken,
    /// How the lanes are told of that.
    pub(super) aborted: Abort,
    /// What a producer's stream has made, if that is the source.
    pub(super) pulled: Option<Arc<dyn Pulled>>,
    /// The threads of a task whose steps block.
    pub(super) threads: Arc<Threads>,
    /// Calls to the source that a lane began and that were not over at once; the settler goes on with them.
    /// It is the settler that holds the other end, so that they are dropped with it.
    pub(super) handed_over: OnceLock<UnboundedSender<SettleCall>>,
    /// Deliveries that are tried again later.
    held: Mutex<DelayQueue<Delivery>>,
    /// What made the run drain, if it did.
    cause: OnceLock<Cause>,
    /// Tells, when it is dropped, that the loop is gone, and has given back what it held.
    _there: TaskTrackerToken,
}

impl RunState {
    /// Makes a loop over a source; `pulled` is what that source is made of if it is the task's own stream.
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
            abort: stop.abort.child_token(),
            handed_over: OnceLock::new(),
            held: Mutex::default(),
            cause: OnceLock::new(),
            _there: stop.loops.token(),
        }
    }

    /// Shows the loop's levels for as long as it runs, and its threads until they have returned.
    pub(super) fn watch_levels(self: &Arc<Self>) {
        let (looked_at, threads) = (Arc::downgrade(self), Arc::clone(&self.threads));
        let levels = move || {
            let run = looked_at.upgrade()?;
            let load = run.slots.load();
            let limit = run.context.policy.concurrency;
            Some(Levels { in_flight: load.running, limit, undelivered: load.letters })
        };
        self.context.meters.watch(levels, move || threads.stuck());
    }

    /// Remembers why the run drains; the first cause stays.
    pub(super) fn note_drain(&self, cause: Cause) {
        let _ = self.cause.set(cause);
    }

    pub(super) fn drained(&self) -> Option<Cause> {
        self.cause.get().copied()
    }

    /// What is tried again later; whoever settles puts it in, the settler takes it out.
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

/// A loop in the hands of those who work on it: its lanes and its settler. When the last of them is gone before its
/// time, what the loop has and nobody holds is given back.
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
        let letters = self.context.postponed.as_deref().map(DeadLetters::left).unwrap_or_default();
        let letters = letters.into_iter().filter_map(|finished| finished.receipt);
        let left = self.slots.left().into_iter().chain(held).chain(letters);
        left.for_each(|receipt| self.input.give_back(receipt));
    }
}
