//! The bookkeeping of a source that has no broker behind it: what waits, what is handed out, what comes back.

use std::collections::VecDeque;

use slab::Slab;

use super::{Delivery, Disposition, Receipt, Settlement};
use crate::transaction::Transaction;

/// Transactions of a source that keeps its own books: given back ones wait here, handed out ones are remembered.
#[derive(Debug, Default)]
pub(crate) struct Held {
    waiting: VecDeque<Transaction>,
    out: Slab<Transaction>,
}

impl Held {
    /// Puts a transaction at the end of those that wait.
    pub(crate) fn push(&mut self, transaction: Transaction) {
        self.waiting.push_back(transaction);
    }

    /// How many wait; those handed out do not count.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Hands out the first of those that wait.
    pub(crate) fn next(&mut self) -> Option<Delivery> {
        self.waiting.pop_front().map(|transaction| self.hand_out(transaction))
    }

    /// Hands out a transaction.
    pub(crate) fn hand_out(&mut self, transaction: Transaction) -> Delivery {
        let tag = self.out.insert(transaction.clone());
        Delivery::new(transaction, Receipt::new(tag as u64))
    }

    /// Takes one settlement in: what is given back waits again, at the front and counted once more; what is
    /// rejected is returned.
    pub(crate) fn settle(&mut self, settlement: &Settlement) -> Option<Transaction> {
        let tag = usize::try_from(settlement.receipt().tag()).ok()?;
        let transaction = self.out.try_remove(tag)?;
        match settlement.disposition() {
            Disposition::Ack => None,
            Disposition::Reject => Some(transaction),
            Disposition::Requeue | Disposition::RetryAfter(_) => {
                let deliveries = transaction.deliveries().saturating_add(1);
                self.waiting.push_front(transaction.with_deliveries(deliveries));
                None
            }
        }
    }
}
