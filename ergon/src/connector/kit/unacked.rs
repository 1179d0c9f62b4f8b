//! Remembers which transactions wait, and which are handed out and not settled.

use std::collections::VecDeque;

use slab::Slab;

use crate::connector::{Delivery, Disposition, Receipt, Settlement};
use crate::transaction::Transaction;

/// The unacknowledged deliveries of a source whose other side keeps no account of them: a file, a list, a channel.
///
/// Transactions wait until they are handed out. A delivery that is given back waits again, in the place that it came
/// from and before all newer ones, with one delivery more.
///
/// Each delivery belongs to an epoch, which tells the connectors, connections or leases apart that share one table. A
/// receipt settles only the delivery that it was made for: a settlement of another epoch changes nothing.
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
    /// Each with its number, in the order of the numbers.
    waiting: VecDeque<(u64, Transaction)>,
    out: Slab<Out>,
    /// The number of the latest new transaction.
    number: u64,
}

/// A transaction that is handed out and not settled.
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

    /// Puts a transaction at the end of those that wait.
    pub fn push(&mut self, transaction: Transaction) {
        let number = self.next_number();
        self.waiting.push_back((number, transaction));
    }

    /// The number of transactions that wait; those handed out do not count.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The number of transactions that are handed out and not settled.
    pub fn handed_out(&self) -> usize {
        self.out.len()
    }

    /// Hands out the first of the transactions that wait.
    pub fn next(&mut self, epoch: u64) -> Option<Delivery> {
        let (number, transaction) = self.waiting.pop_front()?;
        Some(self.hand_out_as(number, epoch, transaction))
    }

    /// Hands out the transaction with this id, if it waits. Looks at all that wait.
    pub fn find(&mut self, id: &str, epoch: u64) -> Option<Delivery> {
        let at = self.waiting.iter().position(|(_, transaction)| transaction.id() == id)?;
        let (number, transaction) = self.waiting.remove(at)?;
        Some(self.hand_out_as(number, epoch, transaction))
    }

    /// Hands out a transaction that did not wait here.
    pub fn hand_out(&mut self, transaction: Transaction, epoch: u64) -> Delivery {
        let number = self.next_number();
        self.hand_out_as(number, epoch, transaction)
    }

    /// Says whether the transaction with this id is handed out and not settled. Looks at all that are handed out.
    pub fn is_handed_out(&self, id: &str) -> bool {
        self.out.iter().any(|(_, out)| out.transaction.id() == id)
    }

    /// Says whether the delivery of this receipt is handed out and not settled; for
    /// [`Source::holds`](crate::connector::Source::holds).
    pub fn holds(&self, receipt: &Receipt) -> bool {
        self.tag_of(receipt).is_some()
    }

    /// Takes one settlement in. A transaction that is given back waits again; a rejected one is returned, for the
    /// source's dead letters.
    ///
    /// `RetryAfter` is treated as `Requeue`: the engine holds such a delivery itself, and sends this disposition only at
    /// the end of a run.
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

    /// Lets all transactions wait again that are handed out under this epoch; returns how many. For a connector that is
    /// closed, or a connection that is lost.
    pub fn give_back(&mut self, epoch: u64) -> usize {
        let of_epoch = |(tag, out): (usize, &Out)| (out.epoch == epoch).then_some(tag);
        let tags: Vec<usize> = self.out.iter().filter_map(of_epoch).collect();
        for tag in &tags {
            let Out { number, transaction, .. } = self.out.remove(*tag);
            self.put_back(number, transaction);
        }
        tags.len()
    }

    /// The place of a receipt's delivery; another epoch may have been given the tag since.
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
        let at = self.waiting.partition_point(|(other, _)| *other < number);
        self.waiting.insert(at, (number, transaction.with_deliveries(deliveries)));
    }
}
