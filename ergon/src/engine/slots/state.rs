//! The state that the lanes, the fetcher and the settler of a loop share.

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
    /// Deliveries that were fetched and not started, in their order.
    pub(super) ready: VecDeque<Delivery>,
    /// Running deliveries, by the hash of their ids.
    pub(super) running: HashTable<SameKey>,
    /// The number of deliveries that wait for a running delivery with the same id.
    pub(super) waiting: usize,
    /// Finished deliveries that no settlement has taken yet.
    pub(super) finished: Vec<Finished>,
    /// An empty list that replaces `finished` when it is taken, so that no settlement allocates a new one.
    pub(super) spare: Vec<Finished>,
    pub(super) turn: Turn,
    /// The number of deliveries in the settlement that is under way.
    pub(super) settling: usize,
    /// The number of deliveries that are held until they are due.
    pub(super) held: usize,
    /// The number of deliveries whose dead letters wait for the next attempt.
    pub(super) dead_letters: usize,
    /// The number of lanes that wait.
    pub(super) idle: usize,
    /// Whether a lane was woken and has not run yet. It wakes the next lane itself.
    pub(super) waking: bool,
    /// Whether a lane fetches, or waits on an empty source.
    pub(super) fetching: bool,
    /// Whether the fetch under way collects the transactions that a stream has made before a stop.
    pub(super) collecting: bool,
    /// Whether all transactions that a stream has made before a stop are collected.
    pub(super) collected: bool,
    /// Whether a delivery was given back after the fetch under way started. That fetch may have missed the delivery, so
    /// its empty answer does not mean that the source is empty.
    pub(super) returned: bool,
    /// The number of deliveries that came, or that the source is asked for, counted against the limit.
    pub(super) fetched: u64,
    /// The number of deliveries that may be fetched.
    pub(super) allowance: Allowance,
    /// The number of fetches in a row that ended early because another worker needed their part of the limit.
    pub(super) gave_way: u32,
    pub(super) source: Supply,
    /// The number of deliveries that were given back because the run stops.
    pub(super) given_back: u64,
    /// The error that ends the run.
    pub(super) failure: Option<Error>,
}

/// A running delivery, and the deliveries with the same id that wait for it.
#[derive(Debug)]
pub(super) struct SameKey {
    /// The hash of the id. Two ids with the same hash wait for each other without need, which is harmless.
    pub(super) key: u64,
    pub(super) waiting: Vec<Delivery>,
}

/// The state of the settlement. One settlement is under way at a time, because a source need not expect concurrent
/// calls of `settle` from one loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Turn {
    /// No settlement is under way. A lane may settle in its own turn.
    #[default]
    Free,
    /// The settler was woken, and has not run yet.
    Woken,
    /// A lane or the settler has taken the finished deliveries, and has not reported that they are settled.
    Taken,
}

/// The state of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Supply {
    /// The source may have more deliveries.
    #[default]
    Open,
    /// The source was empty. A delivery that is given back may be fetched again.
    Dry,
    /// A stream makes nothing more. Transactions that it made before are still delivered and started.
    Draining,
    /// Nothing more is fetched or started, because of a stop or a failure.
    Closed,
}

impl State {
    /// The state before the first fetch.
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
            dead_letters: 0,
            source: Supply::default(),
            given_back: 0,
            failure: None,
        }
    }

    pub(super) fn finish(&mut self, finished: Finished) {
        self.given_back += u64::from(finished.completed.outcome == Outcome::Aborted);
        self.finished.push(finished);
    }

    /// Whether no new delivery arrives.
    pub(super) fn is_closing(&self) -> bool {
        matches!(self.source, Supply::Draining | Supply::Closed)
    }

    /// Takes all deliveries that were not started, in the order in which they would have been started; those that wait
    /// for one with the same id come last.
    pub(super) fn take_unbegun(&mut self) -> Vec<Delivery> {
        let mut unbegun: Vec<_> = self.ready.drain(..).collect();
        let ready = unbegun.len();
        unbegun.extend(self.running.iter_mut().flat_map(|same| std::mem::take(&mut same.waiting)));
        // A hash table does not keep the order of the source, so it is restored.
        if let Some(duplicates) = unbegun.get_mut(ready..) {
            duplicates.sort_by_key(|duplicate| duplicate.receipt().tag());
        }
        self.waiting = 0;
        unbegun
    }

    /// Ends the run of a delivery. The next delivery with the same id comes first in line.
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
