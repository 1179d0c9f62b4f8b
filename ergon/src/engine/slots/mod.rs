//! Decides what each lane does next. Holds the deliveries that wait, the free lanes, and the finished deliveries that
//! are not yet settled.
//!
//! One lock protects this state, and each transaction takes that lock once: a lane hands in its finished delivery and
//! gets the next one in a single call.
//!
//! Invariant: at most `concurrency` deliveries run, no two of them have the same id, and the source is asked for at
//! most `limit` deliveries.

mod rules;
mod state;
#[cfg(test)]
mod tests;

use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use foldhash::fast::RandomState;
use hashbrown::hash_table::Entry;
use tokio::sync::Notify;

use super::finished::Finished;
use crate::connector::{Delivery, Receipt};
use crate::error::Error;
use crate::policy::ConsumerPolicy;
use crate::task::{Allowance, Draw, Grant, Mark, Moment};
use crate::transaction::panic;
use rules::Rules;
use state::{SameKey, State, Supply, Turn};

/// The number of deliveries that a lane in haste finishes before it settles them in one call. That takes a fraction of a
/// millisecond for quick transactions, and a few milliseconds for brief ones, so no settlement waits long.
const SETTLED_TOGETHER: usize = 128;

/// The next action of a lane.
#[derive(Debug)]
pub(super) enum Next {
    /// Run the delivery that was put into the lane.
    Run,
    /// Settle the finished deliveries, then ask again.
    Settle,
    /// Fetch at most this many for all lanes.
    Fetch(usize),
    /// Wait until woken.
    Wait,
    /// End: no work is left.
    End,
}

/// The expected time until a lane returns with its delivery, judged by its latest transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Haste {
    /// It may take long: the lane wakes another lane, and the settler.
    None,
    /// Soon: the lane wakes another lane, and settles many deliveries together itself.
    Brief,
    /// Before another lane could start: the lane wakes no other lane, and settles many deliveries together itself.
    Quick,
}

/// A delivery in a lane. It is given back, unless its processing sets another outcome.
#[derive(Debug)]
pub(super) struct InFlight {
    /// The hash of its id.
    key: u64,
    pub(super) finished: Finished,
}

/// The deliveries that a lane fetched for all lanes, and how many it asked for.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) asked: usize,
    pub(super) deliveries: Vec<Delivery>,
}

/// The state of a loop that its lanes, its fetcher and its settler share.
#[derive(Debug)]
pub(super) struct Slots {
    state: Mutex<State>,
    hasher: RandomState,
    rules: Rules,
    /// The quota that the limit is drawn from, where other workers draw on the same limit.
    draw: OnceLock<Box<dyn Draw>>,
    /// Wakes one lane.
    work: Notify,
    /// Wakes the settler, because a delivery is finished.
    pub(super) due: Notify,
    /// Ends the wait of a fetcher that found the source empty, because a delivery was given back to the source.
    pub(super) refill: Notify,
    /// Ends a fetch that waits for data, because a held delivery is due and no other lane is free to run it.
    pub(super) released: Notify,
    /// Ends a fetch that waits for data, because another worker needs the part of the limit that the fetch holds.
    recalled: Notify,
    /// Wakes the redelivery, because nothing but dead letters is left.
    pub(super) only_dead_letters: Notify,
}

/// The load of a loop at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// Deliveries whose steps run.
    pub(super) running: usize,
    /// Deliveries that were fetched, or that the source is asked for.
    pub(super) fetched: u64,
    /// Deliveries whose dead letter waits for its next attempt.
    pub(super) dead_letters: usize,
}

impl Slots {
    pub(super) fn new(policy: &ConsumerPolicy, is_stream: bool) -> Self {
        Self {
            state: Mutex::new(State::new(Allowance::own(policy.limit.unwrap_or(u64::MAX)))),
            hasher: RandomState::default(),
            rules: Rules::of(policy, is_stream),
            draw: OnceLock::new(),
            work: Notify::new(),
            due: Notify::new(),
            refill: Notify::new(),
            released: Notify::new(),
            recalled: Notify::new(),
            only_dead_letters: Notify::new(),
        }
    }

    /// Shares the limit with other workers: from now on, the loop fetches only granted deliveries. Call it before the
    /// first fetch.
    pub(super) fn draw_on(&self, begin: impl FnOnce() -> Box<dyn Draw>) {
        // The allowance is replaced first, because the first grant may arrive before `begin` has returned.
        self.state().allowance = Allowance::drawn();
        // A loop runs once, so the cell is empty.
        let _ = self.draw.set(begin());
        self.claim(self.state());
    }

