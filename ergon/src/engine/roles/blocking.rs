//! The roles of a task whose steps block: each step is a call that the lane's thread makes.

use std::future::Future;
use std::sync::Arc;

use serde_json::Value;

use super::Show;
use crate::connector::{Disposition, Receipt};
use crate::engine::blocking::Call;
use crate::engine::buffer::{Pump, typed};
use crate::engine::produce::Pull;
use crate::engine::steps::{RoleInfo, Steps};
use crate::task::{BlockingConsumer, BlockingProducer};
use crate::telemetry::Step;
use crate::transaction::{Result, Transaction, TransactionError};

/// A blocking consumer.
#[derive(Debug)]
pub(in crate::engine) struct BlockingConsuming<T: BlockingConsumer> {
    pub(in crate::engine) task: Arc<T>,
    pub(in crate::engine) show: Show<T::Output>,
}

impl<T: BlockingConsumer> Steps for BlockingConsuming<T> {
    const INFO: RoleInfo = RoleInfo { task: T::NAME, first: Step::Process, blocking: true, hybrid: false };
    type Payload = T::Payload;
    type Output = T::Output;
    // A call that was given up may go on with them.
    type Held<X: Send + Sync + 'static> = Arc<X>;

    fn open(&self, transaction: &Transaction, _: Option<&Receipt>) -> Result<Arc<Transaction<T::Payload>>> {
        Ok(Arc::new(transaction.decoded()?))
    }

    fn first(
        &self,
        transaction: &Arc<Transaction<T::Payload>>,
    ) -> impl Future<Output = Result<T::Output>> + Send {
        let (task, transaction) = (Arc::clone(&self.task), Arc::clone(transaction));
        Call::new(move || task.process_transaction(&transaction))
    }

    fn show(&self, output: &T::Output) -> Option<Value> {
        (self.show)(output)
    }

    fn success(
        &self,
        transaction: &Arc<Transaction<T::Payload>>,
        output: &Arc<T::Output>,
    ) -> impl Future<Output = Result<()>> + Send {
        let (task, transaction, output) =
            (Arc::clone(&self.task), Arc::clone(transaction), Arc::clone(output));
        Call::new(move || task.handle_process_success(&transaction, &output))
    }

    fn exception(
        &self,
        transaction: &Transaction,
        error: &TransactionError,
    ) -> impl Future<Output = Result<Disposition>> + Send {
        let (task, transaction, error) = (Arc::clone(&self.task), transaction.clone(), error.clone());
        Call::new(move || task.handle_process_exception(&transaction, &error))
    }

    fn exit(&self) -> impl Future<Output = Result<()>> + Send {
        let task = Arc::clone(&self.task);
        Call::new(move || task.exit())
    }
}

/// A blocking producer.
#[derive(Debug)]
pub(in crate::engine) struct BlockingProducing<T: BlockingProducer> {
    pub(in crate::engine) task: Arc<T>,
    pub(in crate::engine) show: Show<T::Output>,
}

impl<T: BlockingProducer> Pull for BlockingProducing<T> {
    async fn pull(self: Arc<Self>, pump: Pump) {
        let pull = move || pump.pull_blocking(|| self.task.transactions());
        // Without a thread nobody answers, and the run ends with that.
        let _ = std::thread::Builder::new().name("ergon-transactions".to_owned()).spawn(pull);
    }
}

impl<T: BlockingProducer> Steps for BlockingProducing<T> {
    const INFO: RoleInfo = RoleInfo { task: T::NAME, first: Step::Prepare, blocking: true, hybrid: false };
    type Payload = T::Payload;
    type Output = T::Output;
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
        let (task, transaction) = (Arc::clone(&self.task), Arc::clone(transaction));
        Call::new(move || task.prepare_transaction(&transaction))
    }

    fn show(&self, output: &T::Output) -> Option<Value> {
        (self.show)(output)
    }

    fn success(
        &self,
        transaction: &Arc<Transaction<T::Payload>>,
        output: &Arc<T::Output>,
    ) -> impl Future<Output = Result<()>> + Send {
        let (task, transaction, output) =
            (Arc::clone(&self.task), Arc::clone(transaction), Arc::clone(output));
        Call::new(move || task.handle_prepare_success(&transaction, &output))
    }

    fn exception(
        &self,
        transaction: &Transaction,
        error: &TransactionError,
    ) -> impl Future<Output = Result<Disposition>> + Send {
        let (task, transaction, error) = (Arc::clone(&self.task), transaction.clone(), error.clone());
        Call::new(move || task.handle_prepare_exception(&transaction, &error))
    }

    fn exit(&self) -> impl Future<Output = Result<()>> + Send {
        let task = Arc::clone(&self.task);
        Call::new(move || task.exit())
    }
}
