//! Keeps the unacknowledged deliveries of a source, and the transactions that wait for delivery. A source needs it if
//! its external system does not redeliver by itself, as a file does not.

use std::collections::VecDeque;

use slab::Slab;

use crate::connector::{Delivery, Disposition, Receipt, Settlement};
use crate::transaction::Transaction;

/// The unacknowledged deliveries of a source whose external system does not track them: a file, a list, a channel.
///
/// Transactions wait until they are delivered. A delivery that is given back waits again, at its original position and
/// so before all newer transactions, and its next delivery has a count that is one higher.
///
/// Each delivery belongs to an epoch, which distinguishes the connectors, connections or leases that share one table. A
/// receipt settles only its own delivery: a settlement with another epoch changes nothing.
///
/// ```
/// use ergon::connector::kit::Unacked;
/// use ergon::Transaction;
/// use ergon::connector::Disposition;
///
/// let mut orders = Unacked::new();
/// orders.push(Transaction::new("order-1", &"two apples")?);
///
/// let delivery = orders.next(1).unwrap();
/// assert_eq!((orders.waiting(), orders.handed_out()), (0, 1));
///
/// orders.settle(&delivery.settle(Disposition::Requeue));
/// assert_eq!(orders.next(1).unwrap().transaction().deliveries(), 2);
/// # Ok::<(), ergon::TransactionError>(())
/// ```
#[derive(Debug, Default)]
pub struct Unacked {
    /// Each transaction with its number, in the order of the numbers.
    waiting: VecDeque<(u64, Transaction)>,
    out: Slab<Out>,
    /// The number of the latest new transaction.
    number: u64,
}

/// A transaction that is delivered and not settled.
#[derive(Debug)]
struct Out {
    number: u64,
    epoch: u64,
    transaction: Transaction,
}

impl Unacked {
    /// Makes an empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a transaction behind those that wait.
    pub fn push(&mut self, transaction: Transaction) {
        let number = self.next_number();
        self.waiting.push_back((number, transaction));
    }

    /// Returns the number of transactions that wait, without those that are delivered.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Returns the number of transactions that are delivered and not settled.
    pub fn handed_out(&self) -> usize {
        self.out.len()
    }

    /// Delivers the first of the waiting transactions; `None` if none waits.
    pub fn next(&mut self, epoch: u64) -> Option<Delivery> {
        let (number, transaction) = self.waiting.pop_front()?;
        Some(self.hand_out_as(number, epoch, transaction))
    }

    /// Delivers the transaction with this id, if it waits. Takes time linear in the number of waiting transactions.
    pub fn find(&mut self, id: &str, epoch: u64) -> Option<Delivery> {
        let at = self.waiting.iter().position(|(_, transaction)| transaction.id() == id)?;
        let (number, transaction) = self.waiting.remove(at)?;
        Some(self.hand_out_as(number, epoch, transaction))
    }

    /// Delivers a transaction that did not wait in this table.
    pub fn hand_out(&mut self, transaction: Transaction, epoch: u64) -> Delivery {
        let number = self.next_number();
        self.hand_out_as(number, epoch, transaction)
    }

    /// Returns whether the transaction with this id is delivered and not settled. Takes time linear in the number of
    /// such deliveries.
    pub fn is_handed_out(&self, id: &str) -> bool {
        self.out.iter().any(|(_, out)| out.transaction.id() == id)
    }

    /// Returns whether the delivery of this receipt is delivered and not settled. For
    /// [`Source::holds`](crate::connector::Source::holds).
    pub fn holds(&self, receipt: &Receipt) -> bool {
        self.tag_of(receipt).is_some()
    }

    /// Applies one settlement. A transaction that is given back waits again. A rejected transaction is returned, for
    /// the dead letters of the source; for every other settlement, the result is `None`.
    ///
    /// `RetryAfter` is treated as `Requeue`: the engine holds such a delivery itself, and sends this disposition only
    /// at the end of a run.
    pub fn settle(&mut self, settlement: &Settlement) -> Option<Transaction> {
        let tag = self.tag_of(settlement.receipt())?;
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

    /// Gives back all deliveries of this epoch, and returns their number. For a connector that is closed, or a
    /// connection that is lost.
    pub fn give_back(&mut self, epoch: u64) -> usize {
        let of_epoch = |(tag, out): (usize, &Out)| (out.epoch == epoch).then_some(tag);
        let tags: Vec<usize> = self.out.iter().filter_map(of_epoch).collect();
        for tag in &tags {
            let Out { number, transaction, .. } = self.out.remove(*tag);
            self.put_back(number, transaction);
        }
        tags.len()
    }

    /// The slot of a receipt's delivery. Checks the epoch, because a slot is reused after its delivery is settled.
    fn tag_of(&self, receipt: &Receipt) -> Option<usize> {
        let tag = usize::try_from(receipt.tag()).ok()?;
        self.out.get(tag).filter(|out| out.epoch == receipt.epoch()).map(|_| tag)
    }

    fn next_number(&mut self) -> u64 {
        self.number = self.number.wrapping_add(1);
        self.number
    }

    fn hand_out_as(&mut self, number: u64, epoch: u64, transaction: Transaction) -> Delivery {
        let tag = self.out.insert(Out { number, epoch, transaction: transaction.clone() });
        Delivery::new(transaction, Receipt::new(tag as u64).with_epoch(epoch))
    }

    fn put_back(&mut self, number: u64, transaction: Transaction) {
        let deliveries = transaction.deliveries().saturating_add(1);
        // The list is sorted by number, so a binary search finds the original position.
        let at = self.waiting.partition_point(|(other, _)| *other < number);
        self.waiting.insert(at, (number, transaction.with_deliveries(deliveries)));
    }
}