    /// Applies a grant, or a recall of what is not used.
    pub(super) fn apply_grant(&self, grant: Grant) {
        let mut state = self.state();
        state.allowance.apply(grant);
        let (recalled, wake) = (state.allowance.is_recalled(), self.wakes_another(&mut state));
        self.claim(state);
        if recalled {
            self.recalled.notify_one();
        }
        if wake {
            self.work.notify_one();
        }
    }

    /// Claims that `came` of the `asked` deliveries came from the source. Returns `None` if no other worker draws on
    /// the limit.
    pub(super) fn report(&self, asked: usize, came: usize) -> Option<Mark> {
        let draw = self.draw.get()?;
        let mut state = self.state();
        state.gave_way = 0;
        let fetched = state.fetched.saturating_sub(asked as u64).saturating_add(came as u64);
        Some(draw.claim(state.allowance.take(fetched)))
    }

    /// Waits until a [report](Self::report) has left the process.
    pub(super) async fn sent(&self, mark: Mark) {
        if let Some(draw) = self.draw.get() {
            draw.sent(mark).await;
        }
    }

    /// Waits until a recall arrives; forever where no other worker draws on the limit.
    pub(super) async fn wanted_back(&self) {
        while !self.is_wanted_back() {
            self.recalled.notified().await;
        }
    }

    /// Counts a fetch that ended early for another worker.
    pub(super) fn give_way(&self) {
        let mut state = self.state();
        state.gave_way = state.gave_way.saturating_add(1);
    }

    /// The number of fetches in a row that ended early for another worker.
    pub(super) fn gave_way(&self) -> u32 {
        self.state().gave_way
    }

    /// Whether a recall arrived that is not answered yet.
    pub(super) fn is_wanted_back(&self) -> bool {
        self.draw.get().is_some() && self.state().allowance.is_recalled()
    }

    /// Claims what has changed in this loop's part of the limit. Takes the guard and releases it before the claim is
    /// written.
    fn claim(&self, mut state: MutexGuard<'_, State>) {
        let Some(draw) = self.draw.get() else { return };
        let (open, vacant) = (state.source == Supply::Open, self.vacancy(&state) > 0);
        let now = Moment { fetched: state.fetched, fetching: state.fetching, vacant, open };
        // The claim is queued under the lock, so that claims keep the order of the states that they describe. It is
        // written after the lock is released, because a write may wait for the supervisor.
        let claimed = state.allowance.say(now).map(|claim| draw.claim(claim)).is_some();
        drop(state);
        if claimed {
            draw.send();
        }
    }

    /// Takes the finished and the fetched deliveries of a lane, and returns its next action. The delivery to run is put
    /// into `lane`.
    ///
    /// Wakes another lane if there is more work, and the settler if a delivery is finished. A lane in [haste](Haste)
    /// settles for itself. A quick lane wakes no other lane, because it is back before another thread could have been
    /// woken. A lane in haste that has to wait calls [`wake_another`](Self::wake_another).
    pub(super) fn next(&self, lane: &mut Option<InFlight>, fetched: Option<Fetched>, haste: Haste) -> Next {
        let mut state = self.state();
        if let Some(fetched) = fetched {
            self.take_in(&mut state, fetched);
        }
        if let Some(InFlight { key, finished }) = lane.take() {
            state.end(key);
            state.finish(finished);
        }
        if self.settles_first(&state, haste) {
            return Next::Settle;
        }
        let next = self.choose(&mut state, lane);
        let back_soon = haste != Haste::None && matches!(next, Next::Run | Next::Fetch(_));
        if !back_soon {
            self.wake_settler(&mut state);
        }
        let wake = match &next {
            Next::Run if haste == Haste::Quick => false,
            Next::Run | Next::Fetch(_) => self.wakes_another(&mut state),
            Next::Settle => false,
            // Each lane that ends wakes the next one, because a single permit wakes a single lane.
            Next::End => state.idle > 0,
            Next::Wait => {
                state.idle += 1;
                false
            }
        };
        self.claim(state);
        if wake {
            self.work.notify_one();
        }
        next
    }

    /// Wakes a lane if there is work, and the settler if a delivery is finished.
    pub(super) fn wake_another(&self) {
        let mut state = self.state();
        self.wake_settler(&mut state);
        let wake = self.wakes_another(&mut state);
        drop(state);
        if wake {
            self.work.notify_one();
        }
    }

