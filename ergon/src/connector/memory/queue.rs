//! The queue behind the memory connector.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::connector::{Delivery, Disposition, Endpoint, Held, Settlement};
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
    held: Held,
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
            state.held.push(transaction);
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// Takes out all that can be fetched, without a receipt: for good.
    pub fn drain(&self) -> Vec<Transaction> {
        let mut state = self.state();
        let mut taken = Vec::with_capacity(state.held.waiting());
        while let Some(delivery) = state.held.next(0) {
            let (transaction, receipt) = delivery.into_parts();
            state.held.settle(&Settlement::new(receipt, Disposition::Ack));
            taken.push(transaction);
        }
        taken
    }

    /// Shows what is in the queue.
    pub fn inspect(&self) -> Snapshot {
        let state = self.state();
        Snapshot {
            waiting: state.held.waiting(),
            handed_out: state.held.handed_out(),
            acked: state.acked,
            dead_letters: state.dead_letters.clone(),
        }
    }

    /// How many can be fetched.
    pub(super) fn waiting(&self) -> usize {
        self.state().held.waiting()
    }

    pub(super) fn place(&self) -> Endpoint {
        self.place.clone()
    }

    /// Hands out at most `max`, to the connector of this epoch.
    pub(super) fn take(&self, max: usize, epoch: u64) -> Vec<Delivery> {
        let mut state = self.state();
        let mut deliveries = Vec::with_capacity(max.min(state.held.waiting()));
        while deliveries.len() < max
            && let Some(delivery) = state.held.next(epoch)
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
                if self.state().held.waiting() > 0 {
                    self.arrived.notify_one();
                }
                return deliveries;
            }
            self.arrived.notified().await;
        }
    }

    /// Hands out the one with this id, if it waits.
    pub(super) fn find(&self, id: &str, epoch: u64) -> Option<Delivery> {
        self.state().held.find(id, epoch)
    }

    /// Lets all wait again that the connector of this epoch holds.
    pub(super) fn give_back(&self, epoch: u64) {
        if self.state().held.give_back(epoch) > 0 {
            self.arrived.notify_one();
        }
    }

    pub(super) fn settle(&self, settlements: &[Settlement]) {
        let mut state = self.state();
        let before = state.held.waiting();
        for settlement in settlements {
            state.acked += u64::from(settlement.disposition() == Disposition::Ack);
            let rejected = state.held.settle(settlement);
            state.dead_letters.extend(rejected);
        }
        let more = state.held.waiting() > before;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::memory::{Memory, MemoryConfig};
    use crate::connector::{ConnectorConfig, Context, Sink, Source};

    fn configured(name: &str) -> Memory {
        MemoryConfig::new(name).build(&Context::new("task", "slot")).unwrap()
    }

    #[test]
    fn who_shares_a_queue_is_at_one_place() {
        let orders = configured("placed-orders");
        assert_eq!(orders.reads_from(), [Endpoint::new("placed-orders")]);
        assert_eq!(orders.reads_from(), configured("placed-orders").writes_to());
        assert_ne!(orders.reads_from(), configured("placed-bills").writes_to());
    }

    #[test]
    fn a_queue_without_a_name_is_a_place_of_its_own() {
        let (queue, other) = (MemoryQueue::new(), MemoryQueue::new());
        let reads_from = |queue: &Arc<MemoryQueue>| Memory::new(Arc::clone(queue)).reads_from();
        assert_eq!(reads_from(&queue), Memory::new(Arc::clone(&queue)).writes_to());
        assert_ne!(reads_from(&queue), reads_from(&other));
        let alike = MemoryQueue::named(reads_from(&queue)[0].name());
        assert_ne!(reads_from(&queue), reads_from(&alike), "a name can be any text");
    }
}
