//! Deliveries, the decisions about them (dispositions), and the messages that report a decision to the source
//! (settlements).

use std::time::Duration;

use super::Receipt;
use crate::transaction::Transaction;

/// A fetched transaction, with the receipt that settles it.
///
/// ```
/// use ergon::connector::{Delivery, Receipt};
/// use ergon::prelude::*;
///
/// let delivery = Delivery::new(Transaction::new("a", &1)?, Receipt::new(7));
/// let settlement = delivery.settle(Disposition::Ack);
/// assert_eq!((settlement.receipt().tag(), settlement.disposition()), (7, Disposition::Ack));
/// # Ok::<(), TransactionError>(())
/// ```
#[derive(Debug)]
pub struct Delivery {
    transaction: Transaction,
    receipt: Receipt,
}

impl Delivery {
    /// Makes a delivery of a transaction and its receipt.
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

    /// Makes the settlement of this delivery, for [`Input::settle`](super::Input::settle).
    pub fn settle(self, disposition: Disposition) -> Settlement {
        Settlement::new(self.receipt, disposition)
    }

    /// Splits the delivery into its transaction and its receipt.
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

/// The decision about a delivery.
///
/// ```
/// use ergon::prelude::*;
/// use std::time::Duration;
///
/// assert_eq!(Disposition::RetryAfter(Duration::from_secs(60)).as_str(), "retry_after");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Disposition {
    /// Done: the source removes it.
    Ack,
    /// Rejected: dispatched to the task's dead-letter connector, or rejected at the source if the task has none.
    #[default]
    Reject,
    /// Requeued: returned to the source, which delivers it again to any worker.
    Requeue,
    /// Retried after this time.
    RetryAfter(Duration),
}

impl Disposition {
    /// The disposition in lower case, as logs and metrics show it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ack => "ack",
            Self::Reject => "reject",
            Self::Requeue => "requeue",
            Self::RetryAfter(_) => "retry_after",
        }
    }
}

/// The decision about one delivery for its source: the used receipt, and the disposition.
#[derive(Debug)]
pub struct Settlement {
    receipt: Receipt,
    disposition: Disposition,
    /// Of a rejected delivery: the transaction with the reason in its metadata.
    rejected: Option<Box<Transaction>>,
}

impl Settlement {
    /// Makes a settlement of a receipt, which is used up.
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

    /// The decision about the delivery.
    pub fn disposition(&self) -> Disposition {
        self.disposition
    }

    /// Returns the receipt, for a source that needs its token.
    pub fn into_receipt(self) -> Receipt {
        self.receipt
    }
}

/// A request for deliveries.
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
    /// Makes a request for at most `max` deliveries, without waiting.
    pub fn new(max: usize) -> Self {
        Self { max, batch_size: max, waits: false }
    }

    /// Allows a source that receives data by push to wait for the first delivery.
    #[must_use]
    pub fn waiting(mut self) -> Self {
        self.waits = true;
        self
    }

    /// Sets the number of rows that a source which bundles rows puts into one transaction. Default: [`max`](Self::max).
    #[must_use]
    pub fn with_batch_size(mut self, batch_size: usize) -> Self {
        self.batch_size = batch_size;
        self
    }

    /// The limit of returned deliveries.
    pub fn max(&self) -> usize {
        self.max
    }

    /// The task's `batch_size`.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// Whether the source may wait for data.
    pub fn waits(&self) -> bool {
        self.waits
    }
}
