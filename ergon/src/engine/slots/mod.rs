//! Who does what next: deliveries that wait, lanes that are free, what is finished and not yet settled.
//!
//! One lock, taken once for each transaction: a lane hands in what it finished and takes what is next in one call.
//!
//! Invariant: at most `concurrency` deliveries run, no two of one id, and no more than `limit` are ever asked for.

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

/// A lane in haste settles this many finished deliveries together. That takes a fraction of a millisecond where
/// transactions are quick, and a few milliseconds where they are brief.
const SETTLED_TOGETHER: usize = 128;

/// What a lane is to do next.
#[derive(Debug)]
pub(super) enum Next {
    /// Run the delivery that was handed out.
    Run,
    /// Settle what is finished, then ask again.
    Settle,
    /// Fetch at most this many for all lanes.
    Fetch(usize),
    /// Wait to be woken.
    Wait,
    /// End: there is nothing left to do.
    End,
}

/// How soon a lane is back after it took a delivery, as far as its latest transaction tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Haste {
    /// It may take long: the lane wakes another lane, and the settler.
    None,
    /// Soon: the lane wakes another lane, and settles many together itself.
    Brief,
    /// Before another lane could come: the lane wakes none, and settles many together itself.
    Quick,
}

/// A delivery in a lane: to be given back, unless its processing says otherwise.
#[derive(Debug)]
pub(super) struct InFlight {
    /// Stands for its id.
    key: u64,
    pub(super) finished: Finished,
}

/// What a lane fetched for all, when it asked for so many.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) asked: usize,
    pub(super) deliveries: Vec<Delivery>,
}

/// The state of a run that its lanes, its fetcher and its settler share.
#[derive(Debug)]
pub(super) struct Slots {
    state: Mutex<State>,
    hasher: RandomState,
    rules: Rules,
    /// The way to whoever hands the limit out, where other workers draw on it too.
    draw: OnceLock<Box<dyn Draw>>,
    /// Wakes one lane.
    work: Notify,
    /// Wakes the settler: something is finished.
    pub(super) due: Notify,
    /// Ends the wait of a fetcher that found the source empty: something was given back.
    pub(super) refill: Notify,
    /// Ends a fetch: what was held is to run, and no lane waits for work.
    pub(super) released: Notify,
    /// Ends a fetch that waits for data: what it may bring is wanted by another worker.
    recalled: Notify,
    /// Wakes whoever delivers dead letters: nothing else is left to do.
    pub(super) alone: Notify,
}

