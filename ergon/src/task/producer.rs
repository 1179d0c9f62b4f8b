//! The trait of a task that produces.

use std::future::Future;

use futures_util::Stream;
use futures_util::stream::once;

use super::Task;
use crate::connector::Disposition;
use crate::transaction::{Decode, Result, Transaction, TransactionError};

/// Produces transactions: the engine pulls them from a stream, prepares each, and hands it on.
///
/// In a hybrid task (`consumer(…), producer(…)`), what the consumer's process step makes takes the place of the
/// stream.
///
/// Every `.await` may be a method's last: at a time limit, or when a stop's grace is over, its future is dropped.
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
    /// What a transaction carries before it is prepared: `Value`, `String`, `Bytes` or your own `Deserialize` type.
    type Payload: Decode;

    /// What preparing makes of it.
    type Output: Send + Sync;

    /// What is to be produced, pulled only as fast as transactions are handed on; [`Transaction::typed`] makes one.
    /// An error in the stream ends the run, after what was pulled before it.
    ///
    /// Default, for hybrids: an error, because nothing pulls from a hybrid's stream.
    fn transactions(&self) -> impl Stream<Item = Result<Transaction<Self::Payload>>> + Send {
        let message = format!("`{}` does not say what it produces", Self::NAME);
        let hint = "write `fn transactions(&self)` in its `impl Producer`";
        once(std::future::ready(Err(TransactionError::business(format!("{message}; {hint}")))))
    }

    /// Makes ready what is to be handed on; retried by the `prepare` policy.
    ///
    /// # Errors
    /// A business error sends the transaction to [`handle_prepare_exception`](Self::handle_prepare_exception) at once,
    /// any other when the attempts are used up.
    ///
    /// # Cancel safety
    /// May be dropped at any `.await`; what it has done outside by then stays done.
    fn prepare_transaction(
        &self,
        transaction: &Transaction<Self::Payload>,
    ) -> impl Future<Output = Result<Self::Output>> + Send;

    /// Hands on what was prepared, to a sink for example; retried by the `success` policy. Default: there is nothing
    /// to do.
    ///
    /// # Errors
    /// When the attempts are used up, the transaction goes to
    /// [`handle_prepare_exception`](Self::handle_prepare_exception).
    fn handle_prepare_success(
        &self,
        transaction: &Transaction<Self::Payload>,
        output: &Self::Output,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = (transaction, output);
        std::future::ready(Ok(()))
    }

    /// Decides what becomes of a transaction that failed; retried by the `exception` policy. Default: reject, to the
    /// `dead_letter` connector if one is named, else it is listed in the summary.
    ///
    /// # Errors
    /// When the attempts are used up, the policy's `on_handler_failure` decides.
    fn handle_prepare_exception(
        &self,
        transaction: &Transaction,
        error: &TransactionError,
    ) -> impl Future<Output = Result<Disposition>> + Send {
        let _ = (transaction, error);
        std::future::ready(Ok(Disposition::Reject))
    }

    /// Ends the task: called once, after the last transaction, before connectors and services are closed. A hybrid's
    /// is called before its consumer's.
    ///
    /// # Errors
    /// Makes the run fail.
    fn exit(&self) -> impl Future<Output = Result<()>> + Send {
        std::future::ready(Ok(()))
    }
}
