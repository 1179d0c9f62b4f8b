//! Holds a processed delivery until its settlement.

use futures_util::future::BoxFuture;

use super::completed::Completed;
use crate::connector::{ConnectorError, Delivery, Pushes, Receipt};
use crate::transaction::Transaction;

/// A processed delivery that waits for its settlement.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) transaction: Transaction,
    /// `None` after it was handed to the source.
    pub(super) receipt: Option<Receipt>,
    pub(super) completed: Completed,
    /// Identifies the transactions that its steps have put into the buffers of sinks.
    pub(super) pushes: Pushes,
}

/// A call to the source, and the deliveries that it settles.
pub(super) struct SettleCall {
    pub(super) answer: BoxFuture<'static, Result<(), ConnectorError>>,
    /// In the order of the settlements.
    pub(super) finished: Vec<Finished>,
}

impl Finished {
    /// Gives back a delivery that was not started.
    pub(super) fn give_back(delivery: Delivery) -> Self {
        let (transaction, receipt) = delivery.into_parts();
        Self {
            transaction,
            receipt: Some(receipt),
            completed: Completed::aborted(),
            pushes: Pushes::default(),
        }
    }
}
