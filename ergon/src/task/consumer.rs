//! The trait of a task that processes transactions from a source.

use std::future::Future;

use super::Task;
use crate::connector::Disposition;
use crate::transaction::{Decode, Result, Transaction, TransactionError};

/// Processes the transactions of a source. The engine fetches, retries, limits, settles and traces them.
///
/// The steps of one transaction are `process_transaction`, then `handle_process_success`, then the settlement with
/// `ack`. If a step fails, `handle_process_exception` decides the disposition instead.
///
/// # Cancel safety
/// The engine drops the future of a method at its next `.await` when a time limit ends, or when the grace of a stop
/// ends. Effects on external systems up to that point stay.
///
/// ```
/// use ergon::connector::memory::MemoryQueue;
/// use ergon::prelude::*;
///
/// #[ergon::task(connectors(input, output), consumer(concurrency = 2))]
/// struct Double;
///
/// impl Consumer for Double {
///     type Payload = u32;
///     type Output = u32;
///
///     async fn process_transaction(&self, number: &Transaction<u32>) -> Result<u32> {
///         number.payload().checked_mul(2).ok_or_else(|| TransactionError::business("the number is too large"))
///     }
///
///     async fn handle_process_success(&self, number: &Transaction<u32>, double: &u32) -> Result<()> {
///         self.output_connector.dispatch(number.derive(double)?).await
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// MemoryQueue::named("numbers").push(Transaction::new("a", &21).unwrap());
/// let config = Double::config(DoubleWiring {
///     input: MemoryConfig::new("numbers"),
///     output: MemoryConfig::new("doubles"),
/// });
/// let report = ergon::testing::run(config).await.unwrap();
/// assert_eq!(report.tally.succeeded, 1);
/// assert_eq!(MemoryQueue::named("doubles").drain()[0].decode::<u32>().unwrap(), 42);
/// # });
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is a consumer task, but does not implement `Consumer`",
    label = "`impl Consumer for {Self}` is missing",
    note = "write `impl Consumer for {Self}` with `type Payload`, `type Output` and `async fn process_transaction`"
)]
pub trait Consumer: Task {
    /// The payload of a transaction: `Value`, `String`, `Bytes` or your own type with `Deserialize`.
    type Payload: Decode;

    /// The result of `process_transaction`, which the success handler receives.
    type Output: Send + Sync;

    /// Does the work of one transaction. The `process` policy sets its retries.
    ///
    /// # Errors
    /// A business error sends the transaction to [`handle_process_exception`](Self::handle_process_exception)
    /// immediately. Any other error does so after the last attempt.
    ///
    /// # Cancel safety
    /// The future can be dropped at any `.await`. Effects on external systems up to that point stay.
    fn process_transaction(
        &self,
        transaction: &Transaction<Self::Payload>,
    ) -> impl Future<Output = Result<Self::Output>> + Send;

    /// Dispatches or stores the output. The `success` policy sets its retries. Default: does nothing.
    ///
    /// # Errors
    /// After the last attempt, the transaction goes to [`handle_process_exception`](Self::handle_process_exception).
    ///
    /// # Cancel safety
    /// As for [`process_transaction`](Self::process_transaction).
    fn handle_process_success(
        &self,
        transaction: &Transaction<Self::Payload>,
        output: &Self::Output,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = (transaction, output);
        std::future::ready(Ok(()))
    }

    /// Decides the disposition of a failed transaction. The `exception` policy sets its retries. Default:
    /// [`Disposition::Reject`], to the `dead_letter` connector if the policy names one, else by the source.
    ///
    /// # Errors
    /// After the last attempt, `on_handler_failure` of the policy decides.
    ///
    /// # Cancel safety
    /// As for [`process_transaction`](Self::process_transaction).
    fn handle_process_exception(
        &self,
        transaction: &Transaction,
        error: &TransactionError,
    ) -> impl Future<Output = Result<Disposition>> + Send {
        let _ = (transaction, error);
        std::future::ready(Ok(Disposition::Reject))
    }

    /// Ends the task. The engine calls this hook once, after the last transaction and before it closes connectors and
    /// services. Default: does nothing.
    ///
    /// # Errors
    /// An error makes the run fail.
    fn exit(&self) -> impl Future<Output = Result<()>> + Send {
        std::future::ready(Ok(()))
    }
}
