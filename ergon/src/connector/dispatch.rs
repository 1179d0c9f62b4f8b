//! The dispatch of one transaction.

use std::fmt;
use std::mem::replace;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::kit::Added;
use super::{ConnectorError, Output};
use crate::telemetry::traces::Sending;
use crate::transaction::{Result, Transaction, TransactionError};
use futures_util::future::BoxFuture;

/// The one thing that [`Output::dispatch`] takes: a transaction.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a transaction, so it cannot be dispatched",
    label = "`dispatch` takes one `Transaction`",
    note = "a value becomes one by `transaction.derive(&value)?`, a transaction is passed on by `transaction.forward()`, many go in one call by `dispatch_transactions(vec![…])`"
)]
pub trait IntoTransaction {
    /// The transaction.
    fn into_transaction(self) -> Transaction;
}

impl IntoTransaction for Transaction {
    fn into_transaction(self) -> Transaction {
        self
    }
}

/// The future of [`Output::dispatch`]: it ends when the other side has the transaction for good, or when the transaction
/// is in the sink's [buffer](super::SinkBuffer).
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
    /// In the sink's buffer, or refused by it.
    Buffered(Sending, Option<ConnectorError>),
    /// In a call of its own.
    Alone(Sending, BoxFuture<'a, Result<(), ConnectorError>>),
    /// In a call with others.
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
            // Polled after its end.
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

    /// Counts what it takes.
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
