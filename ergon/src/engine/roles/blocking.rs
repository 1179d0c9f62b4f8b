//! Implements the roles of a task whose steps block: each step is a call that the lane's thread makes.

use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use serde_json::Value;

use super::Show;
use crate::connector::{Disposition, Receipt};
use crate::engine::blocking::Call;
use crate::engine::buffer::{Pump, typed};
use crate::engine::produce::Pull;
use crate::engine::steps::{RoleInfo, Steps};
use crate::task::{BlockingConsumer, BlockingProducer, Task};
use crate::telemetry::Step;
use crate::transaction::{Result, Transaction, TransactionError};

/// A task whose steps block, in the role that `H` names.
pub(in crate::engine) struct Blocking<T, H: Handlers<T>> {
    task: Arc<T>,
    show: Show<H::Output>,
    handlers: PhantomData<fn(H)>,
}

/// The handlers of a blocking task in one role.
pub(in crate::engine) trait Handlers<T>: 'static {
    /// The name of the first step.
    const FIRST: Step;
    /// The type that a transaction carries.
    type Payload: Send + Sync + 'static;
    /// The type that the first step makes.
    type Output: Send + Sync + 'static;

    fn open(transaction: &Transaction, receipt: Option<&Receipt>) -> Result<Arc<Transaction<Self::Payload>>>;
    fn first(task: &T, transaction: &Transaction<Self::Payload>) -> Result<Self::Output>;
    fn success(task: &T, transaction: &Transaction<Self::Payload>, output: &Self::Output) -> Result<()>;
    fn exception(task: &T, transaction: &Transaction, error: &TransactionError) -> Result<Disposition>;
    fn exit(task: &T) -> Result<()>;
}

/// The handlers of a [`BlockingConsumer`].
pub(in crate::engine) enum Consumes {}

impl<T: BlockingConsumer> Handlers<T> for Consumes {
    const FIRST: Step = Step::Process;
    type Payload = T::Payload;
    type Output = T::Output;

    fn open(transaction: &Transaction, _: Option<&Receipt>) -> Result<Arc<Transaction<T::Payload>>> {
        Ok(Arc::new(transaction.decoded()?))
    }

    fn first(task: &T, transaction: &Transaction<T::Payload>) -> Result<T::Output> {
        task.process_transaction(transaction)
    }

    fn success(task: &T, transaction: &Transaction<T::Payload>, output: &T::Output) -> Result<()> {
        task.handle_process_success(transaction, output)
    }

    fn exception(task: &T, transaction: &Transaction, error: &TransactionError) -> Result<Disposition> {
        task.handle_process_exception(transaction, error)
    }

    fn exit(task: &T) -> Result<()> {
        task.exit()
    }
}

/// The handlers of a [`BlockingProducer`].
pub(in crate::engine) enum Produces {}

impl<T: BlockingProducer> Handlers<T> for Produces {
    const FIRST: Step = Step::Prepare;
    type Payload = T::Payload;
    type Output = T::Output;

    fn open(transaction: &Transaction, receipt: Option<&Receipt>) -> Result<Arc<Transaction<T::Payload>>> {
        typed(transaction, receipt)
    }

    fn first(task: &T, transaction: &Transaction<T::Payload>) -> Result<T::Output> {
        task.prepare_transaction(transaction)
    }

    fn success(task: &T, transaction: &Transaction<T::Payload>, output: &T::Output) -> Result<()> {
        task.handle_prepare_success(transaction, output)
    }

    fn exception(task: &T, transaction: &Transaction, error: &TransactionError) -> Result<Disposition> {
        task.handle_prepare_exception(transaction, error)
    }

    fn exit(task: &T) -> Result<()> {
        task.exit()
    }
}

impl<T, H: Handlers<T>> Blocking<T, H> {
    pub(in crate::engine) fn new(task: Arc<T>, show: Show<H::Output>) -> Self {
        Self { task, show, handlers: PhantomData }
    }
}

impl<T: BlockingProducer> Pull for Blocking<T, Produces> {
    async fn pull(self: Arc<Self>, pump: Pump) {
        let pull = move || pump.pull_blocking(|| self.task.transactions());
        // If the system gives no thread, no fetch is answered, and the run ends with an error.
        let _ = std::thread::Builder::new().name("ergon-transactions".to_owned()).spawn(pull);
    }
}

impl<T: Task, H: Handlers<T>> Steps for Blocking<T, H> {
    const INFO: RoleInfo = RoleInfo { task: T::NAME, first: H::FIRST, blocking: true, hybrid: false };
    type Payload = H::Payload;
    type Output = H::Output;
    // An `Arc`, because an abandoned call still uses the value on its thread.
    type Held<X: Send + Sync + 'static> = Arc<X>;

    fn open(
        &self,
        transaction: &Transaction,
        receipt: Option<&Receipt>,
    ) -> Result<Arc<Transaction<H::Payload>>> {
        H::open(transaction, receipt)
    }

    fn first(
        &self,
        transaction: &Arc<Transaction<H::Payload>>,
    ) -> impl Future<Output = Result<H::Output>> + Send {
        let (task, transaction) = (Arc::clone(&self.task), Arc::clone(transaction));
        Call::new(move || H::first(&task, &transaction))
    }

    fn show(&self, output: &H::Output) -> Option<Value> {
        (self.show)(output)
    }

    fn success(
        &self,
        transaction: &Arc<Transaction<H::Payload>>,
        output: &Arc<H::Output>,
    ) -> impl Future<Output = Result<()>> + Send {
        let (task, transaction, output) =
            (Arc::clone(&self.task), Arc::clone(transaction), Arc::clone(output));
        Call::new(move || H::success(&task, &transaction, &output))
    }

    fn exception(
        &self,
        transaction: &Transaction,
        error: &TransactionError,
    ) -> impl Future<Output = Result<Disposition>> + Send {
        let (task, transaction, error) = (Arc::clone(&self.task), transaction.clone(), error.clone());
        Call::new(move || H::exception(&task, &transaction, &error))
    }

    fn exit(&self) -> impl Future<Output = Result<()>> + Send {
        let task = Arc::clone(&self.task);
        Call::new(move || H::exit(&task))
    }
}