    /// Waits until there may be work. Call it after [`Next::Wait`].
    pub(super) async fn wait(&self) {
        self.work.notified().await;
        // The count changes only now, so that a lane that is woken and not scheduled yet still counts as free.
        let mut state = self.state();
        state.idle = state.idle.saturating_sub(1);
        state.waking = false;
    }

    /// Records that the source is empty, in a run that ends with its source.
    pub(super) fn dry(&self) {
        let mut state = self.state();
        if state.source == Supply::Open && !state.returned {
            state.source = Supply::Dry;
        }
        self.claim(state);
    }

    /// Records that the source failed. Deliveries that came before are still processed.
    pub(super) fn fail(&self, failure: Error) {
        let mut state = self.state();
        state.failure = state.failure.take().or(Some(failure));
        if state.source == Supply::Open && !state.returned {
            state.source = Supply::Dry;
        }
    }

    /// Fetches nothing more. Deliveries that were not started are given back by the settler. A stream takes nothing
    /// back: its transactions are started as long as lanes run.
    pub(super) fn close(&self, failure: Option<Error>) {
        let mut state = self.state();
        state.failure = state.failure.take().or(failure);
        if !self.rules.keeps_fetched {
            self.give_back_unbegun(&mut state);
        } else if state.source != Supply::Closed {
            state.source = Supply::Draining;
        }
        self.claim(state);
        self.refill.notify_waiters();
        self.work.notify_one();
    }

    /// Starts nothing more. Deliveries that were not started are given back by the settler.
    pub(super) fn abandon(&self) {
        let mut state = self.state();
        self.give_back_unbegun(&mut state);
        drop(state);
        self.refill.notify_waiters();
        self.work.notify_one();
    }

    /// Takes the finished deliveries, to be settled. Returns `None` if there are none, or if another settlement is
    /// under way.
    pub(super) fn take_finished(&self) -> Option<Vec<Finished>> {
        let mut state = self.state();
        if state.turn == Turn::Taken || state.finished.is_empty() {
            return None;
        }
        state.turn = Turn::Taken;
        let spare = std::mem::take(&mut state.spare);
        let finished = std::mem::replace(&mut state.finished, spare);
        state.settling += finished.len();
        Some(finished)
    }

    /// Records that the taken deliveries are settled, except those that are held. `returned` says whether the source
    /// delivers any of them again.
    pub(super) fn settled(&self, mut settled: Vec<Finished>, returned: bool) {
        let count = settled.len();
        // The `Drop` of a task's error may panic. The source has its answer already, so the panic changes nothing.
        let _ = panic::guard(|| settled.clear());
        let mut state = self.state();
        state.spare = settled;
        state.settling = state.settling.saturating_sub(count);
        state.returned |= returned;
        if returned && state.source == Supply::Dry {
            state.source = Supply::Open;
        }
        state.turn = Turn::Free;
        // Deliveries that were finished during the settlement have woken no settler.
        self.wake_settler(&mut state);
        self.wake_redelivery(&state);
        let wake = self.wakes_another(&mut state);
        self.claim(state);
        if returned {
            // No permit is stored: a fetcher that does not wait at present asks the source anyway.
            self.refill.notify_waiters();
        }
        if wake {
            self.work.notify_one();
        }
    }

    /// Records that `count` transactions were given back to a stream. Fetching them again is no new pull, so it must
    /// not count against the limit.
    pub(super) fn not_pulled(&self, count: u64) {
        let mut state = self.state();
        state.fetched = state.fetched.saturating_sub(count);
    }

    /// Records that handlers gave back `count` deliveries while the run stops: the run does not try them again.
    pub(super) fn left_to_do(&self, count: u64) {
        self.state().given_back += count;
    }

    /// Records that a finished delivery is held until it is due.
    pub(super) fn hold(&self) {
        let mut state = self.state();
        state.settling = state.settling.saturating_sub(1);
        state.held += 1;
    }

    /// Records that the dead letter of a finished delivery waits for its next attempt. Returns whether it may wait:
    /// while the run closes, it may not.
    pub(super) fn postpone(&self) -> bool {
        let mut state = self.state();
        if state.is_closing() {
            return false;
        }
        state.settling = state.settling.saturating_sub(1);
        state.dead_letters += 1;
        true
    }

