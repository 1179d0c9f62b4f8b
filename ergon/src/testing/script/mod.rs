//! The scripted connector: a source and sink in memory whose deliveries and faults a test decides.

mod connector;
mod fault;
mod look;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::Notify;

use crate::transaction::Transaction;

pub use fault::Fault;
use state::State;

/// A connector that does what the test says. It is a source, a sink, and its own config.
///
/// As a source it delivers the [pushed](Self::push) transactions, records their dispositions, and delivers a returned
/// transaction again with one more delivery. As a sink it keeps the [dispatched](Self::dispatched) transactions, which
/// it never delivers. A test can make the n-th call of a kind [fail, hang or get lost](Fault). Clones share one script,
/// so the test keeps one clone and wires another.
///
/// ```
/// use ergon::connector::ConnectorError;
/// use ergon::prelude::*;
/// use ergon::testing::{self, Fault, Script};
///
/// #[ergon::task(connectors(input, output), consumer(fetch(max_attempts = 2), success(max_attempts = 2)))]
/// struct Double;
///
/// impl Consumer for Double {
///     type Payload = u32;
///     type Output = u32;
///
///     async fn process_transaction(&self, number: &Transaction<u32>) -> Result<u32> {
///         number.payload().checked_mul(2).ok_or_else(|| TransactionError::business("too large"))
///     }
///
///     async fn handle_process_success(&self, number: &Transaction<u32>, double: &u32) -> Result<()> {
///         self.output_connector.dispatch(number.derive(double)?).await
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let (input, output) = (Script::new(), Script::new());
/// input.push_json("a", &21);
/// input.push_json("b", &u32::MAX);
/// input.on_fetch(1, Fault::Fails(ConnectorError::transient("the link is down")));
/// output.on_dispatch(1, Fault::Lost);
///
/// let wiring = DoubleWiring { input: input.clone(), output: output.clone() };
/// let report = testing::run(Double::config(wiring)).await?;
///
/// assert_eq!((report.tally.succeeded, report.tally.rejected, report.tally.retries), (1, 1, 1));
/// assert_eq!((input.acked(), input.rejected()), (vec!["a".to_owned()], vec!["b".to_owned()]));
/// assert_eq!(output.dispatched_as::<u32>(), [42]);
/// assert_eq!((output.dispatches(), output.faults_left()), (2, 0));
/// # Ok::<(), ergon::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Default)]
pub struct Script {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Wakes fetches that wait for data.
    arrived: Notify,
}

impl Script {
    /// Makes a script without transactions and faults.
    ///
    /// ```
    /// assert!(ergon::testing::Script::new().waiting().is_empty());
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a transaction to the queue, before a run or during it.
    ///
    /// ```
    /// use ergon::testing::Script;
    /// use ergon::transaction::Payload;
    /// use ergon::Transaction;
    ///
    /// let input = Script::new();
    /// input.push(Transaction::builder().id("line-1").payload(Payload::text("no JSON")).build());
    /// assert_eq!(input.waiting(), ["line-1"]);
    /// ```
    pub fn push(&self, transaction: Transaction) {
        self.extend([transaction]);
    }

    /// Appends a transaction with this id and `value`, as JSON, as its payload.
    ///
    /// # Panics
    /// If `value` cannot be serialized as JSON.
    ///
    /// ```
    /// let input = ergon::testing::Script::new();
    /// input.push_json("order-1", &serde_json::json!({"sku": "A-1", "quantity": 2}));
    /// assert_eq!(input.waiting(), ["order-1"]);
    /// ```
    #[track_caller]
    #[expect(clippy::panic, reason = "a test fails by panicking")]
    pub fn push_json<T: Serialize + ?Sized>(&self, id: &str, value: &T) {
        match Transaction::new(id, value) {
            Ok(transaction) => self.push(transaction),
            Err(error) => panic!("the payload of `{id}` is no JSON: {error}"),
        }
    }

