//! What the lanes, the fetcher and the settler of a loop share.

use std::collections::VecDeque;

use hashbrown::HashTable;

use crate::connector::Delivery;
use crate::engine::finished::Finished;
use crate::engine::lifecycle::Outcome;
use crate::error::Error;
use crate::task::Allowance;

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own, answered with yes or no")]
pub(super) struct State {
    /// Fetched and not begun, in order.
    pub(super) ready: VecDeque<Delivery>,
    /// What runs, by the hash of its id.
    pub(super) running: HashTable<SameKey>,
    /// Deliveries that wait for one of the same id.
    pub(super) waiting: usize,
    /// Handed in and not yet taken to be settled.
    pub(super) finished: Vec<Finished>,
    /// An empty one that takes its place, so that none is made anew.
    pub(super) spare: Vec<Finished>,
    pub(super) turn: Turn,
    /// Taken to be settled, and not settled yet.
    pub(super) settling: usize,
    /// Held until their time.
    pub(super) held: usize,
    /// Deliveries whose dead letter waits for its next attempt.
    pub(super) letters: usize,
    /// Lanes that wait.
    pub(super) idle: usize,
    /// A lane was woken and has not come yet; it wakes the next one itself.
    pub(super) waking: bool,
    /// A lane fetches, or waits on an empty source.
    pub(super) fetching: bool,
    /// The fetch under way collects what was pulled before a stop.
    pub(super) collecting: bool,
    /// All that was pulled before a stop is collected.
    pub(super) collected: bool,
    /// Something was given back since the running fetch began, which may not have seen it.
    pub(super) returned: bool,
    /// How many were asked for or came, of what is allowed.
    pub(super) fetched: u64,
    /// How many may be fetched.
    pub(super) allowance: Allowance,
    /// How often in a row a fetch ended because another worker needed what it might bring.
    pub(super) gave_way: u32,
    pub(super) source: Supply,
    /// How many were given back because the run was to end.
    pub(super) given_back: u64,
    /// Why the run cannot go on.
    pub(super) failure: Option<Error>,
}

/// What runs, and the deliveries of the same id that wait for it.
#[derive(Debug)]
pub(super) struct SameKey {
    /// The hash of their id. Two ids of one hash wait for each other without need; that is harmless.
    pub(super) key: u64,
    pub(super) waiting: Vec<Delivery>,
}

/// Who settles. One at a time does, so that the source is in one call at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Turn {
    /// Nobody: a lane may, in its own turn.
    #[default]
    Free,
    /// The settler was woken, and has not come yet.
    Woken,
    /// A lane or the settler has taken what was finished, and has not yet said that it is settled.
    Taken,
}

/// What is known of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Supply {
    /// It may have more.
    #[default]
    Open,
    /// It had nothing; what is given back may be fetched again.
    Dry,
    /// Nothing more is made; what was pulled from a stream before is still handed out, and begins.
    Draining,
    /// Nothing more is fetched or begun: stop, failure.
    Closed,
}

impl State {
    /// Nothing is fetched yet.
    pub(super) fn new(allowance: Allowance) -> Self {
        Self {
            ready: VecDeque::new(),
            running: HashTable::new(),
            waiting: 0,
            finished: Vec::new(),
            spare: Vec::new(),
            turn: Turn::default(),
            settling: 0,
            held: 0,
            idle: 0,
            waking: false,
            fetching: false,
            returned: false,
            fetched: 0,
            allowance,
            gave_way: 0,
            collecting: false,
            collected: false,
            letters: 0,
            source: Supply::default(),
            given_back: 0,
            failure: None,
        }
    }

    pub(super) fn finish(&mut self, finished: Finished) {
        self.given_back += u64::from(finished.completed.outcome == Outcome::Aborted);
        self.finished.push(finished);
    }

    /// Whether nothing more comes in.
    pub(super) fn is_closing(&self) -> bool {
        matches!(self.source, Supply::Draining | Supply::Closed)
    }

    /// Takes out all that is not begun: in the order in which it would have been, twins last.
    pub(super) fn take_unbegun(&mut self) -> Vec<Delivery> {
        let mut unbegun: Vec<_> = self.ready.drain(..).collect();
        let ready = unbegun.len();
        unbegun.extend(self.running.iter_mut().flat_map(|same| std::mem::take(&mut same.waiting)));
        // In the order in which the source handed them out, which a map does not keep.
        if let Some(duplicates) = unbegun.get_mut(ready..) {
            duplicates.sort_by_key(|duplicate| duplicate.receipt().tag());
        }
        self.waiting = 0;
        unbegun
    }

    /// Ends a run of a delivery; one of the same id that waited for it comes next.
    #[inline]
    pub(super) fn end(&mut self, key: u64) {
        let Ok(ended) = self.running.find_entry(key, |same| same.key == key) else { return };
        let (SameKey { waiting, .. }, _) = ended.remove();
        if waiting.is_empty() {
            return;
        }
        self.waiting = self.waiting.saturating_sub(waiting.len());
        for duplicate in waiting.into_iter().rev() {
            self.ready.push_front(duplicate);
        }
    }
}