    /// Hands in a delivery whose dead letter waits no longer, to be settled.
    pub(super) fn hand_in(&self, finished: Finished) {
        let mut state = self.state();
        state.dead_letters = state.dead_letters.saturating_sub(1);
        state.finish(finished);
        self.wake_settler(&mut state);
    }

    /// The number of deliveries whose dead letters wait.
    pub(super) fn dead_letters(&self) -> usize {
        self.state().dead_letters
    }

    /// Whether nothing but waiting dead letters is left, and nothing can arrive.
    pub(super) fn has_only_dead_letters(&self) -> bool {
        self.only_dead_letters_wait(&self.state())
    }

    /// Whether no new delivery arrives.
    pub(super) fn is_closing(&self) -> bool {
        self.state().is_closing()
    }

    /// Releases a held delivery that is due: it runs again, or is given back if the run is closed.
    pub(super) fn release(&self, delivery: Delivery) {
        let mut state = self.state();
        state.held = state.held.saturating_sub(1);
        if state.source == Supply::Closed {
            self.hand_back(&mut state, delivery);
        } else {
            // It has waited for its retry already, so it does not queue behind newer deliveries.
            state.ready.push_front(delivery);
        }
        // A lane that waits in a fetch would not look here before the source has data, so the fetch is ended.
        let only_a_fetcher = state.idle == 0 && state.fetching;
        drop(state);
        self.work.notify_one();
        if only_a_fetcher {
            self.released.notify_one();
        }
    }

    /// The receipts of all deliveries that no lane holds. For a loop that no lane and no settler works on any more.
    pub(super) fn left(&self) -> Vec<Receipt> {
        let mut state = self.state();
        let mut left: Vec<_> = state.take_unbegun().into_iter().map(Delivery::into_receipt).collect();
        left.extend(state.finished.drain(..).filter_map(|finished| finished.receipt));
        left
    }

    /// Whether a delivery waits for a lane.
    pub(super) fn has_ready(&self) -> bool {
        !self.state().ready.is_empty()
    }

    /// The load of the loop.
    pub(super) fn load(&self) -> Load {
        let state = self.state();
        Load { running: state.running.len(), fetched: state.fetched, dead_letters: state.dead_letters }
    }

    /// Whether the run ended because `limit` was reached.
    pub(super) fn limit_reached(&self) -> bool {
        let state = self.state();
        state.allowance.is_used_up(state.fetched)
    }

    /// The number of deliveries that were given back because the run stops, started or not.
    pub(super) fn given_back(&self) -> u64 {
        self.state().given_back
    }

    /// The error that ended the run. Returned once.
    pub(super) fn take_failure(&self) -> Option<Error> {
        self.state().failure.take()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic under this lock is a defect of the engine. The lock is used all the same, so that the run can end and
        // give its deliveries back.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_in(&self, state: &mut State, Fetched { asked, deliveries }: Fetched) {
        state.fetching = false;
        state.collected |= std::mem::take(&mut state.collecting) && deliveries.is_empty();
        state.fetched = state.fetched.saturating_sub((asked as u64).saturating_sub(deliveries.len() as u64));
        if state.source == Supply::Closed {
            // The run was stopped during the fetch.
            for delivery in deliveries {
                self.hand_back(state, delivery);
            }
        } else if state.ready.is_empty() {
            state.ready = deliveries.into();
        } else {
            state.ready.extend(deliveries);
        }
    }

    /// Hands in a delivery that was not started, to be given back.
    fn hand_back(&self, state: &mut State, delivery: Delivery) {
        state.finish(Finished::give_back(delivery));
        self.wake_settler(state);
    }

    /// Wakes the settler, unless a settlement is under way or nothing is finished.
    fn wake_settler(&self, state: &mut State) {
        if state.turn == Turn::Free && !state.finished.is_empty() {
            state.turn = Turn::Woken;
            self.due.notify_one();
        }
    }

    /// Whether a lane settles before it continues. A lane in haste does so once for many deliveries, or when it would wait
    /// otherwise. Another lane does so only when nothing else runs, because the end of a running delivery can be
    /// settled in the same call.
    fn settles_first(&self, state: &State, haste: Haste) -> bool {
        if state.turn != Turn::Free || state.finished.is_empty() {
            return false;
        }
        if haste == Haste::None {
            return state.running.is_empty();
        }
        state.finished.len() >= SETTLED_TOGETHER || (state.ready.is_empty() && self.room(state) == 0)
    }

