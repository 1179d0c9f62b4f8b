//! Implements the role of an async producer.

use std::future::Future;
use std::sync::Arc;

use serde_json::Value;

use super::Show;
use crate::connector::{Disposition, Receipt};
use crate::engine::buffer::{Pump, typed};
use crate::engine::produce::Pull;
use crate::engine::steps::{RoleInfo, Steps};
use crate::task::Producer;
use crate::telemetry::Step;
use crate::transaction::{Result, Transaction, TransactionError};

/// An async producer.
#[derive(Debug)]
pub(in crate::engine) struct Producing<T: Producer> {
    pub(in crate::engine) task: Arc<T>,
    pub(in crate::engine) show: Show<T::Output>,
}

impl<T: Producer> Pull for Producing<T> {
    async fn pull(self: Arc<Self>, pump: Pump) {
        pump.pull(|| self.task.transactions()).await;
    }
}

impl<T: Producer> Steps for Producing<T> {
    const INFO: RoleInfo = RoleInfo { task: T::NAME, first: Step::Prepare, blocking: false, hybrid: false };
    type Payload = T::Payload;
    type Output = T::Output;
    // Shared, because the buffer of the stream keeps the transaction until it is settled.
    type Held<X: Send + Sync + 'static> = Arc<X>;

    fn open(
        &self,
        transaction: &Transaction,
        receipt: Option<&Receipt>,
    ) -> Result<Arc<Transaction<T::Payload>>> {
        typed(transaction, receipt)
    }

    fn first(
        &self,
        transaction: &Arc<Transaction<T::Payload>>,
    ) -> impl Future<Output = Result<T::Output>> + Send {
        self.task.prepare_transaction(transaction)
    }

    fn show(&self, output: &T::Output) -> Option<Value> {
        (self.show)(output)
    }

    fn success(
        &self,
        transaction: &Arc<Transaction<T::Payload>>,
        output: &Arc<T::Output>,
    ) -> impl Future<Output = Result<()>> + Send {
        self.task.handle_prepare_success(transaction, output)
    }

    fn exception(
        &self,
        transaction: &Transaction,
        error: &TransactionError,
    ) -> impl Future<Output = Result<Disposition>> + Send {
        self.task.handle_prepare_exception(transaction, error)
    }

    fn exit(&self) -> impl Future<Output = Result<()>> + Send {
        self.task.exit()
    }
}
