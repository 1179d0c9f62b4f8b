//! A fetched transaction on its way: delivery, disposition, settlement.

use std::time::Duration;

use super::Receipt;
use crate::transaction::Transaction;

/// A fetched transaction together with the receipt that settles it.
#[derive(Debug)]
pub struct Delivery {
    transaction: Transaction,
    receipt: Receipt,
}

impl Delivery {
    /// Hands out a transaction under a receipt.
    pub fn new(transaction: Transaction, receipt: Receipt) -> Self {
        Self { transaction, receipt }
    }

    /// The transaction.
    pub fn transaction(&self) -> &Transaction {
        &self.transaction
    }

    pub(crate) fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// Settles this delivery: says what becomes of it. To be passed to [`Input::settle`](super::Input::settle).
    pub fn settle(self, disposition: Disposition) -> Settlement {
        Settlement::new(self.receipt, disposition)
    }

    /// Takes transaction and receipt apart.
    pub fn into_parts(self) -> (Transaction, Receipt) {
        (self.transaction, self.receipt)
    }

    pub(crate) fn into_receipt(self) -> Receipt {
        self.receipt
    }

    pub(crate) fn receipt_mut(&mut self) -> &mut Receipt {
        &mut self.receipt
    }
}

/// What becomes of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Disposition {
    /// It is done.
    Ack,
    /// It is refused: to the dead-letter connector if one is named, else the source's own reject.
    #[default]
    Reject,
    /// It is given back and handed out again, to any worker.
    Requeue,
    /// It is tried again after this time.
    RetryAfter(Duration),
}

impl Disposition {
    /// The disposition in lower case, as it stands in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ack => "ack",
            Self::Reject => "reject",
            Self::Requeue => "requeue",
            Self::RetryAfter(_) => "retry_after",
        }
    }
}

/// What a source is told about one delivery: the receipt, used up, and the disposition.
#[derive(Debug)]
pub struct Settlement {
    receipt: Receipt,
    disposition: Disposition,
    /// Of a rejected delivery: the transaction with the reason in its metadata.
    rejected: Option<Box<Transaction>>,
}

impl Settlement {
    /// Uses up a receipt.
    pub fn new(mut receipt: Receipt, disposition: Disposition) -> Self {
        receipt.use_up();
        Self { receipt, disposition, rejected: None }
    }

    /// Adds the transaction as a dead letter has it: with the reason in its metadata. For a source whose other side
    /// keeps what is rejected.
    #[must_use]
    pub fn with_rejected(mut self, letter: Transaction) -> Self {
        self.rejected = Some(Box::new(letter));
        self
    }

    /// The transaction of a rejected delivery, with the reason in its metadata (`ergon-error` and the other keys of a
    /// dead letter); `None` if the delivery is not rejected.
    pub fn rejected(&self) -> Option<&Transaction> {
        self.rejected.as_deref()
    }

    /// The receipt that the source made.
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// What becomes of the delivery.
    pub fn disposition(&self) -> Disposition {
        self.disposition
    }

    /// The receipt, to take its token out.
    pub fn into_receipt(self) -> Receipt {
        self.receipt
    }
}

/// What the engine asks a source for.
///
/// ```
/// let request = ergon::connector::FetchRequest::new(10).waiting();
/// assert_eq!((request.max(), request.waits()), (10, true));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRequest {
    max: usize,
    batch_size: usize,
    waits: bool,
}

impl FetchRequest {
    /// Asks for at most `max` deliveries, at once.
    pub fn new(max: usize) -> Self {
        Self { max, batch_size: max, waits: false }
    }

    /// Lets the source wait until at least one delivery is there, if it is one that is told of new data.
    #[must_use]
    pub fn waiting(mut self) -> Self {
        self.waits = true;
        self
    }

    /// Sets how many rows a source that bundles rows puts into one transaction. Default: as [`max`](Self::max).
    #[must_use]
    pub fn with_batch_size(mut self, batch_size: usize) -> Self {
        self.batch_size = batch_size;
        self
    }

    /// At most this many deliveries may be returned.
    pub fn max(&self) -> usize {
        self.max
    }

    /// The task's `batch_size`.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// Says whether the source may wait for data to come.
    pub fn waits(&self) -> bool {
        self.waits
    }
}