    /// Appends transactions to the queue, in order.
    ///
    /// ```
    /// use ergon::Transaction;
    ///
    /// let input = ergon::testing::Script::new();
    /// input.extend([Transaction::new("a", &1)?, Transaction::new("b", &2)?]);
    /// assert_eq!(input.waiting(), ["a", "b"]);
    /// # Ok::<(), ergon::TransactionError>(())
    /// ```
    pub fn extend(&self, transactions: impl IntoIterator<Item = Transaction>) {
        self.state().push(transactions);
        self.shared.arrived.notify_waiters();
    }

    /// Plans a fault of the `n`-th fetch, counted from 1 over all workers and attempts.
    ///
    /// # Panics
    /// If that fetch has already been made, or `n` is 0.
    ///
    /// ```
    /// use ergon::connector::{ConnectorError, FetchRequest};
    /// use ergon::prelude::*;
    /// use ergon::testing::{Fault, Script};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let input = Script::new();
    /// input.push_json("a", &1);
    /// input.on_fetch(2, Fault::Fails(ConnectorError::transient("the link is down")));
    /// assert_eq!(input.fetch(&FetchRequest::new(1)).await?.len(), 1);
    /// assert_eq!(input.fetch(&FetchRequest::new(1)).await.unwrap_err().message(), "the link is down");
    /// # Ok::<(), ConnectorError>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn on_fetch(&self, n: usize, fault: Fault) {
        self.state().fetches.plan("fetch", n, fault);
    }

    /// Plans a fault of the `n`-th settle, counted from 1. One settle may settle many deliveries. Give the task
    /// `concurrency = 1` and `batch_size = 1`, or a single transaction, if that matters.
    ///
    /// A delivery whose settlement does not arrive is delivered again, as by a source whose connection broke, unless
    /// the settle hangs. A finite run may already have found the source empty and end. A streaming run or the next run
    /// fetches it again.
    ///
    /// # Panics
    /// If that settle has already been made, or `n` is 0.
    ///
    /// ```
    /// use ergon::connector::{ConnectorError, FetchRequest};
    /// use ergon::prelude::*;
    /// use ergon::testing::{Fault, Script};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let input = Script::new();
    /// input.push_json("a", &1);
    /// input.on_settle(1, Fault::Lost);
    /// let first = input.fetch(&FetchRequest::new(1)).await?.remove(0);
    /// input.settle(vec![first.settle(Disposition::Ack)]).await.unwrap_err();
    /// let second = input.fetch(&FetchRequest::new(1)).await?.remove(0);
    /// assert_eq!((second.transaction().id(), second.transaction().deliveries()), ("a", 2));
    /// # Ok::<(), ConnectorError>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn on_settle(&self, n: usize, fault: Fault) {
        self.state().settles.plan("settle", n, fault);
    }

    /// Plans a fault of the `n`-th dispatch, counted from 1 over all workers and attempts.
    ///
    /// # Panics
    /// If that dispatch has already been made, or `n` is 0.
    ///
    /// ```
    /// use ergon::connector::ConnectorError;
    /// use ergon::prelude::*;
    /// use ergon::testing::{Fault, Script};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let output = Script::new();
    /// // Of two transactions in one call, the second is not taken.
    /// let full = ConnectorError::partial(vec![(1, ConnectorError::transient("the disk is full"))]);
    /// output.on_dispatch(1, Fault::Fails(full));
    /// let both = vec![Transaction::new("a", &1)?, Transaction::new("b", &2)?];
    /// output.dispatch(both).await.unwrap_err();
    /// assert_eq!(output.dispatched_as::<u32>(), [1]);
    /// # Ok::<(), TransactionError>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn on_dispatch(&self, n: usize, fault: Fault) {
        self.state().dispatches.plan("dispatch", n, fault);
    }

    /// Locks the state. A poisoned lock is used too: each change of the state is complete, and the test has failed
    /// already.
    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
