//! What the engine calls of a task in one of its roles, so that all roles live the same life.

mod blocking;

use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;

pub(super) use blocking::{BlockingConsuming, BlockingHybrid, BlockingProducing};

use super::produce::{Through, outbound, typed};
use super::terms::RunContext;
use crate::connector::{Disposition, Receipt};
use crate::task::{Consumer, Outbound, Producer};
use crate::telemetry::Step;
use crate::transaction::{Result, Transaction, TransactionError};

/// The steps of a task in one role.
pub(super) trait Steps: Send + Sync + 'static {
    /// The task's name.
    const NAME: &'static str;
    /// What the first step is called.
    const FIRST: Step;
    /// Whether the steps block their thread.
    const BLOCKING: bool;
    /// What a transaction carries.
    type Payload: Send + Sync + 'static;
    /// What the first step makes.
    type Output: Send + Sync + 'static;
    /// How transaction and output are held during a life: by value, or shared with whoever needs them longer.
    type Held<X: Send + Sync + 'static>: Deref<Target = X> + From<X> + Send + Sync;

    /// Makes the transaction one of the task's own type.
    fn open(
        &self,
        transaction: &Transaction,
        receipt: Option<&Receipt>,
    ) -> Result<Self::Held<Transaction<Self::Payload>>>;

    /// The first step: process or prepare.
    fn first(
        &self,
        transaction: &Self::Held<Transaction<Self::Payload>>,
    ) -> impl Future<Output = Result<Self::Output>> + Send;

    /// Takes what the first step made through the steps of another role: a hybrid's producer. The others do nothing.
    fn outbound(
        &self,
        terms: &RunContext,
        output: &Self::Output,
    ) -> impl Future<Output = Result<Through>> + Send {
        let _ = (terms, output);
        std::future::ready(Ok(Through::Whole))
    }

    /// The success step.
    fn success(
        &self,
        transaction: &Self::Held<Transaction<Self::Payload>>,
        output: &Self::Held<Self::Output>,
    ) -> impl Future<Output = Result<()>> + Send;

    /// The exception step.
    fn exception(
        &self,
        transaction: &Transaction,
        error: &TransactionError,
    ) -> impl Future<Output = Result<Disposition>> + Send;

    /// The end of the task.
    fn exit(&self) -> impl Future<Output = Result<()>> + Send;
}

/// Something held by value.
#[derive(Debug)]
pub(super) struct Own<X>(X);

impl<X> From<X> for Own<X> {
    fn from(value: X) -> Self {
        Self(value)
    }
}

impl<X> Deref for Own<X> {
    type Target = X;

    fn deref(&self) -> &X {
        &self.0
    }
}

/// An async consumer.
#[derive(Debug)]
pub(super) struct Consuming<T>(pub(super) Arc<T>);

impl<T: Consumer> Steps for Consuming<T> {
    const NAME: &'static str = T::NAME;
    const FIRST: Step = Step::Process;
    const BLOCKING: bool = false;
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
        self.0.process_transaction(transaction)
    }

    fn success(
        &self,
        transaction: &Own<Transaction<T::Payload>>,
        output: &Own<T::Output>,
    ) -> impl Future<Output = Result<()>> + Send {
        self.0.handle_process_success(transaction, output)
    }

    fn exception(
        &self,
        transaction: &Transaction,
        error: &TransactionError,
    ) -> impl Future<Output = Result<Disposition>> + Send {
        self.0.handle_process_exception(transaction, error)
    }

    fn exit(&self) -> impl Future<Output = Result<()>> + Send {
        self.0.exit()
    }
}

/// An async producer.
#[derive(Debug)]
pub(super) struct Producing<T>(pub(super) Arc<T>);

impl<T: Producer> Steps for Producing<T> {
    const NAME: &'static str = T::NAME;
    const FIRST: Step = Step::Prepare;
    const BLOCKING: bool = false;
    type Payload = T::Payload;
    type Output = T::Output;
    // The stream made the transaction, and keeps it for a further try.
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
        self.0.prepare_transaction(transaction)
    }

    fn success(
        &self,
        transaction: &Arc<Transaction<T::Payload>>,
        output: &Arc<T::Output>,
    ) -> impl Future<Output = Result<()>> + Send {
        self.0.handle_prepare_success(transaction, output)
    }

    fn exception(
        &self,
        transaction: &Transaction,
        error: &TransactionError,
    ) -> impl Future<Output = Result<Disposition>> + Send {
        self.0.handle_prepare_exception(transaction, error)
    }

    fn exit(&self) -> impl Future<Output = Result<()>> + Send {
        self.0.exit()
    }
}

/// An async hybrid: a consumer whose outputs go through its producer's steps.
#[derive(Debug)]
pub(super) struct Hybrid<T> {
    pub(super) consumer: Consuming<T>,
    pub(super) producer: Producing<T>,
}

impl<T> Hybrid<T> {
    pub(super) fn new(task: Arc<T>) -> Self {
        Self { consumer: Consuming(Arc::clone(&task)), producer: Producing(task) }
    }
}

impl<T: Consumer + Producer> Steps for Hybrid<T>
where
    <T as Consumer>::Output: Outbound,
{
    const NAME: &'static str = T::NAME;
    const FIRST: Step = Step::Process;
    const BLOCKING: bool = false;
    type Payload = <T as Consumer>::Payload;
    type Output = <T as Consumer>::Output;
    type Held<X: Send + Sync + 'static> = Own<X>;

    fn open(
        &self,
        transaction: &Transaction,
        receipt: Option<&Receipt>,
    ) -> Result<Own<Transaction<Self::Payload>>> {
        self.consumer.open(transaction, receipt)
    }

    fn first(
        &self,
        transaction: &Own<Transaction<Self::Payload>>,
    ) -> impl Future<Output = Result<Self::Output>> + Send {
        self.consumer.first(transaction)
    }

    fn outbound(
        &self,
        terms: &RunContext,
        output: &Self::Output,
    ) -> impl Future<Output = Result<Through>> + Send {
        outbound(&self.producer, terms, output.transactions())
    }

    fn success(
        &self,
        transaction: &Own<Transaction<Self::Payload>>,
        output: &Own<Self::Output>,
    ) -> impl Future<Output = Result<()>> + Send {
        self.consumer.success(transaction, output)
    }

    fn exception(
        &self,
        transaction: &Transaction,
        error: &TransactionError,
    ) -> impl Future<Output = Result<Disposition>> + Send {
        self.consumer.exception(transaction, error)
    }

    async fn exit(&self) -> Result<()> {
        let produced = self.producer.exit().await;
        self.consumer.exit().await.and(produced)
    }
}
