//! The trait of a task that consumes.

use std::future::Future;

use super::Task;
use crate::connector::Disposition;
use crate::transaction::{Decode, Result, Transaction, TransactionError};

/// Processes transactions one by one: the engine fetches, retries, limits, settles and traces.
///
/// Every `.await` may be a method's last: at a time limit, or when a stop's grace is over, its future is dropped.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is a consumer task, but does not implement `Consumer`",
    label = "`impl Consumer for {Self}` is missing",
    note = "write `impl Consumer for {Self}` with `type Payload`, `type Output` and `async fn process_transaction`"
)]
pub trait Consumer: Task {
    /// What a transaction carries: `Value`, `String`, `Bytes` or your own `Deserialize` type.
    type Payload: Decode;

    /// What processing makes of it.
    type Output: Send + Sync;

    /// Does the work of one transaction; retried by the `process` policy.
    ///
    /// # Errors
    /// A business error sends the transaction to [`handle_process_exception`](Self::handle_process_exception) at once,
    /// any other when the attempts are used up.
    ///
    /// # Cancel safety
    /// May be dropped at any `.await`; what it has done outside by then stays done.
    fn process_transaction(
        &self,
        transaction: &Transaction<Self::Payload>,
    ) -> impl Future<Output = Result<Self::Output>> + Send;

    /// Hands on what was made; retried by the `success` policy. Default: there is nothing to do.
    ///
    /// # Errors
    /// When the attempts are used up, the transaction goes to
    /// [`handle_process_exception`](Self::handle_process_exception).
    fn handle_process_success(
        &self,
        transaction: &Transaction<Self::Payload>,
        output: &Self::Output,
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = (transaction, output);
        std::future::ready(Ok(()))
    }

    /// Decides what becomes of a transaction that failed; retried by the `exception` policy. Default: reject, to the
    /// `dead_letter` connector if one is named, else by the source.
    ///
    /// # Errors
    /// When the attempts are used up, the policy's `on_handler_failure` decides.
    fn handle_process_exception(
        &self,
        transaction: &Transaction,
        error: &TransactionError,
    ) -> impl Future<Output = Result<Disposition>> + Send {
        let _ = (transaction, error);
        std::future::ready(Ok(Disposition::Reject))
    }

    /// Ends the task: called once, after the last transaction, before connectors and services are closed.
    ///
    /// # Errors
    /// Makes the run fail.
    fn exit(&self) -> impl Future<Output = Result<()>> + Send {
        std::future::ready(Ok(()))
    }
}
