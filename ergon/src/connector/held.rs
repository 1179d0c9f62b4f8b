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
    out: Slab<(u64, Transaction)>,
    /// The number of the latest new one.
    number: u64,
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

    /// Hands out the first of those that wait.
    pub(crate) fn next(&mut self) -> Option<Delivery> {
        self.waiting.pop_front().map(|(number, transaction)| self.hand_out_as(number, transaction))
    }

    /// Hands out a transaction that did not wait here.
    #[cfg(any(feature = "json_lines", feature = "csv", feature = "excel"))]
    pub(crate) fn hand_out(&mut self, transaction: Transaction) -> Delivery {
        let number = self.next_number();
        self.hand_out_as(number, transaction)
    }

    fn hand_out_as(&mut self, number: u64, transaction: Transaction) -> Delivery {
        let tag = self.out.insert((number, transaction.clone()));
        Delivery::new(transaction, Receipt::new(tag as u64))
    }

    /// Takes one settlement in: what is given back waits again, counted once more, in the place that it came
    /// from; what is rejected is returned.
    pub(crate) fn settle(&mut self, settlement: &Settlement) -> Option<Transaction> {
        let tag = usize::try_from(settlement.receipt().tag()).ok()?;
        let (number, transaction) = self.out.try_remove(tag)?;
        match settlement.disposition() {
            Disposition::Ack => None,
            Disposition::Reject => Some(transaction),
            Disposition::Requeue | Disposition::RetryAfter(_) => {
                let deliveries = transaction.deliveries().saturating_add(1);
                let at = self.waiting.partition_point(|(other, _)| *other < number);
                self.waiting.insert(at, (number, transaction.with_deliveries(deliveries)));
                None
            }
        }
    }
}
