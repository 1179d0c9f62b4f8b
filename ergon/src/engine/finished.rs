//! A delivery whose processing is over, on its way to be settled.

use futures_util::future::BoxFuture;

use super::completed::Completed;
use crate::connector::{ConnectorError, Delivery, Pushes, Receipt};
use crate::transaction::Transaction;

/// A delivery whose processing is over, on its way to be settled.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) transaction: Transaction,
    /// None once it is used up.
    pub(super) receipt: Option<Receipt>,
    pub(super) completed: Completed,
    /// What its steps have put into buffers of sinks.
    pub(super) pushes: Pushes,
}

/// A call to the source, and what it settles.
pub(super) struct SettleCall {
    pub(super) told: BoxFuture<'static, Result<(), ConnectorError>>,
    /// In the order of the settlements.
    pub(super) finished: Vec<Finished>,
}

impl Finished {
    /// Gives back a delivery that was not begun.
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
