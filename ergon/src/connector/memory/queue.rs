//! The queue of the memory connector. It behaves like a broker's queue: deliveries have receipts, and unsettled
//! deliveries return to the queue.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::connector::kit::Unacked;
use crate::connector::{Delivery, Disposition, Endpoint, Settlement};
use crate::transaction::Transaction;

/// A queue with receipts, redelivery and dead letters.
///
/// ```
/// use ergon::Transaction;
/// use ergon::connector::memory::MemoryQueue;
///
/// let queue = MemoryQueue::new();
/// queue.extend([Transaction::new("a", &1)?, Transaction::new("b", &2)?]);
/// assert_eq!(queue.inspect().waiting, 2);
/// assert_eq!(queue.drain()[0].id(), "a");
/// # Ok::<(), ergon::TransactionError>(())
/// ```
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

/// The contents of a [`MemoryQueue`] at one moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Snapshot {
    /// The number of transactions that can be fetched.
    pub waiting: usize,
    /// The number of deliveries that are fetched and not settled.
    pub handed_out: usize,
    /// The number of acknowledged deliveries since the queue was made.
    pub acked: u64,
    /// The rejected transactions.
    pub dead_letters: Vec<Transaction>,
}

impl MemoryQueue {
    /// Makes a queue without a name, which only its owners can reach.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Returns the queue of this name in this process. The first call makes it.
    pub fn named(name: &str) -> Arc<Self> {
        static QUEUES: LazyLock<Mutex<HashMap<String, Arc<MemoryQueue>>>> = LazyLock::new(Mutex::default);
        let mut queues = QUEUES.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queues.entry(name.to_owned()).or_insert_with(|| Arc::new(Self::at(Endpoint::new(name))));
        Arc::clone(queue)
    }

    fn at(place: Endpoint) -> Self {
        Self { place, state: Mutex::default(), arrived: Notify::new() }
    }

    /// Adds a transaction at the end.
    pub fn push(&self, transaction: Transaction) {
        self.extend([transaction]);
    }

    /// Adds transactions at the end, in order.
    pub fn extend(&self, transactions: impl IntoIterator<Item = Transaction>) {
        let mut state = self.state();
        for transaction in transactions {
            state.unacked.push(transaction);
        }
        drop(state);
        // This wakes one waiting fetch, which wakes the next fetch if it leaves transactions.
        self.arrived.notify_one();
    }

    /// Removes and returns all transactions that can be fetched. They need no settlement.
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

    /// Returns the present contents of the queue.
    pub fn inspect(&self) -> Snapshot {
        let state = self.state();
        Snapshot {
            waiting: state.unacked.waiting(),
            handed_out: state.unacked.handed_out(),
            acked: state.acked,
            dead_letters: state.dead_letters.clone(),
        }
    }

    /// Returns the number of transactions that can be fetched.
    pub(super) fn waiting(&self) -> usize {
        self.state().unacked.waiting()
    }

    pub(super) fn place(&self) -> Endpoint {
        self.place.clone()
    }

    /// Delivers at most `max` transactions to the connector of this epoch.
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

    /// Delivers at most `max` transactions, and waits until there is one.
    pub(super) async fn wait(&self, max: usize, epoch: u64) -> Vec<Delivery> {
        loop {
            let deliveries = self.take(max, epoch);
            if !deliveries.is_empty() || max == 0 {
                // One arrival of several transactions wakes only one waiting fetch, so this fetch wakes the next one.
                if self.state().unacked.waiting() > 0 {
                    self.arrived.notify_one();
                }
                return deliveries;
            }
            self.arrived.notified().await;
        }
    }

    /// Delivers the transaction with this id, if it is waiting.
    pub(super) fn find(&self, id: &str, epoch: u64) -> Option<Delivery> {
        self.state().unacked.find(id, epoch)
    }

    /// Returns all unsettled deliveries of the connector of this epoch to the queue.
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

/// Makes a queue without a name. A number distinguishes it from other queues.
impl Default for MemoryQueue {
    fn default() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self::at(Endpoint::new(format!("unnamed {number}")).within("queues without a name"))
    }
}
