//! Implements the role of an async consumer.

use std::future::Future;
use std::sync::Arc;

use serde_json::Value;

use super::Show;
use crate::connector::{Disposition, Receipt};
use crate::engine::steps::{Own, RoleInfo, Steps};
use crate::task::Consumer;
use crate::telemetry::Step;
use crate::transaction::{Result, Transaction, TransactionError};

/// An async consumer.
#[derive(Debug)]
pub(in crate::engine) struct Consuming<T: Consumer> {
    pub(in crate::engine) task: Arc<T>,
    pub(in crate::engine) show: Show<T::Output>,
}

impl<T: Consumer> Steps for Consuming<T> {
    const INFO: RoleInfo = RoleInfo { task: T::NAME, first: Step::Process, blocking: false, hybrid: false };
    type Payload = T::Payload;
    type Output = T::Output;
    type Held<X: Send + Sync + 'static> = Own<X>;

    fn open(&self, transaction: &Transaction, _: Option<&Receipt>) -> Result<Own<Transaction<T::Payload>>> {
        Ok(transaction.decoded()?.into())
    }

    fn first(
        &self,
        transaction: &Own<Transaction<T::Payload>>,
    ) -> impl Future<Output = Result<T::Output>> + Send {
        self.task.process_transaction(transaction)
    }

    fn show(&self, output: &T::Output) -> Option<Value> {
        (self.show)(output)
    }

    fn success(
        &self,
        transaction: &Own<Transaction<T::Payload>>,
        output: &Own<T::Output>,
    ) -> impl Future<Output = Result<()>> + Send {
        self.task.handle_process_success(transaction, output)
    }

    fn exception(
        &self,
        transaction: &Transaction,
        error: &TransactionError,
    ) -> impl Future<Output = Result<Disposition>> + Send {
        self.task.handle_process_exception(transaction, error)
    }

    fn exit(&self) -> impl Future<Output = Result<()>> + Send {
        self.task.exit()
    }
}
