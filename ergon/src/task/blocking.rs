//! The traits of tasks whose steps block: the same as the async ones, with plain functions, on threads.

use super::Task;
use crate::connector::Disposition;
use crate::transaction::{Decode, Result, Transaction, TransactionError};

/// Processes transactions one by one on threads: for libraries that block, and for work that keeps a core busy.
///
/// Time limits are strict: an attempt that exceeds one is abandoned, its late result ignored, its place taken over by
/// a fresh thread. Long work asks [`Transaction::is_cancelled`] and returns early. A connector is called with
/// [`Output::blocking_dispatch`](crate::connector::Output::blocking_dispatch), any other future with
/// [`ergon::block_on`](crate::block_on).
///
/// ```
/// use ergon::connector::memory::MemoryQueue;
/// use ergon::prelude::*;
///
/// #[ergon::task(connectors(input, output), consumer(concurrency = 2), blocking)]
/// struct Double;
///
/// impl BlockingConsumer for Double {
///     type Payload = u32;
///     type Output = u32;
///
///     fn process_transaction(&self, number: &Transaction<u32>) -> Result<u32> {
///         Ok(number.payload() * 2)
///     }
///
///     fn handle_process_success(&self, number: &Transaction<u32>, double: &u32) -> Result<()> {
///         self.output_connector.blocking_dispatch(number.derive(double)?)
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// MemoryQueue::named("singles").push(Transaction::new("a", &21).unwrap());
/// let config = Double::config(DoubleWiring {
///     input: MemoryConfig::new("singles"),
///     output: MemoryConfig::new("doubled"),
/// });
/// let report = ergon::testing::run(config).await.unwrap();
/// assert_eq!(report.tally.succeeded, 1);
/// assert_eq!(MemoryQueue::named("doubled").drain()[0].decode::<u32>().unwrap(), 42);
/// # });
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is a blocking consumer task, but does not implement `BlockingConsumer`",
    label = "`impl BlockingConsumer for {Self}` is missing",
    note = "write `impl BlockingConsumer for {Self}` with plain `fn`s; for `async fn`s, remove `blocking` from `#[ergon::task]`"
)]
pub trait BlockingConsumer: Task {
    /// What a transaction carries: `Value`, `String`, `Bytes` or your own `Deserialize` type.
    type Payload: Decode;

    /// What processing makes of it.
    type Output: Send + Sync;

    /// Does the work of one transaction; retried by the `process` policy.
    ///
    /// # Errors
    /// As of [`Consumer::process_transaction`](super::Consumer::process_transaction).
    fn process_transaction(&self, transaction: &Transaction<Self::Payload>) -> Result<Self::Output>;

    /// Hands on what was made; retried by the `success` policy. Default: there is nothing to do.
    ///
    /// # Errors
    /// As of [`Consumer::handle_process_success`](super::Consumer::handle_process_success).
    fn handle_process_success(
        &self,
        transaction: &Transaction<Self::Payload>,
        output: &Self::Output,
    ) -> Result<()> {
        let _ = (transaction, output);
        Ok(())
    }

    /// Decides what becomes of a transaction that failed; retried by the `exception` policy. Default: reject.
    ///
    /// # Errors
    /// As of [`Consumer::handle_process_exception`](super::Consumer::handle_process_exception).
    fn handle_process_exception(
        &self,
        transaction: &Transaction,
        error: &TransactionError,
    ) -> Result<Disposition> {
        let _ = (transaction, error);
        Ok(Disposition::Reject)
    }

    /// Ends the task: called once, after the last transaction, before connectors and services are closed.
    ///
    /// # Errors
    /// Makes the run fail.
    fn exit(&self) -> Result<()> {
        Ok(())
    }
}

/// Produces transactions on threads: the engine pulls them from an iterator, prepares each, and hands it on.
///
/// Time limits and calls to connectors are as with [`BlockingConsumer`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is a blocking producer task, but does not implement `BlockingProducer`",
    label = "`impl BlockingProducer for {Self}` is missing",
    note = "write `impl BlockingProducer for {Self}` with plain `fn`s; for `async fn`s, remove `blocking` from `#[ergon::task]`"
)]
pub trait BlockingProducer: Task {
    /// What a transaction carries before it is prepared: `Value`, `String`, `Bytes` or your own `Deserialize` type.
    type Payload: Decode;

    /// What preparing makes of it.
    type Output: Send + Sync;

    /// What is to be produced, pulled on a thread of its own, only as fast as transactions are handed on;
    /// [`Transaction::typed`] makes one. An error ends the run, after what was pulled before it.
    ///
    /// Default, for hybrids: an error, because nothing pulls from a hybrid's iterator.
    fn transactions(&self) -> impl Iterator<Item = Result<Transaction<Self::Payload>>> {
        let message = format!("`{}` does not say what it produces", Self::NAME);
        let hint = "write `fn transactions(&self)` in its `impl BlockingProducer`";
        std::iter::once(Err(TransactionError::business(format!("{message}; {hint}"))))
    }

    /// Makes ready what is to be handed on; retried by the `prepare` policy.
    ///
    /// # Errors
    /// As of [`Producer::prepare_transaction`](super::Producer::prepare_transaction).
    fn prepare_transaction(&self, transaction: &Transaction<Self::Payload>) -> Result<Self::Output>;

    /// Hands on what was prepared; retried by the `success` policy. Default: there is nothing to do.
    ///
    /// # Errors
    /// As of [`Producer::handle_prepare_success`](super::Producer::handle_prepare_success).
    fn handle_prepare_success(
        &self,
        transaction: &Transaction<Self::Payload>,
        output: &Self::Output,
    ) -> Result<()> {
        let _ = (transaction, output);
        Ok(())
    }

    /// Decides what becomes of a transaction that failed; retried by the `exception` policy. Default: reject.
    ///
    /// # Errors
    /// As of [`Producer::handle_prepare_exception`](super::Producer::handle_prepare_exception).
    fn handle_prepare_exception(
        &self,
        transaction: &Transaction,
        error: &TransactionError,
    ) -> Result<Disposition> {
        let _ = (transaction, error);
        Ok(Disposition::Reject)
    }

    /// Ends the task: called once, after the last transaction, before connectors and services are closed. A hybrid's
    /// is called before its consumer's.
    ///
    /// # Errors
    /// Makes the run fail.
    fn exit(&self) -> Result<()> {
        Ok(())
    }
}
