//! The scripted connector: what it hands out, what goes wrong with it, and what became of it, all said by the test.

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

/// A connector that does what the test says: source, sink or both, and its own config.
///
/// As a source it hands out what was [pushed](Self::push), remembers what became of each, and hands out again what
/// comes back, counted once more. As a sink it keeps what was [dispatched](Self::dispatched); that is not handed out.
/// The n-th call of a kind can be told to [fail, hang or get lost](Fault). Clones are one and the same script, so the
/// test keeps one and wires another.
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
/// assert_eq!((report.tally.succeeded, report.tally.refused, report.tally.retries), (1, 1, 1));
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
    /// Tells fetches that wait for data that there is some.
    arrived: Notify,
}

impl Script {
    /// Starts with nothing to hand out, and nothing that goes wrong.
    ///
    /// ```
    /// assert!(ergon::testing::Script::new().waiting().is_empty());
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a transaction at the end of what is handed out; at any time, also while a task runs.
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

    /// Puts a transaction with this id and `value`, as JSON, for its payload at the end.
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

    /// Puts transactions at the end, in order.
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

    /// Says what goes wrong with the `n`-th fetch, counted from 1 over all workers and attempts.
    ///
    /// # Panics
    /// If that fetch was made already, or `n` is 0.
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

    /// Says what goes wrong with the `n`-th settle, counted from 1. One settle may tell of many deliveries: give the
    /// task `concurrency = 1` and `batch_size = 1`, or a single transaction, where that matters.
    ///
    /// What does not arrive is handed out again, as by a source whose link died, unless the settle hangs. A finite run
    /// may have found the source empty by then, and end: a streaming one fetches it again, or the next run.
    ///
    /// # Panics
    /// If that settle was made already, or `n` is 0.
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

    /// Says what goes wrong with the `n`-th dispatch, counted from 1 over all workers and attempts.
    ///
    /// # Panics
    /// If that dispatch was made already, or `n` is 0.
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

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
