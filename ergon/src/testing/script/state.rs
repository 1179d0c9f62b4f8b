//! The state of a script: waiting, unacknowledged, settled and dispatched transactions.

use std::collections::{BTreeMap, VecDeque};

use super::fault::Calls;
use crate::connector::{Delivery, Disposition, Receipt, Settlement};
use crate::transaction::Transaction;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) waiting: VecDeque<Transaction>,
    /// Unacknowledged deliveries by the tag of their receipt. A tag is used once.
    pub(super) out: BTreeMap<u64, Transaction>,
    tags: u64,
    /// Ids and their dispositions, in the order of settling.
    pub(super) settled: Vec<(String, Disposition)>,
    pub(super) dispatched: Vec<Transaction>,
    pub(super) fetches: Calls,
    pub(super) settles: Calls,
    pub(super) dispatches: Calls,
}

impl State {
    pub(super) fn push(&mut self, transactions: impl IntoIterator<Item = Transaction>) {
        self.waiting.extend(transactions);
    }

    /// Delivers at most `max` transactions.
    pub(super) fn take(&mut self, max: usize) -> Vec<Delivery> {
        let next = self.next(max);
        next.into_iter().map(|transaction| self.hand_out(transaction)).collect()
    }

    /// Removes at most `max` waiting transactions.
    fn next(&mut self, max: usize) -> Vec<Transaction> {
        let count = max.min(self.waiting.len());
        self.waiting.drain(..count).collect()
    }

    /// Loses at most `max` deliveries on their way, so that they wait again.
    pub(super) fn take_in_vain(&mut self, max: usize) {
        let next = self.next(max);
        self.give_back(next);
    }

    fn hand_out(&mut self, transaction: Transaction) -> Delivery {
        self.tags += 1;
        self.out.insert(self.tags, transaction.clone());
        Delivery::new(transaction, Receipt::new(self.tags))
    }

    /// Applies settlements. A delivery whose settlement does not arrive is given back.
    pub(super) fn settle(&mut self, settlements: &[Settlement], lets_through: impl Fn(usize) -> bool) {
        let mut back = Vec::new();
        for (index, settlement) in settlements.iter().enumerate() {
            let Some(transaction) = self.out.remove(&settlement.receipt().tag()) else { continue };
            let disposition = settlement.disposition();
            let arrived = lets_through(index);
            if arrived {
                self.settled.push((transaction.id().to_owned(), disposition));
            }
            if !arrived || matches!(disposition, Disposition::Requeue | Disposition::RetryAfter(_)) {
                back.push(transaction);
            }
        }
        self.give_back(back);
    }

    /// Puts transactions before the waiting transactions, in their order, each with one more delivery.
    fn give_back(&mut self, transactions: Vec<Transaction>) {
        for transaction in transactions.into_iter().rev() {
            let deliveries = transaction.deliveries().saturating_add(1);
            self.waiting.push_front(transaction.with_deliveries(deliveries));
        }
    }
}