/// How much there is to do, at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// Deliveries that are in one of their steps.
    pub(super) running: usize,
    /// Deliveries that were fetched, or are being asked for.
    pub(super) fetched: u64,
    /// Deliveries whose dead letter waits for its next attempt.
    pub(super) letters: usize,
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
            alone: Notify::new(),
        }
    }

    /// Fetches only what is granted from now on: the limit is one that other workers draw on too. To be called before
    /// anything is fetched.
    pub(super) fn draw_on(&self, begin: impl FnOnce() -> Box<dyn Draw>) {
        // Before it begins: the first grant may be there before what is begun is at hand.
        self.state().allowance = Allowance::drawn();
        // It is called once: a loop runs once.
        let _ = self.draw.set(begin());
        self.claim(self.state());
    }

    /// Takes in what was granted, or that it is wanted back.
    pub(super) fn heed(&self, grant: Grant) {
        let mut state = self.state();
        state.allowance.heed(grant);
        let (recalled, wake) = (state.allowance.is_recalled(), self.wakes_another(&mut state));
        self.claim(state);
        if recalled {
            self.recalled.notify_one();
        }
        if wake {
            self.work.notify_one();
        }
    }

    /// Reports that `came` deliveries came from the source, of those that it was asked for; none if no other worker
    /// draws on the limit.
    pub(super) fn report(&self, asked: usize, came: usize) -> Option<Mark> {
        let draw = self.draw.get()?;
        let mut state = self.state();
        state.gave_way = 0;
        let fetched = state.fetched.saturating_sub(asked as u64).saturating_add(came as u64);
        Some(draw.claim(state.allowance.take(fetched)))
    }

    /// Whether a report has left the process; tries to send it.
    pub(super) fn is_sent(&self, mark: Mark) -> bool {
        self.draw.get().is_none_or(|draw| draw.is_sent(mark))
    }

    /// Waits until what a fetch may bring is wanted back; for ever where no other worker draws on the limit.
    pub(super) async fn wanted_back(&self) {
        while !self.is_wanted_back() {
            self.recalled.notified().await;
        }
    }

    /// Takes in that a fetch gives way to other workers.
    pub(super) fn give_way(&self) {
        let mut state = self.state();
        state.gave_way = state.gave_way.saturating_add(1);
    }

    /// How often a fetch gave way to other workers since something last came.
    pub(super) fn gave_way(&self) -> u32 {
        self.state().gave_way
    }

    /// Whether what a fetch may bring is wanted back.
    pub(super) fn is_wanted_back(&self) -> bool {
        self.draw.get().is_some() && self.state().allowance.is_recalled()
    }

    /// Says what there is to say about the part of a limit that this loop has; ends the look at the state, so that
    /// nothing is sent under its lock.
    fn claim(&self, mut state: MutexGuard<'_, State>) {
        let Some(draw) = self.draw.get() else { return };
        let (open, vacant) = (state.source == Supply::Open, self.vacancy(&state) > 0);
        let now = Moment { fetched: state.fetched, fetching: state.fetching, vacant, open };
        // In the order of the state: the mark is made under its lock.
        let mark = state.allowance.say(now).map(|claim| draw.claim(claim));
        drop(state);
        if let Some(mark) = mark {
            // What is not sent yet is sent with the next claim or report of how the run is, four times a second.
            let _ = draw.is_sent(mark);
        }
    }

    /// Hands in what a lane finished, if it did, and what it fetched, and says what it is to do next; what it is to run
    /// is put in the place of what it finished.
    ///
    /// If there is more to do, another lane is woken, and the settler if something is finished, unless the lane is in
    /// [haste](Haste): then it will be back before the other comes, and settles itself. Such a lane that turns out to
    /// wait calls [`wake_another`](Self::wake_another).
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
            self.tell(&mut state);
        }
        let wake = match &next {
            Next::Run if haste == Haste::Quick => false,
            Next::Run | Next::Fetch(_) => self.wakes_another(&mut state),
            Next::Settle => false,
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

    /// Wakes a lane if there is something to do, and the settler if there is something to settle.
    pub(super) fn wake_another(&self) {
        let mut state = self.state();
        self.tell(&mut state);
        let wake = self.wakes_another(&mut state);
        drop(state);
        if wake {
            self.work.notify_one();
        }
    }

    /// Waits until there may be something to do; to be called after [`Next::Wait`].
    pub(super) async fn wait(&self) {
        self.work.notified().await;
        let mut state = self.state();
        state.idle = state.idle.saturating_sub(1);
        state.waking = false;
    }

    /// Takes in that the source has nothing more for a finite run.
    pub(super) fn dry(&self) {
        let mut state = self.state();
        if state.source == Supply::Open && !state.returned {
            state.source = Supply::Dry;
        }
        self.claim(state);
    }

    /// Takes in that the source has nothing more, because it failed; what it made before is worked on.
    pub(super) fn fail(&self, failure: Error) {
        let mut state = self.state();
        state.failure = state.failure.take().or(Some(failure));
        if state.source == Supply::Open && !state.returned {
            state.source = Supply::Dry;
        }
    }

    /// Fetches no more. What has not begun is handed to the settler, to be given back, unless nobody else has it: then
    /// it begins as long as lanes run.
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

    /// Begins nothing more; what has not begun is handed to the settler, to be given back.
    pub(super) fn abandon(&self) {
        let mut state = self.state();
        self.give_back_unbegun(&mut state);
        drop(state);
        self.refill.notify_waiters();
        self.work.notify_one();
    }

    /// Takes out what is finished, to be settled; `None` if there is nothing, or if somebody else is at it.
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

    /// Takes in that what was taken out is settled, except what is held; `returned` says whether any of it will be
    /// handed out again.
    pub(super) fn settled(&self, mut settled: Vec<Finished>, returned: bool) {
        let count = settled.len();
        // An error of the task's may panic when it is dropped; the source has been told already.
        let _ = panic::guard(|| settled.clear());
        let mut state = self.state();
        state.spare = settled;
        state.settling = state.settling.saturating_sub(count);
        state.returned |= returned;
        if returned && state.source == Supply::Dry {
            state.source = Supply::Open;
        }
        state.turn = Turn::Free;
        // What was finished meanwhile told nobody.
        self.tell(&mut state);
        self.tell_if_alone(&state);
        let wake = self.wakes_another(&mut state);
        self.claim(state);
        if returned {
            self.refill.notify_waiters();
        }
        if wake {
            self.work.notify_one();
        }
    }

    /// Takes in that so many were given back to a stream, which nobody else has: fetching them again is not pulling
    /// them again.
    pub(super) fn not_pulled(&self, count: u64) {
        let mut state = self.state();
        state.fetched = state.fetched.saturating_sub(count);
    }

    /// Takes in that so many were given back by their handlers while the run was to end: it does not try them again.
    pub(super) fn left_to_do(&self, count: u64) {
        self.state().given_back += count;
    }

    /// Takes in that one of the finished is held back until its time.
    pub(super) fn hold(&self) {
        let mut state = self.state();
        state.settling = state.settling.saturating_sub(1);
        state.held += 1;
    }

    /// Takes in that the dead letter of one of the finished waits for its next attempt; says whether it may. It may not
    /// when the run is closing.
    pub(super) fn postpone(&self) -> bool {
        let mut state = self.state();
        if state.is_closing() {
            return false;
        }
        state.settling = state.settling.saturating_sub(1);
        state.letters += 1;
        true
    }

    /// Hands in a delivery whose dead letter waits no longer, to be settled.
    pub(super) fn hand_in(&self, finished: Finished) {
        let mut state = self.state();
        state.letters = state.letters.saturating_sub(1);
        state.finish(finished);
        self.tell(&mut state);
    }

    /// How many deliveries have a dead letter that waits.
    pub(super) fn letters(&self) -> usize {
        self.state().letters
    }

    /// Whether nothing is left to do, and nothing can come, but dead letters that wait.
    pub(super) fn has_only_letters(&self) -> bool {
        self.is_alone(&self.state())
    }

    /// Whether nothing more comes in.
    pub(super) fn is_closing(&self) -> bool {
        self.state().is_closing()
    }

    /// Takes in a held delivery whose time has come: it runs again, or is given back if the run is closed.
    pub(super) fn release(&self, delivery: Delivery) {
        let mut state = self.state();
        state.held = state.held.saturating_sub(1);
        if state.source == Supply::Closed {
            self.hand_back(&mut state, delivery);
        } else {
            state.ready.push_front(delivery);
        }
        // A lane that waits for the source would not look here before the source has something.
        let only_a_fetcher = state.idle == 0 && state.fetching;
        drop(state);
        self.work.notify_one();
        if only_a_fetcher {
            self.released.notify_one();
        }
    }

    /// The receipts of all that no lane holds, when nobody is left to run or to settle it.
    pub(super) fn left(&self) -> Vec<Receipt> {
        let mut state = self.state();
        let mut left: Vec<_> = state.take_unbegun().into_iter().map(Delivery::into_receipt).collect();
        left.extend(state.finished.drain(..).filter_map(|finished| finished.receipt));
        left
    }

    /// Whether a delivery waits to run.
    pub(super) fn has_ready(&self) -> bool {
        !self.state().ready.is_empty()
    }

    /// How much there is to do.
    pub(super) fn load(&self) -> Load {
        let state = self.state();
        Load { running: state.running.len(), fetched: state.fetched, letters: state.letters }
    }

    /// Whether the run ended because `limit` was reached.
    pub(super) fn limit_reached(&self) -> bool {
        let state = self.state();
        state.allowance.is_used_up(state.fetched)
    }

    /// How many deliveries were given back, begun or not, because the run was to end.
    pub(super) fn given_back(&self) -> u64 {
        self.state().given_back
    }

    /// Why the run could not go on, once.
    pub(super) fn take_failure(&self) -> Option<Error> {
        self.state().failure.take()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_in(&self, state: &mut State, Fetched { asked, deliveries }: Fetched) {
        state.fetching = false;
        state.collected |= std::mem::take(&mut state.collecting) && deliveries.is_empty();
        state.fetched = state.fetched.saturating_sub((asked as u64).saturating_sub(deliveries.len() as u64));
        if state.source == Supply::Closed {
            // The run was told to stop meanwhile.
            for delivery in deliveries {
                self.hand_back(state, delivery);
            }
        } else if state.ready.is_empty() {
            state.ready = deliveries.into();
        } else {
            state.ready.extend(deliveries);
        }
    }

    /// Hands in a delivery that is not begun, to be given back.
    fn hand_back(&self, state: &mut State, delivery: Delivery) {
        state.finish(Finished::give_back(delivery));
        self.tell(state);
    }

    /// Wakes the settler, unless somebody settles already, or there is nothing to settle.
    fn tell(&self, state: &mut State) {
        if state.turn == Turn::Free && !state.finished.is_empty() {
            state.turn = Turn::Told;
            self.due.notify_one();
        }
    }

    /// Whether a lane settles in its own turn before it goes on: a lane in haste once for many, or when it would wait;
    /// any other only when nothing runs whose end could be settled together with it.
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
            self.tell_if_alone(state);
            return Next::Wait;
        }
        while let Some(delivery) = state.ready.pop_front() {
            let key = self.hasher.hash_one(delivery.transaction().id());
            match state.running.entry(key, |twins| twins.key == key, |twins| twins.key) {
                Entry::Vacant(free) => {
                    free.insert(SameKey { key, waiting: Vec::new() });
                    *lane = Some(InFlight { key, finished: Finished::give_back(delivery) });
                    return Next::Run;
                }
                Entry::Occupied(mut twin) => {
                    twin.get_mut().waiting.push(delivery);
                    state.twins += 1;
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
        self.tell_if_alone(state);
        Next::Wait
    }

    /// Whether so many dead letters wait that nothing new may begin.
    fn is_full(&self, state: &State) -> bool {
        state.letters >= self.rules.letters && !state.is_closing()
    }

    /// How many may be asked for now; 0 if nobody is to fetch.
    fn room(&self, state: &State) -> usize {
        if state.fetching {
            return 0;
        }
        // What was pulled for a fetch that was cancelled.
        if state.source == Supply::Draining && !state.collected {
            return self.rules.batch_size;
        }
        let left = usize::try_from(state.allowance.left(state.fetched)).unwrap_or(usize::MAX);
        self.vacancy(state).min(left)
    }

    /// How many could be asked for if no limit were.
    fn vacancy(&self, state: &State) -> usize {
        let rules = &self.rules;
        if state.source != Supply::Open {
            return 0;
        }
        let begun = state.running.len() + state.ready.len() + state.twins;
        let free = if rules.whole_batches {
            // One whose dead letter waits is no part of the batch any more: it would hold up the next for ever.
            let under_way = begun + state.finished.len() + state.settling + state.held;
            if under_way == 0 { usize::MAX } else { 0 }
        } else {
            rules.concurrency.saturating_add(rules.prefetch).saturating_sub(begun)
        };
        free.min(rules.batch_size)
    }

    /// Whether to wake a lane because there is more to do; only one is woken at a time, and wakes the next.
    fn wakes_another(&self, state: &mut State) -> bool {
        let lane_free = state.idle > 0 && !state.waking && !self.is_full(state);
        let wakes = lane_free && (!state.ready.is_empty() || self.room(state) > 0 || Self::is_over(state));
        state.waking |= wakes;
        wakes
    }

    /// Whether nothing is left that could bring more to do.
    fn is_over(state: &State) -> bool {
        let idle = under_way(state) + state.letters == 0;
        !state.fetching && (state.is_closing() || (Self::is_exhausted(state) && idle))
    }

    fn is_exhausted(state: &State) -> bool {
        state.source == Supply::Dry || state.allowance.is_used_up(state.fetched)
    }

    /// Whether nothing goes on but dead letters that wait: nothing can come, or a finite run begins nothing more because
    /// too many wait.
    fn is_alone(&self, state: &State) -> bool {
        let stands = self.is_full(state) && !self.rules.streaming;
        let nothing_comes = (Self::is_exhausted(state) && state.ready.is_empty()) || stands;
        state.letters > 0 && !state.fetching && nothing_comes && under_way(state) == 0
    }

    fn tell_if_alone(&self, state: &State) {
        if state.letters > 0 && self.is_alone(state) {
            self.alone.notify_one();
        }
    }

    /// Begins nothing more.
    fn give_back_unbegun(&self, state: &mut State) {
        state.source = Supply::Closed;
        for delivery in state.take_unbegun() {
            self.hand_back(state, delivery);
        }
    }
}

/// How many deliveries are on their way, held ones included, but for those whose dead letter waits.
fn under_way(state: &State) -> usize {
    state.running.len() + state.finished.len() + state.settling + state.held
}
