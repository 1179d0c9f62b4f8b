//! The future of one dispatch: into the buffer of the sink, in a separate call, or in a call with other dispatches.

use std::fmt;
use std::mem::replace;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::kit::Added;
use super::{ConnectorError, Output};
use crate::telemetry::traces::Sending;
use crate::transaction::{Result, Transaction, TransactionError};
use futures_util::future::BoxFuture;

/// The argument of [`Output::dispatch`]: one transaction.
///
/// The trait exists for its error message, which shows how a value becomes a transaction.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a transaction, so it cannot be dispatched",
    label = "`dispatch` takes one `Transaction`",
    note = "write `transaction.derive(&value)?` for a value, `transaction.forward()` for the transaction itself, `dispatch_transactions(vec![…])` for several transactions"
)]
pub trait IntoTransaction {
    /// Returns the transaction.
    fn into_transaction(self) -> Transaction;
}

impl IntoTransaction for Transaction {
    fn into_transaction(self) -> Transaction {
        self
    }
}

/// The future of [`Output::dispatch`]. It ends when the external system has stored the transaction durably, or when the
/// transaction is in the [buffer](super::SinkBuffer) of the sink.
///
/// Nothing happens before the first poll. Concurrent dispatches through one handle share a call to the sink.
///
/// # Errors
/// The sink's error, as a system error.
///
/// # Cancel safety
/// A dropped future may or may not have dispatched the transaction.
///
/// ```
/// use std::sync::Arc;
///
/// use ergon::connector::memory::{Memory, MemoryQueue};
/// use ergon::connector::{Context, Output};
/// use ergon::prelude::*;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let queue = MemoryQueue::named("docs-of-dispatch");
/// let output = Output::new(Arc::new(Memory::new(queue.clone())), &Context::new("ship-orders", "output"));
/// let (first, second) = (Transaction::new("a", &1)?, Transaction::new("b", &2)?);
/// futures_util::try_join!(output.dispatch(first), output.dispatch(second))?;
/// assert_eq!(queue.inspect().waiting, 2);
/// # Ok::<(), TransactionError>(()) }).unwrap();
/// ```
#[must_use = "a dispatch does nothing unless it is awaited"]
pub struct Dispatch<'a> {
    output: &'a Output,
    state: State<'a>,
}

enum State<'a> {
    New {
        transaction: Transaction,
        may_buffer: bool,
    },
    /// In the buffer of the sink, or refused by it.
    Buffered(Sending, Option<ConnectorError>),
    /// In a separate call to the sink.
    Alone(Sending, BoxFuture<'a, Result<(), ConnectorError>>),
    /// In a call together with other dispatches.
    Batched(Sending, Added<TransactionError>),
    Over,
}

impl<'a> Dispatch<'a> {
    pub(super) fn new(output: &'a Output, transaction: Transaction) -> Self {
        Self { output, state: State::New { transaction, may_buffer: true } }
    }

    pub(super) fn past_buffer(output: &'a Output, transaction: Transaction) -> Self {
        Self { output, state: State::New { transaction, may_buffer: false } }
    }
}

impl Future for Dispatch<'_> {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let mut state = replace(&mut self.state, State::Over);
        if let State::New { transaction, may_buffer } = state {
            state = begin(self.output, transaction, may_buffer);
        }
        let polled = match &mut state {
            State::Buffered(_, refused) => {
                Poll::Ready(refused.take().map_or(Ok(()), |error| Err(error.into())))
            }
            State::Alone(_, call) => call.as_mut().poll(context).map_err(Into::into),
            State::Batched(_, outcome) => Pin::new(outcome).poll(context),
            // The future was polled after its end.
            State::New { .. } | State::Over => Poll::Pending,
        };
        match (&polled, state) {
            (Poll::Pending, state) => self.state = state,
            (
                Poll::Ready(sent),
                State::Buffered(sending, _) | State::Alone(sending, _) | State::Batched(sending, _),
            ) => {
                sending.end(sent.as_ref().err());
            }
            (Poll::Ready(_), State::New { .. } | State::Over) => {}
        }
        polled
    }
}

/// Starts the dispatch at its first poll. The trace context is added here, so that the attempt that awaits the dispatch
/// is the parent of its span.
fn begin(output: &Output, mut transaction: Transaction, may_buffer: bool) -> State<'_> {
    let sending = Sending::begin(output.kind(), std::slice::from_mut(&mut transaction));
    if may_buffer && let Some(pushed) = output.push(std::slice::from_ref(&transaction)) {
        return State::Buffered(sending, pushed.err());
    }
    match output.batcher() {
        Some(batcher) => State::Batched(sending, batcher.add(transaction)),
        None => State::Alone(sending, output.sink().dispatch(vec![transaction])),
    }
}

impl fmt::Debug for Dispatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dispatch({})", self.output)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::connector::{Connector, Context as Slot, Sink};

    /// Counts the transactions that it accepts.
    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Connector for Counting {
        const KIND: &'static str = "counting";
    }

    impl Sink for Counting {
        async fn dispatch(&self, transactions: Vec<Transaction>) -> Result<(), ConnectorError> {
            self.0.fetch_add(transactions.len(), Ordering::Relaxed);
            Err(ConnectorError::transient("full"))
        }
    }

    #[tokio::test]
    async fn a_dispatch_begins_when_it_is_polled_and_ends_as_the_sink_says() {
        for most in [1, 2] {
            let sink = Arc::new(Counting::default());
            let output = Output::new(Arc::clone(&sink), &Slot::new("task", "output")).batching(most);
            let transaction = Transaction::new("a", &1).unwrap();
            drop(output.dispatch(transaction.clone()));
            assert_eq!(sink.0.load(Ordering::Relaxed), 0);
            let error = output.dispatch(transaction).await.unwrap_err();
            assert_eq!((error.message(), sink.0.load(Ordering::Relaxed)), ("full", 1));
        }
    }
}
