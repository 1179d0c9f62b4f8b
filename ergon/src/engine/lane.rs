//! A lane: runs one delivery after the other through the steps of the task.
//!
//! A loop has as many lanes as its `concurrency`, for as long as it runs. A lane takes the next delivery itself, or
//! fetches for all lanes when no delivery waits. So the engine spawns no task, allocates no box and sends no message
//! for a single transaction.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::coop::consume_budget;
use tokio::time::Instant;

use super::clock::Clock;
use super::completed::Completed;
use super::fetch::fetch;
use super::finished::Finished;
use super::lease::Leased;
use super::processing::Given;
use super::run_state::{RunGuard, RunState};
use super::settle::in_turn;
use super::slots::{Fetched, Haste, InFlight, Next};
use crate::connector::{Delivery, take_pushes};
use crate::transaction::panic;

/// A transaction is short if it ends within this time after the limit of a quick transaction. Short transactions of a
/// run whose sinks have buffers are settled together, so this time and the number of these transactions limit how long
/// a line stays in a buffer.
const BRIEF: Duration = Duration::from_micros(50);

/// A lane of a loop.
pub(super) struct Lane {
    guard: LaneGuard,
    number: usize,
    clock: Clock,
    pace: Pace,
    /// The time before which a quick transaction ends.
    soon: Option<Instant>,
    /// Whether the sinks of the run have buffers. If so, the lane records which transactions its deliveries put into
    /// them.
    buffers: bool,
}

/// The deliveries of a lane. They are given back when the lane is dropped.
struct LaneGuard {
    run: Arc<RunGuard>,
    running: Option<InFlight>,
    /// Fetched for all lanes, until they are handed in.
    fetched: Option<Fetched>,
}

/// The pace of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// The latest transaction waited or was slow. The lane wakes another lane if there is more work, and yields to
    /// other tokio tasks after each turn.
    Steady,
    /// The same, but the latest transaction was short, and the sinks of the run have buffers. The lane yields after each
    /// turn, and settles many deliveries together, so that one flush serves them all.
    Brief,
    /// The latest transaction ended before another thread could have been woken. The lane takes the next delivery
    /// without waking another lane, settles many deliveries together, and yields only after [`Self::TURNS`] turns.
    Quick { turns: u32 },
}

impl Pace {
    /// A yield wakes another thread, which looks for work, and the lane may continue on that thread. Both cost more
    /// than a quick transaction, so 16 quick transactions share one yield.
    const TURNS: u32 = 16;

    fn haste(self) -> Haste {
        match self {
            Self::Steady => Haste::None,
            Self::Brief => Haste::Brief,
            Self::Quick { .. } => Haste::Quick,
        }
    }

    /// Records whether the latest transaction was quick, and, if it was not, whether it was short.
    fn ran(&mut self, quick: bool, brief: bool) {
        match self {
            _ if !quick => *self = if brief { Self::Brief } else { Self::Steady },
            Self::Steady | Self::Brief => *self = Self::Quick { turns: 0 },
            Self::Quick { .. } => (),
        }
    }

    /// Records the end of a turn. Returns whether the lane yields now.
    fn lets_others_run(&mut self) -> bool {
        let Self::Quick { turns } = self else { return true };
        *turns = turns.wrapping_add(1);
        turns.is_multiple_of(Self::TURNS)
    }
}

impl Lane {
    pub(super) fn new(run: Arc<RunGuard>, number: usize) -> Self {
        let guard = LaneGuard { run, running: None, fetched: None };
        let mut clock = Clock::starting_now();
        clock.rest();
        let buffers = guard.run.context.buffers.is_some();
        Self { guard, number, clock, pace: Pace::Steady, soon: None, buffers }
    }

    /// Hands in the finished and the fetched deliveries, and returns the next action.
    pub(super) fn next(&mut self) -> Next {
        let LaneGuard { run, running, fetched } = &mut self.guard;
        run.slots.next(running, fetched.take(), self.pace.haste())
    }

    /// Starts to process the delivery of the lane. Returns `None` if its lease is lost.
    #[inline]
    pub(super) fn begin(&mut self) -> Option<(Given<'_>, Watch<'_>)> {
        let LaneGuard { run, running, .. } = &mut self.guard;
        let run: &RunState = run;
        let Finished { transaction, receipt, completed, .. } = &mut running.as_mut()?.finished;
        let (transaction, receipt) = (&*transaction, receipt.as_ref());
        // A lane that comes straight from its last transaction uses the end of that transaction as the start of this
        // transaction.
        self.clock.resume();
        self.soon = self.clock.mark.checked_add(run.quick_limit);
        let leased = Leased::by(receipt);
        if leased.is_lost() {
            return None;
        }
        let clock = &mut self.clock;
        let given = Given { context: &run.context, transaction, receipt, completed, clock };
        Some((given, Watch { run, lane: self.number, quick: self.pace != Pace::Steady, leased }))
    }

