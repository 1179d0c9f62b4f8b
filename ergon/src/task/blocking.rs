//! The traits of tasks whose steps block or compute for long. They have the same methods as the async traits, as plain
//! functions that run on threads.

use super::Task;
use crate::connector::Disposition;
use crate::transaction::{Decode, Result, Transaction, TransactionError};

/// Processes the transactions of a source on threads: for libraries that block, and for work that keeps a core busy.
///
/// | to | call |
/// |---|---|
/// | dispatch a transaction | [`Output::blocking_dispatch`](crate::connector::Output::blocking_dispatch) |
/// | wait for any other future | [`ergon::block_on`](crate::block_on) |
/// | stop long work early | [`Transaction::is_cancelled`] |
///
/// # Cancel safety
/// No call can be cancelled. A call that exceeds its time limit is abandoned: the engine ignores its late result, and
/// starts another thread in its place.
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
    /// The payload of a transaction: `Value`, `String`, `Bytes` or your own type with `Deserialize`.
    type Payload: Decode;

    /// The result of `process_transaction`, which the success handler receives.
    type Output: Send + Sync;

    /// Does the work of one transaction. The `process` policy sets its retries.
    ///
    /// # Errors
    /// As for [`Consumer::process_transaction`](super::Consumer::process_transaction).
    fn process_transaction(&self, transaction: &Transaction<Self::Payload>) -> Result<Self::Output>;

    /// Dispatches or stores the output. The `success` policy sets its retries. Default: does nothing.
    ///
    /// # Errors
    /// As for [`Consumer::handle_process_success`](super::Consumer::handle_process_success).
    fn handle_process_success(
        &self,
        transaction: &Transaction<Self::Payload>,
        output: &Self::Output,
    ) -> Result<()> {
        let _ = (transaction, output);
        Ok(())
    }

    /// Decides the disposition of a failed transaction. The `exception` policy sets its retries. Default:
    /// [`Disposition::Reject`].
    ///
    /// # Errors
    /// As for [`Consumer::handle_process_exception`](super::Consumer::handle_process_exception).
    fn handle_process_exception(
        &self,
        transaction: &Transaction,
        error: &TransactionError,
    ) -> Result<Disposition> {
        let _ = (transaction, error);
        Ok(Disposition::Reject)
    }

    /// Ends the task. The engine calls this hook once, after the last transaction and before it closes connectors and
    /// services. Default: does nothing.
    ///
    /// # Errors
    /// An error makes the run fail.
    fn exit(&self) -> Result<()> {
        Ok(())
    }
}

/// Produces transactions on threads. The engine pulls them from an iterator, and prepares each one.
///
/// Time limits and the calls of connectors are the same as for [`BlockingConsumer`].
///
/// ```
/// use ergon::connector::memory::MemoryQueue;
/// use ergon::prelude::*;
///
/// #[ergon::task(connectors(output), producer(), blocking)]
/// struct CountDown;
///
/// impl BlockingProducer for CountDown {
///     type Payload = u32;
///     type Output = ();
///
///     fn transactions(&self) -> impl Iterator<Item = Result<Transaction<u32>>> {
///         (1..=3).rev().map(|n| Transaction::typed(format!("n-{n}"), n))
///     }
///
///     fn prepare_transaction(&self, number: &Transaction<u32>) -> Result<()> {
///         self.output_connector.blocking_dispatch(number.forward())
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let config = CountDown::config(CountDownWiring { output: MemoryConfig::new("count-down") });
/// let report = ergon::testing::run(config).await.unwrap();
/// assert_eq!((report.tally.succeeded, MemoryQueue::named("count-down").inspect().waiting), (3, 3));
/// # });
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is a blocking producer task, but does not implement `BlockingProducer`",
    label = "`impl BlockingProducer for {Self}` is missing",
    note = "write `impl BlockingProducer for {Self}` with plain `fn`s; for `async fn`s, remove `blocking` from `#[ergon::task]`"
)]
pub trait BlockingProducer: Task {
    /// The payload before the prepare step: `Value`, `String`, `Bytes` or your own type with `Deserialize`.
    type Payload: Decode;

    /// The result of `prepare_transaction`, which the success handler receives.
    type Output: Send + Sync;

    /// Returns the iterator of transactions; [`Transaction::typed`] makes one transaction.
    ///
    /// The engine pulls the iterator on a separate thread, and only as fast as it processes the transactions. An error
    /// ends the run, after the transactions before the error. Default, for hybrids: one error, because no loop pulls
    /// the iterator of a hybrid.
    fn transactions(&self) -> impl Iterator<Item = Result<Transaction<Self::Payload>>> {
        let message = format!("`{}` does not say what it produces", Self::NAME);
        let hint = "write `fn transactions(&self)` in its `impl BlockingProducer`";
        std::iter::once(Err(TransactionError::business(format!("{message}; {hint}"))))
    }

    /// Prepares one transaction. The `prepare` policy sets its retries.
    ///
    /// # Errors
    /// As for [`Producer::prepare_transaction`](super::Producer::prepare_transaction).
    fn prepare_transaction(&self, transaction: &Transaction<Self::Payload>) -> Result<Self::Output>;

    /// Dispatches or stores the output. The `success` policy sets its retries. Default: does nothing.
    ///
    /// # Errors
    /// As for [`Producer::handle_prepare_success`](super::Producer::handle_prepare_success).
    fn handle_prepare_success(
        &self,
        transaction: &Transaction<Self::Payload>,
        output: &Self::Output,
    ) -> Result<()> {
        let _ = (transaction, output);
        Ok(())
    }

    /// Decides the disposition of a failed transaction. The `exception` policy sets its retries. Default:
    /// [`Disposition::Reject`].
    ///
    /// # Errors
    /// As for [`Producer::handle_prepare_exception`](super::Producer::handle_prepare_exception).
    fn handle_prepare_exception(
        &self,
        transaction: &Transaction,
        error: &TransactionError,
    ) -> Result<Disposition> {
        let _ = (transaction, error);
        Ok(Disposition::Reject)
    }

    /// Ends the task. The engine calls this hook once, after the last transaction and before it closes connectors and
    /// services. In a hybrid, it calls this hook before the hook of the consumer. Default: does nothing.
    ///
    /// # Errors
    /// An error makes the run fail.
    fn exit(&self) -> Result<()> {
        Ok(())
    }
}
