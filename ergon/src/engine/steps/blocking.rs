//! The roles of a task whose steps block: each step is a call that the lane's thread makes.

use std::future::Future;
use std::sync::Arc;

use super::Steps;
use crate::connector::{Disposition, Receipt};
use crate::engine::blocking::Call;
use crate::engine::produce::{Through, outbound, typed};
use crate::engine::terms::RunContext;
use crate::task::{BlockingConsumer, BlockingProducer, Outbound};
use crate::telemetry::Step;
use crate::transaction::{Result, Transaction, TransactionError};

/// A blocking consumer.
#[derive(Debug)]
pub(in crate::engine) struct BlockingConsuming<T>(pub(in crate::engine) Arc<T>);

impl<T: BlockingConsumer> Steps for BlockingConsuming<T> {
    const NAME: &'static str = T::NAME;
    const FIRST: Step = Step::Process;
    const BLOCKING: bool = true;
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
        let (task, transaction) = (Arc::clone(&self.0), Arc::clone(transaction));
        Call::new(move || task.process_transaction(&transaction))
    }

    fn success(
        &self,
        transaction: &Arc<Transaction<T::Payload>>,
        output: &Arc<T::Output>,
    ) -> impl Future<Output = Result<()>> + Send {
        let (task, transaction, output) = (Arc::clone(&self.0), Arc::clone(transaction), Arc::clone(output));
        Call::new(move || task.handle_process_success(&transaction, &output))
    }

    fn exception(
        &self,
        transaction: &Transaction,
        error: &TransactionError,
    ) -> impl Future<Output = Result<Disposition>> + Send {
        let (task, transaction, error) = (Arc::clone(&self.0), transaction.clone(), error.clone());
        Call::new(move || task.handle_process_exception(&transaction, &error))
    }

    fn exit(&self) -> impl Future<Output = Result<()>> + Send {
        let task = Arc::clone(&self.0);
        Call::new(move || task.exit())
    }
}

/// A blocking producer.
#[derive(Debug)]
pub(in crate::engine) struct BlockingProducing<T>(pub(in crate::engine) Arc<T>);

impl<T: BlockingProducer> Steps for BlockingProducing<T> {
    const NAME: &'static str = T::NAME;
    const FIRST: Step = Step::Prepare;
    const BLOCKING: bool = true;
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
        let (task, transaction) = (Arc::clone(&self.0), Arc::clone(transaction));
        Call::new(move || task.prepare_transaction(&transaction))
    }

    fn success(
        &self,
        transaction: &Arc<Transaction<T::Payload>>,
        output: &Arc<T::Output>,
    ) -> impl Future<Output = Result<()>> + Send {
        let (task, transaction, output) = (Arc::clone(&self.0), Arc::clone(transaction), Arc::clone(output));
        Call::new(move || task.handle_prepare_success(&transaction, &output))
    }

    fn exception(
        &self,
        transaction: &Transaction,
        error: &TransactionError,
    ) -> impl Future<Output = Result<Disposition>> + Send {
        let (task, transaction, error) = (Arc::clone(&self.0), transaction.clone(), error.clone());
        Call::new(move || task.handle_prepare_exception(&transaction, &error))
    }

    fn exit(&self) -> impl Future<Output = Result<()>> + Send {
        let task = Arc::clone(&self.0);
        Call::new(move || task.exit())
    }
}

/// A blocking hybrid: a consumer whose outputs go through its producer's steps.
#[derive(Debug)]
pub(in crate::engine) struct BlockingHybrid<T> {
    consumer: BlockingConsuming<T>,
    producer: BlockingProducing<T>,
}

impl<T> BlockingHybrid<T> {
    pub(in crate::engine) fn new(task: Arc<T>) -> Self {
        Self { consumer: BlockingConsuming(Arc::clone(&task)), producer: BlockingProducing(task) }
    }
}

impl<T: BlockingConsumer + BlockingProducer> Steps for BlockingHybrid<T>
where
    <T as BlockingConsumer>::Output: Outbound,
{
    const NAME: &'static str = T::NAME;
    const FIRST: Step = Step::Process;
    const BLOCKING: bool = true;
    type Payload = <T as BlockingConsumer>::Payload;
    type Output = <T as BlockingConsumer>::Output;
    type Held<X: Send + Sync + 'static> = Arc<X>;

    fn open(
        &self,
        transaction: &Transaction,
        receipt: Option<&Receipt>,
    ) -> Result<Arc<Transaction<Self::Payload>>> {
        self.consumer.open(transaction, receipt)
    }

    fn first(
        &self,
        transaction: &Arc<Transaction<Self::Payload>>,
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
        transaction: &Arc<Transaction<Self::Payload>>,
        output: &Arc<Self::Output>,
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
