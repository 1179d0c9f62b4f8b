//! The queue behind the memory connector.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::connector::kit::Unacked;
use crate::connector::{Delivery, Disposition, Endpoint, Settlement};
use crate::transaction::Transaction;

/// A queue with receipts, redelivery and dead letters.
#[derive(Debug)]
pub struct MemoryQueue {
    place: Endpoint,
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    unacked: Unacked,
    acked: u64,
    dead_letters: Vec<Transaction>,
}

/// What is in a [`MemoryQueue`] at one moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Snapshot {
    /// How many transactions can be fetched.
    pub waiting: usize,
    /// How many are handed out and not settled.
    pub handed_out: usize,
    /// How many were acked since the queue was made.
    pub acked: u64,
    /// Those that were rejected.
    pub dead_letters: Vec<Transaction>,
}

impl MemoryQueue {
    /// Makes a queue that no other has access to by name.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The queue of this name in this process; made by the first who asks.
    pub fn named(name: &str) -> Arc<Self> {
        static QUEUES: LazyLock<Mutex<HashMap<String, Arc<MemoryQueue>>>> = LazyLock::new(Mutex::default);
        let mut queues = QUEUES.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queues.entry(name.to_owned()).or_insert_with(|| Arc::new(Self::at(Endpoint::new(name))));
        Arc::clone(queue)
    }

    fn at(place: Endpoint) -> Self {
        Self { place, state: Mutex::default(), arrived: Notify::new() }
    }

    /// Puts a transaction at the end.
    pub fn push(&self, transaction: Transaction) {
        self.extend([transaction]);
    }

    /// Puts transactions at the end, in order.
    pub fn extend(&self, transactions: impl IntoIterator<Item = Transaction>) {
        let mut state = self.state();
        for transaction in transactions {
            state.unacked.push(transaction);
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// Takes out all that can be fetched, without a receipt: for good.
    pub fn drain(&self) -> Vec<Transaction> {
        let mut state = self.state();
        let mut taken = Vec::with_capacity(state.unacked.waiting());
        while let Some(delivery) = state.unacked.next(0) {
            let (transaction, receipt) = delivery.into_parts();
            state.unacked.settle(&Settlement::new(receipt, Disposition::Ack));
            taken.push(transaction);
        }
        taken
    }

    /// Shows what is in the queue.
    pub fn inspect(&self) -> Snapshot {
        let state = self.state();
        Snapshot {
            waiting: state.unacked.waiting(),
            handed_out: state.unacked.handed_out(),
            acked: state.acked,
            dead_letters: state.dead_letters.clone(),
        }
    }

    /// How many can be fetched.
    pub(super) fn waiting(&self) -> usize {
        self.state().unacked.waiting()
    }

    pub(super) fn place(&self) -> Endpoint {
        self.place.clone()
    }

    /// Hands out at most `max`, to the connector of this epoch.
    pub(super) fn take(&self, max: usize, epoch: u64) -> Vec<Delivery> {
        let mut state = self.state();
        let mut deliveries = Vec::with_capacity(max.min(state.unacked.waiting()));
        while deliveries.len() < max
            && let Some(delivery) = state.unacked.next(epoch)
        {
            deliveries.push(delivery);
        }
        deliveries
    }

    /// Hands out at most `max`, and waits until there is one.
    pub(super) async fn wait(&self, max: usize, epoch: u64) -> Vec<Delivery> {
        loop {
            let deliveries = self.take(max, epoch);
            if !deliveries.is_empty() || max == 0 {
                // Another that waits may have been passed over while several arrived at once.
                if self.state().unacked.waiting() > 0 {
                    self.arrived.notify_one();
                }
                return deliveries;
            }
            self.arrived.notified().await;
        }
    }

    /// Hands out the one with this id, if it waits.
    pub(super) fn find(&self, id: &str, epoch: u64) -> Option<Delivery> {
        self.state().unacked.find(id, epoch)
    }

    /// Lets all wait again that the connector of this epoch holds.
    pub(super) fn give_back(&self, epoch: u64) {
        if self.state().unacked.give_back(epoch) > 0 {
            self.arrived.notify_one();
        }
    }

    pub(super) fn settle(&self, settlements: &[Settlement]) {
        let mut state = self.state();
        let before = state.unacked.waiting();
        for settlement in settlements {
            state.acked += u64::from(settlement.disposition() == Disposition::Ack);
            let rejected = state.unacked.settle(settlement);
            state.dead_letters.extend(rejected);
        }
        let more = state.unacked.waiting() > before;
        drop(state);
        if more {
            self.arrived.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has no name, but a number to tell it by.
impl Default for MemoryQueue {
    fn default() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self::at(Endpoint::new(format!("unnamed {number}")).within("queues without a name"))
    }
}
