//! The books of a script: what waits, what is handed out, what became of it, what was dispatched.

use std::collections::{BTreeMap, VecDeque};

use super::fault::Calls;
use crate::connector::{Delivery, Disposition, Receipt, Settlement};
use crate::transaction::Transaction;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) waiting: VecDeque<Transaction>,
    /// What is handed out, by the tag of its receipt; a tag is never used again.
    pub(super) out: BTreeMap<u64, Transaction>,
    tags: u64,
    /// What became of which id, in the order of settling.
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

    /// Hands out at most `max`.
    pub(super) fn take(&mut self, max: usize) -> Vec<Delivery> {
        let next = self.next(max);
        next.into_iter().map(|transaction| self.hand_out(transaction)).collect()
    }

    /// Takes at most `max` of those that wait.
    fn next(&mut self, max: usize) -> Vec<Transaction> {
        let count = max.min(self.waiting.len());
        self.waiting.drain(..count).collect()
    }

    /// Hands out at most `max`, which get lost on their way and come back.
    pub(super) fn take_in_vain(&mut self, max: usize) {
        let next = self.next(max);
        self.give_back(next);
    }

    fn hand_out(&mut self, transaction: Transaction) -> Delivery {
        self.tags += 1;
        self.out.insert(self.tags, transaction.clone());
        Delivery::new(transaction, Receipt::new(self.tags))
    }

    /// Takes settlements in; those that do not arrive come back instead.
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

    /// Puts transactions in front of those that wait, in their order, each counted once more.
    fn give_back(&mut self, transactions: Vec<Transaction>) {
        for transaction in transactions.into_iter().rev() {
            let deliveries = transaction.deliveries().saturating_add(1);
            self.waiting.push_front(transaction.with_deliveries(deliveries));
        }
    }
}