    fn choose(&self, state: &mut State, lane: &mut Option<InFlight>) -> Next {
        if state.finished.len() + state.settling >= self.rules.unsettled || self.is_full(state) {
            self.wake_redelivery(state);
            return Next::Wait;
        }
        while let Some(delivery) = state.ready.pop_front() {
            let key = self.hasher.hash_one(delivery.transaction().id());
            match state.running.entry(key, |same| same.key == key, |same| same.key) {
                Entry::Vacant(free) => {
                    free.insert(SameKey { key, waiting: Vec::new() });
                    *lane = Some(InFlight { key, finished: Finished::give_back(delivery) });
                    return Next::Run;
                }
                Entry::Occupied(mut same) => {
                    same.get_mut().waiting.push(delivery);
                    state.waiting += 1;
                }
            }
        }
        let room = self.room(state);
        if room > 0 {
            (state.fetching, state.returned) = (true, false);
            state.collecting = state.source == Supply::Draining;
            state.fetched += room as u64;
            return Next::Fetch(room);
        }
        if Self::is_over(state) {
            return Next::End;
        }
        self.wake_redelivery(state);
        Next::Wait
    }

    /// Whether so many dead letters wait that no delivery may be started.
    fn is_full(&self, state: &State) -> bool {
        state.dead_letters >= self.rules.dead_letters && !state.is_closing()
    }

    /// The number of deliveries that a fetch may ask for now; 0 if no lane is to fetch.
    fn room(&self, state: &State) -> usize {
        if state.fetching {
            return 0;
        }
        // Transactions that were pulled for a cancelled fetch are still in the buffer of the stream.
        if state.source == Supply::Draining && !state.collected {
            return self.rules.batch_size;
        }
        let left = usize::try_from(state.allowance.left(state.fetched)).unwrap_or(usize::MAX);
        self.vacancy(state).min(left)
    }

    /// The number of deliveries that a fetch could ask for if there were no limit.
    fn vacancy(&self, state: &State) -> usize {
        let rules = &self.rules;
        if state.source != Supply::Open {
            return 0;
        }
        let begun = state.running.len() + state.ready.len() + state.waiting;
        let free = if rules.whole_batches {
            // A delivery whose dead letter waits does not count as part of the batch. Otherwise, it would hold up the
            // next batch for as long as the dead-letter connector is down.
            let under_way = begun + state.finished.len() + state.settling + state.held;
            if under_way == 0 { usize::MAX } else { 0 }
        } else {
            rules.concurrency.saturating_add(rules.prefetch).saturating_sub(begun)
        };
        free.min(rules.batch_size)
    }

    /// Whether to wake a lane, because there is more work. Only one lane is woken at a time, and that lane wakes the
    /// next one: this keeps idle lanes from waking in vain.
    fn wakes_another(&self, state: &mut State) -> bool {
        let lane_free = state.idle > 0 && !state.waking && !self.is_full(state);
        let wakes = lane_free && (!state.ready.is_empty() || self.room(state) > 0 || Self::is_over(state));
        state.waking |= wakes;
        wakes
    }

    /// Whether no work is left, and none can arrive.
    fn is_over(state: &State) -> bool {
        let idle = under_way(state) + state.dead_letters == 0;
        !state.fetching && (state.is_closing() || (Self::is_exhausted(state) && idle))
    }

    fn is_exhausted(state: &State) -> bool {
        state.source == Supply::Dry || state.allowance.is_used_up(state.fetched)
    }

    /// Whether nothing but waiting dead letters is left: nothing can arrive, or a finite run starts nothing more
    /// because too many dead letters wait.
    fn only_dead_letters_wait(&self, state: &State) -> bool {
        let stands = self.is_full(state) && !self.rules.streaming;
        let nothing_comes = (Self::is_exhausted(state) && state.ready.is_empty()) || stands;
        state.dead_letters > 0 && !state.fetching && nothing_comes && under_way(state) == 0
    }

    fn wake_redelivery(&self, state: &State) {
        if state.dead_letters > 0 && self.only_dead_letters_wait(state) {
            self.only_dead_letters.notify_one();
        }
    }

    /// Starts nothing more.
    fn give_back_unbegun(&self, state: &mut State) {
        state.source = Supply::Closed;
        for delivery in state.take_unbegun() {
            self.hand_back(state, delivery);
        }
    }
}

/// The number of deliveries in flight, held ones included, without those whose dead letters wait.
fn under_way(state: &State) -> usize {
    state.running.len() + state.finished.len() + state.settling + state.held
}
