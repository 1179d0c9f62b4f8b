//! The bookkeeping of a source that has no broker behind it: what waits, what is handed out, what comes back.

use std::collections::VecDeque;

use slab::Slab;

use super::{Delivery, Disposition, Receipt, Settlement};
use crate::transaction::Transaction;

/// Transactions of a source that keeps its own books: given back ones wait here, handed out ones are remembered.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Each with its number, in the order of the numbers.
    waiting: VecDeque<(u64, Transaction)>,
    out: Slab<Out>,
    /// The number of the latest new one.
    number: u64,
}

/// A transaction that is handed out and not settled.
#[derive(Debug)]
struct Out {
    number: u64,
    /// The epoch of its receipt: which of the connectors that share these books handed it out.
    epoch: u64,
    transaction: Transaction,
}

impl Held {
    /// Puts a transaction at the end of those that wait.
    pub(crate) fn push(&mut self, transaction: Transaction) {
        let number = self.next_number();
        self.waiting.push_back((number, transaction));
    }

    fn next_number(&mut self) -> u64 {
        self.number = self.number.wrapping_add(1);
        self.number
    }

    /// How many wait; those handed out do not count.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many are handed out and not settled.
    pub(crate) fn handed_out(&self) -> usize {
        self.out.len()
    }

    /// Hands out the first of those that wait.
    pub(crate) fn next(&mut self, epoch: u64) -> Option<Delivery> {
        let (number, transaction) = self.waiting.pop_front()?;
        Some(self.hand_out_as(number, epoch, transaction))
    }

    /// Hands out the one with this id, if it waits.
    pub(crate) fn find(&mut self, id: &str, epoch: u64) -> Option<Delivery> {
        let at = self.waiting.iter().position(|(_, transaction)| transaction.id() == id)?;
        let (number, transaction) = self.waiting.remove(at)?;
        Some(self.hand_out_as(number, epoch, transaction))
    }

    /// Says whether the one with this id is handed out and not settled.
    pub(crate) fn is_handed_out(&self, id: &str) -> bool {
        self.out.iter().any(|(_, out)| out.transaction.id() == id)
    }

    /// Hands out a transaction that did not wait here.
    pub(crate) fn hand_out(&mut self, transaction: Transaction) -> Delivery {
        let number = self.next_number();
        self.hand_out_as(number, 0, transaction)
    }

    fn hand_out_as(&mut self, number: u64, epoch: u64, transaction: Transaction) -> Delivery {
        let tag = self.out.insert(Out { number, epoch, transaction: transaction.clone() });
        Delivery::new(transaction, Receipt::new(tag as u64).with_epoch(epoch))
    }

    /// Takes one settlement in: what is given back waits again, counted once more, in the place that it came
    /// from; what is rejected is returned.
    pub(crate) fn settle(&mut self, settlement: &Settlement) -> Option<Transaction> {
        let tag = usize::try_from(settlement.receipt().tag()).ok()?;
        // Another epoch may have been given the tag since.
        self.out.get(tag).filter(|out| out.epoch == settlement.receipt().epoch())?;
        let Out { number, transaction, .. } = self.out.try_remove(tag)?;
        match settlement.disposition() {
            Disposition::Ack => None,
            Disposition::Reject => Some(transaction),
            Disposition::Requeue | Disposition::RetryAfter(_) => {
                self.put_back(number, transaction);
                None
            }
        }
    }

    /// Lets all wait again that are handed out under receipts of this epoch; says how many.
    pub(crate) fn give_back(&mut self, epoch: u64) -> usize {
        let of_epoch = |(tag, out): (usize, &Out)| (out.epoch == epoch).then_some(tag);
        let tags: Vec<usize> = self.out.iter().filter_map(of_epoch).collect();
        for tag in &tags {
            let Out { number, transaction, .. } = self.out.remove(*tag);
            self.put_back(number, transaction);
        }
        tags.len()
    }

    fn put_back(&mut self, number: u64, transaction: Transaction) {
        let deliveries = transaction.deliveries().saturating_add(1);
        let at = self.waiting.partition_point(|(other, _)| *other < number);
        self.waiting.insert(at, (number, transaction.with_deliveries(deliveries)));
    }
}
