//! The trait of a task that makes transactions from a stream.

use std::future::Future;

use futures_util::Stream;
use futures_util::stream::once;

use super::Task;
use crate::connector::Disposition;
use crate::transaction::{Decode, Result, Transaction, TransactionError};

/// Produces transactions. The engine pulls them from a stream, and prepares each one.
///
/// The steps of one transaction are `prepare_transaction`, then `handle_prepare_success`. If a step fails,
/// `handle_prepare_exception` decides the disposition.
///
/// In a hybrid task (`consumer(…), producer(…)`), the output of the consumer takes the place of the stream.
///
/// # Cancel safety
/// The engine drops the future of a method at its next `.await` when a time limit ends, or when the grace of a stop
/// ends. Effects on external systems up to that point stay.
///
/// ```
/// use ergon::connector::memory::MemoryQueue;
/// use ergon::prelude::*;
/// use futures_util::stream;
///
/// #[ergon::task(connectors(output), producer(concurrency = 2))]
/// struct CountUp;
///
/// impl Producer for CountUp {
///     type Payload = u32;
///     type Output = u32;
///
///     fn transactions(&self) -> impl Stream<Item = Result<Transaction<u32>>> + Send {
///         stream::iter((1..=3).map(|n| Transaction::typed(format!("n-{n}"), n)))
///     }
///
///     async fn prepare_transaction(&self, number: &Transaction<u32>) -> Result<u32> {
///         Ok(number.payload() * 10)
///     }
///
///     async fn handle_prepare_success(&self, number: &Transaction<u32>, tenfold: &u32) -> Result<()> {
///         self.output_connector.dispatch(number.derive(tenfold)?).await
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let numbers = MemoryQueue::named("count-up");
/// let config = CountUp::config(CountUpWiring { output: MemoryConfig::new("count-up") });
/// let report = ergon::testing::run(config).await.unwrap();
/// assert_eq!((report.tally.succeeded, numbers.inspect().waiting), (3, 3));
/// # });
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is a producer task, but does not implement `Producer`",
    label = "`impl Producer for {Self}` is missing",
    note = "write `impl Producer for {Self}` with `type Payload`, `type Output`, `fn transactions` and `async fn prepare_transaction`"
)]
pub trait Producer: Task {
    /// The payload before the prepare step: `Value`, `String`, `Bytes` or your own type with `Deserialize`.
    type Payload: Decode;

    /// The result of `prepare_transaction`, which the success handler receives.
    type Output: Send + Sync;

    /// Returns the stream of transactions; [`Transaction::typed`] makes one transaction.
    ///
    /// The engine pulls the stream only as fast as it processes the transactions. An error in the stream ends the run,
    /// after the transactions before the error. Default, for hybrids: one error, because no loop pulls the stream of a
    /// hybrid.
    fn transactions(&self) -> impl Stream<Item = Result<Transaction<Self::Payload>>> + Send {
        let message = format!("`{}` does not say what it produces", Self::NAME);
        let hint = "write `fn transactions(&self)` in its `impl Producer`";
        once(std::future::ready(Err(TransactionError::business(format!("{message}; {hint}")))))
    }

    /// Prepares one transaction. The `prepare` policy sets its retries.
    ///
    /// # Errors
    /// A business error sends the transaction to [`handle_prepare_exception`](Self::handle_prepare_exception)
    /// immediately. Any other error does so after the last attempt.
    ///
    /// # Cancel safety
    /// The future can be dropped at any `.await`. Effects on external systems up to that point stay.
    fn prepare_transaction(
        &self,
        transaction: &Transaction<Self::Payload>,
    ) -> impl Future<Output = Result<Self::Output>> + Send;

    /// Dispatches or stores the output. The `success` policy sets its retries. Default: does nothing.
    ///
    /// # Errors
    /// After the last attempt, the transaction goes to [`handle_prepare_exception`](Self::handle_prepare_exception).
    ///
    /// # Cancel safety
    /// As for [`prepare_transaction`](Self::prepare_transaction).
    fn handle_prepare_success(
        &self,
        transaction: &Transaction<Self::Payload>,
        output: &Self::Output,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = (transaction, output);
        std::future::ready(Ok(()))
    }

    /// Decides the disposition of a failed transaction. The `exception` policy sets its retries. Default:
    /// [`Disposition::Reject`]. The transaction goes to the `dead_letter` connector if the policy names one; otherwise
    /// the summary lists it.
    ///
    /// # Errors
    /// After the last attempt, `on_handler_failure` of the policy decides.
    ///
    /// # Cancel safety
    /// As for [`prepare_transaction`](Self::prepare_transaction).
    fn handle_prepare_exception(
        &self,
        transaction: &Transaction,
        error: &TransactionError,
    ) -> impl Future<Output = Result<Disposition>> + Send {
        let _ = (transaction, error);
        std::future::ready(Ok(Disposition::Reject))
    }

    /// Ends the task. The engine calls this hook once, after the last transaction and before it closes connectors and
    /// services. In a hybrid, it calls this hook before the hook of the consumer. Default: does nothing.
    ///
    /// # Errors
    /// An error makes the run fail.
    fn exit(&self) -> impl Future<Output = Result<()>> + Send {
        std::future::ready(Ok(()))
    }
}