    /// Records the end of the processing. `whole` says whether the processing reached its end or was cancelled.
    pub(super) fn ended(&mut self, whole: bool) {
        if !whole {
            self.clock.rest();
            if let Some(InFlight { finished, .. }) = &mut self.guard.running {
                finished.completed = Completed::aborted();
            }
        }
        let brief = self.buffers && self.note_pushes() && whole;
        self.pace.ran(whole && self.soon.is_some_and(|soon| self.clock.mark < soon), brief);
    }

    /// Records the transactions that the delivery has put into buffers. Returns whether the delivery's transaction was
    /// short.
    fn note_pushes(&mut self) -> bool {
        if let Some(InFlight { finished, .. }) = &mut self.guard.running {
            finished.pushes = take_pushes();
        }
        self.soon.and_then(|soon| soon.checked_add(BRIEF)).is_some_and(|soon| self.clock.mark < soon)
    }

    /// Settles, fetches for all lanes, or waits.
    pub(super) async fn turn_to(&mut self, next: Next) {
        let run: &RunState = &self.guard.run;
        match next {
            Next::Settle => in_turn(run).await,
            Next::Fetch(asked) => {
                let deliveries = fetch(run, asked).await;
                self.guard.fetched = Some(Fetched { asked, deliveries });
            }
            Next::Wait => run.slots.wait().await,
            Next::Run | Next::End => (),
        }
        self.clock.rest();
    }

    /// Yields to other tokio tasks once in a while, even if nothing in this lane ever waits.
    pub(super) async fn let_others_run(&mut self) {
        if self.pace.lets_others_run() {
            consume_budget().await;
        }
    }
}

impl Drop for LaneGuard {
    fn drop(&mut self) {
        let running = self.running.take().and_then(|running| running.finished.receipt);
        let fetched = self.fetched.take().into_iter().flat_map(|fetched| fetched.deliveries);
        for receipt in running.into_iter().chain(fetched.map(Delivery::into_receipt)) {
            self.run.input.give_back(receipt);
        }
    }
}

/// Watches the processing of one transaction in a lane.
pub(super) struct Watch<'a> {
    run: &'a RunState,
    lane: usize,
    /// Whether the lane postponed work when it took the delivery: to wake another lane, or to settle. It does that work if
    /// the processing waits.
    quick: bool,
    leased: Leased<'a>,
}

impl Watch<'_> {
    /// Polls the processing to its end. Returns `false` if it was cancelled. A processing that ends at its first poll
    /// wakes no lane and registers no waker.
    pub(super) async fn poll(
        self,
        processing: &mut (dyn FnMut(Option<&mut Context<'_>>) -> Poll<()> + Send),
    ) -> bool {
        let (mut first, mut wakes) = (true, self.quick);
        let whole = poll_fn(|context| {
            let mut poll = || processing(Some(context)).is_ready();
            // Handlers are guarded where they are called. This guard catches a panic of the engine's own code. The
            // first poll has no such guard, because most transactions end at their first poll and each guard costs
            // time.
            let ready = if std::mem::take(&mut first) { Ok(poll()) } else { panic::guard(poll) };
            match ready {
                Ok(true) => return Poll::Ready(true),
                Ok(false) => (),
                Err(_) => return Poll::Ready(false),
            }
            if std::mem::take(&mut wakes) {
                self.run.slots.wake_another();
            }
            if self.leased.poll_lost(context).is_ready() {
                return Poll::Ready(false);
            }
            self.run.aborted.poll(self.lane, context.waker()).map(|()| false)
        })
        .await;
        if !whole {
            // The `Drop` of a cancelled handler may panic.
            let _ = panic::guard(|| processing(None));
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::memory::{Memory, MemoryQueue};
    use crate::connector::{Context, FetchRequest, Input};
    use crate::engine::run_context::RunContext;
    use crate::policy::ConsumerPolicy;
    use crate::task::Stop;
    use crate::transaction::Transaction;

    #[tokio::test]
    async fn a_delivery_that_is_dropped_in_its_lane_is_given_back_by_the_next_settle() {
        let queue = MemoryQueue::new();
        queue.extend(["running", "fetched"].map(|id| Transaction::new(id, &1).unwrap()));
        let input = Input::new(Arc::new(Memory::new(Arc::clone(&queue))), &Context::new("t", "input"));
        let stop = Stop::default();
        let context = RunContext::new(ConsumerPolicy::DEFAULT, None, &stop);
        let run = Arc::new(RunGuard::new(Arc::new(RunState::new("t", context, (input, None), &stop))));
        let input = run.input.clone();
        let delivery = run.input.fetch_held(&FetchRequest::new(1)).await.unwrap().remove(0);
        let mut lane = Lane::new(Arc::clone(&run), 0);
        lane.guard.fetched = Some(Fetched { asked: 1, deliveries: vec![delivery] });
        assert!(matches!(lane.next(), Next::Run));
        let deliveries = run.input.fetch_held(&FetchRequest::new(1)).await.unwrap();
        lane.guard.fetched = Some(Fetched { asked: 1, deliveries });
        drop(lane);
        assert_eq!(queue.inspect().handed_out, 2);
        input.settle(Vec::new()).await.unwrap();
        assert_eq!((queue.inspect().handed_out, queue.inspect().waiting), (0, 2));
    }
}
