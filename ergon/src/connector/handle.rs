//! The handles that a task holds: cheap to clone, and independent of the transport.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;

use super::buffer::{self, Buffers, MayBuffer};
use super::dispatch::{Dispatch, IntoTransaction};
use super::kit::{Batcher, Call, CallError, Lease};
use super::receipt::Returned;
use super::{
    Capabilities, Connector, ConnectorError, Context, Delivery, Disposition, Endpoint, FetchRequest, Health,
    ItemOutcome, Receipt, Settlement, Sink, SinkBuffer, Source,
};
use crate::telemetry::traces::Sending;
use crate::transaction::{Result, Transaction, TransactionError, panic};

/// The methods of every connector that the runner drives, for connectors of any type.
pub(crate) trait AnyConnector: Send + Sync {
    fn kind(&self) -> &'static str;
    fn open(&self) -> BoxFuture<'_, Result<(), ConnectorError>>;
    fn start(&self) -> BoxFuture<'_, Result<(), ConnectorError>>;
    fn close(&self) -> BoxFuture<'_, Result<(), ConnectorError>>;
    fn close_timeout(&self) -> Duration;
    fn check(&self) -> BoxFuture<'_, Result<(), ConnectorError>>;
    fn offers(&self) -> Capabilities<'_>;
    fn health(&self) -> Health;
    fn pending(&self) -> BoxFuture<'_, Option<Result<u64, ConnectorError>>>;
    fn find<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Option<Result<Option<Delivery>, ConnectorError>>>;
}

impl<C: Connector> AnyConnector for C {
    fn kind(&self) -> &'static str {
        C::KIND
    }

    fn open(&self) -> BoxFuture<'_, Result<(), ConnectorError>> {
        Box::pin(Connector::open(self))
    }

    fn start(&self) -> BoxFuture<'_, Result<(), ConnectorError>> {
        Box::pin(Connector::start(self))
    }

    fn close(&self) -> BoxFuture<'_, Result<(), ConnectorError>> {
        Box::pin(Connector::close(self))
    }

    fn close_timeout(&self) -> Duration {
        Connector::close_timeout(self)
    }

    fn check(&self) -> BoxFuture<'_, Result<(), ConnectorError>> {
        Box::pin(Connector::check(self))
    }

    fn offers(&self) -> Capabilities<'_> {
        Connector::capabilities(self)
    }

    fn health(&self) -> Health {
        Connector::health(self)
    }

    fn pending(&self) -> BoxFuture<'_, Option<Result<u64, ConnectorError>>> {
        Box::pin(self.capabilities().pending())
    }

    fn find<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Option<Result<Option<Delivery>, ConnectorError>>> {
        Box::pin(self.capabilities().find(id))
    }
}

trait AnySource: AnyConnector {
    fn fetch<'a>(&'a self, request: &'a FetchRequest)
    -> BoxFuture<'a, Result<Vec<Delivery>, ConnectorError>>;
    fn settle(&self, settlements: Vec<Settlement>) -> BoxFuture<'_, Result<(), ConnectorError>>;
    fn holds(&self, receipt: &Receipt) -> bool;
    fn postponed(&self, count: usize);
    fn reads_from(&self) -> Vec<Endpoint>;
}

impl<C: Source> AnySource for C {
    fn fetch<'a>(
        &'a self,
        request: &'a FetchRequest,
    ) -> BoxFuture<'a, Result<Vec<Delivery>, ConnectorError>> {
        Box::pin(Source::fetch(self, request))
    }

    fn settle(&self, settlements: Vec<Settlement>) -> BoxFuture<'_, Result<(), ConnectorError>> {
        Box::pin(Source::settle(self, settlements))
    }

    fn holds(&self, receipt: &Receipt) -> bool {
        Source::holds(self, receipt)
    }

    fn postponed(&self, count: usize) {
        Source::postponed(self, count);
    }

    fn reads_from(&self) -> Vec<Endpoint> {
        Source::reads_from(self)
    }
}

pub(super) trait AnySink: AnyConnector + MayBuffer {
    fn dispatch(&self, transactions: Vec<Transaction>) -> BoxFuture<'_, Result<(), ConnectorError>>;
    fn writes_to(&self) -> Vec<Endpoint>;
}

impl<C: Sink> MayBuffer for C {
    fn buffer(&self) -> Option<&dyn SinkBuffer> {
        Sink::buffer(self)
    }
}

impl<C: Sink> AnySink for C {
    fn dispatch(&self, transactions: Vec<Transaction>) -> BoxFuture<'_, Result<(), ConnectorError>> {
        Box::pin(Sink::dispatch(self, transactions))
    }

    fn writes_to(&self) -> Vec<Endpoint> {
        Sink::writes_to(self)
    }
}

impl Call<Transaction> for Arc<dyn AnySink> {
    type Error = TransactionError;

    async fn call(&self, transactions: Vec<Transaction>) -> Result<()> {
        Ok(self.dispatch(transactions).await?)
    }
}

/// Gives each failed transaction of a call the error of the whole call.
impl CallError for TransactionError {
    fn of_item(&self, index: usize) -> Option<Self> {
        let partial = self.downcast_ref::<ConnectorError>();
        let is_done = partial.is_some_and(|error| error.outcome(index) == ItemOutcome::Done);
        (!is_done).then(|| self.clone())
    }

    fn panicked() -> Self {
        Self::system("the dispatch panicked")
    }
}

/// The slot that a handle is wired to, for messages: `input (excel)`.
#[derive(Clone)]
struct Label {
    slot: Arc<str>,
    kind: &'static str,
}

impl Label {
    fn new<C: Connector>(context: &Context) -> Self {
        Self { slot: context.slot.as_str().into(), kind: C::KIND }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.slot, self.kind)
    }
}

/// A handle to a source. Clones are cheap.
///
/// ```
/// use std::sync::Arc;
///
/// use ergon::connector::memory::{Memory, MemoryQueue};
/// use ergon::connector::{Context, Input};
/// use ergon::prelude::*;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let queue = MemoryQueue::named("docs-of-input");
/// queue.push(Transaction::new("order-1", &7)?);
/// let input = Input::new(Arc::new(Memory::new(queue)), &Context::new("ship-orders", "input"));
///
/// for delivery in input.fetch_transactions(10).await? {
///     assert_eq!(delivery.transaction().decode::<u32>()?, 7);
///     input.settle(vec![delivery.settle(Disposition::Ack)]).await?;
/// }
/// assert_eq!(input.count().await?, Some(0));
/// # Ok::<(), TransactionError>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Input {
    source: Arc<dyn AnySource>,
    returned: Arc<Returned>,
    label: Label,
}

impl Input {
    /// Makes the handle of a source, for the slot that `context` names.
    pub fn new<S: Source>(source: Arc<S>, context: &Context) -> Self {
        Self { source, returned: Arc::default(), label: Label::new::<S>(context) }
    }

    /// Fetches deliveries. A delivery that is dropped returns to the source with the next settle through this handle.
    ///
    /// # Errors
    /// The source's error.
    ///
    /// # Cancel safety
    /// Cancel safe, as every [`Source::fetch`].
    pub async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        let mut deliveries = self.source.fetch(request).await?;
        for delivery in &mut deliveries {
            delivery.receipt_mut().returns_to(&self.returned);
        }
        Ok(deliveries)
    }

    /// Fetches deliveries whose receipts do not return by themselves. Pass every unused receipt to
    /// [`give_back`](Self::give_back). This saves the engine a reference count on every receipt.
    pub(crate) fn fetch_held<'a>(
        &'a self,
        request: &'a FetchRequest,
    ) -> BoxFuture<'a, Result<Vec<Delivery>, ConnectorError>> {
        self.source.fetch(request)
    }

    /// Requeues a delivery with the next settle through this handle.
    pub(crate) fn give_back(&self, mut receipt: Receipt) {
        receipt.returns_to(&self.returned);
    }

    /// Fetches at most `max` deliveries, without waiting for data.
    ///
    /// # Errors
    /// The source's own error, as a system error.
    pub async fn fetch_transactions(&self, max: usize) -> Result<Vec<Delivery>> {
        Ok(self.fetch(&FetchRequest::new(max)).await?)
    }

    /// Settles deliveries, and requeues those that were dropped.
    ///
    /// # Errors
    /// The source's error. The indices of a partial error refer to `settlements`.
    pub async fn settle(&self, mut settlements: Vec<Settlement>) -> Result<(), ConnectorError> {
        let dropped = self.returned.take();
        settlements.extend(dropped.into_iter().map(requeued));
        if settlements.is_empty() { Ok(()) } else { self.source.settle(settlements).await }
    }

    /// Whether this program still owns the delivery: see [`Source::holds`].
    pub fn holds(&self, delivery: &Delivery) -> bool {
        self.holds_receipt(delivery.receipt())
    }

    pub(crate) fn holds_receipt(&self, receipt: &Receipt) -> bool {
        !Lease::of(receipt).is_some_and(Lease::is_lost) && self.source.holds(receipt)
    }

    /// Reports to the source how many deliveries wait for their dead letter: see [`Source::postponed`]. A panic of the
    /// source is ignored, because the count is only a hint.
    pub(crate) fn postponed(&self, count: usize) {
        let _ = panic::guard(|| self.source.postponed(count));
    }

    /// The number of waiting transactions. `None` if the source cannot count.
    ///
    /// # Errors
    /// The source's own error, as a system error.
    pub async fn count(&self) -> Result<Option<u64>> {
        Ok(self.source.pending().await.transpose()?)
    }

    /// The number of waiting transactions, like [`count`](Self::count).
    ///
    /// # Errors
    /// The source's own error, as a system error.
    pub async fn get_transactions_count(&self) -> Result<Option<u64>> {
        self.count().await
    }

    /// Fetches the transaction with this id. `Some(None)` if the source does not have it, and `None` if the source
    /// cannot find transactions by id.
    ///
    /// # Errors
    /// The source's own error, as a system error.
    pub async fn fetch_by_id(&self, id: &str) -> Result<Option<Option<Delivery>>> {
        let Some(found) = self.source.find(id).await else { return Ok(None) };
        let mut delivery = found?;
        if let Some(delivery) = &mut delivery {
            delivery.receipt_mut().returns_to(&self.returned);
        }
        Ok(Some(delivery))
    }

    /// What kind of connector it is.
    pub(crate) fn kind(&self) -> &'static str {
        self.label.kind
    }

    /// The endpoints that the source fetches from: see [`Source::reads_from`].
    pub fn reads_from(&self) -> Vec<Endpoint> {
        self.source.reads_from()
    }

    /// The present health of the source.
    pub fn health(&self) -> Health {
        self.source.health()
    }
}

fn requeued(receipt: Receipt) -> Settlement {
    Settlement::new(receipt, Disposition::Requeue)
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Input({})", self.label)
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.label.fmt(f)
    }
}

/// A handle to a sink. Clones are cheap.
///
/// ```
/// use std::sync::Arc;
///
/// use ergon::connector::memory::{Memory, MemoryQueue};
/// use ergon::connector::{Context, Output};
/// use ergon::prelude::*;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let queue = MemoryQueue::named("docs-of-output");
/// let output = Output::new(Arc::new(Memory::new(queue.clone())), &Context::new("ship-orders", "output"));
/// output.dispatch(Transaction::new("parcel-1", &7)?).await?;
/// assert_eq!(queue.inspect().waiting, 1);
/// # Ok::<(), TransactionError>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Output {
    sink: Arc<dyn AnySink>,
    /// Batches concurrent dispatches, if the sink may get several transactions in one call.
    batcher: Option<Batcher<Arc<dyn AnySink>, Transaction>>,
    label: Label,
}

impl Output {
    /// Makes the handle of a sink, for the slot that `context` names.
    pub fn new<S: Sink>(sink: Arc<S>, context: &Context) -> Self {
        Self { sink, batcher: None, label: Label::new::<S>(context) }
    }

    /// Batches concurrent dispatches: at most `most` transactions in one call to the sink.
    pub(crate) fn batching(mut self, most: usize) -> Self {
        self.batcher = (most > 1).then(|| Batcher::new(Arc::clone(&self.sink), most));
        self
    }

    /// Dispatches one transaction. Returns after the external system has stored it durably.
    ///
    /// Within the steps of a task, a sink with a [buffer](SinkBuffer), such as a file, takes the transaction into its
    /// buffer. The engine flushes the buffer before it acknowledges the delivery.
    ///
    /// # Errors
    /// The sink's own error, as a system error.
    ///
    /// # Cancel safety
    /// A dropped future may or may not have dispatched the transaction.
    pub fn dispatch(&self, transaction: impl IntoTransaction) -> Dispatch<'_> {
        Dispatch::new(self, transaction.into_transaction())
    }

    /// Dispatches a transaction past the buffer that the sink may have.
    pub(crate) fn dispatch_past_buffer(&self, transaction: Transaction) -> Dispatch<'_> {
        Dispatch::past_buffer(self, transaction)
    }

    /// Dispatches many transactions in one call. Returns after the external system has stored all of them durably.
    ///
    /// # Errors
    /// The sink's error, as a system error. Some of the transactions may have been accepted:
    /// [`downcast_ref::<ConnectorError>`](crate::TransactionError::downcast_ref) and
    /// [`outcome`](ConnectorError::outcome) show which.
    ///
    /// # Cancel safety
    /// A dropped future may have dispatched any of the transactions.
    pub async fn dispatch_transactions(&self, mut transactions: Vec<Transaction>) -> Result<()> {
        let sending = Sending::begin(self.label.kind, &mut transactions);
        let sent = match self.push(&transactions) {
            Some(pushed) => pushed,
            None => self.sink.dispatch(transactions).await,
        };
        let sent = sent.map_err(TransactionError::from);
        sending.end(sent.as_ref().err());
        sent
    }

    /// Dispatches one transaction from blocking code, such as a step of a blocking task.
    ///
    /// # Errors
    /// The sink's own error, as a system error.
    ///
    /// # Panics
    /// When called from async code, or outside of a runtime.
    pub fn blocking_dispatch(&self, transaction: impl IntoTransaction) -> Result<()> {
        Handle::current().block_on(self.dispatch(transaction))
    }

    /// Dispatches many transactions in one call from blocking code.
    ///
    /// # Errors
    /// The errors of [`dispatch_transactions`](Self::dispatch_transactions).
    ///
    /// # Panics
    /// When called from async code, or outside of a runtime.
    pub fn blocking_dispatch_transactions(&self, transactions: Vec<Transaction>) -> Result<()> {
        Handle::current().block_on(self.dispatch_transactions(transactions))
    }

    /// What kind of connector it is.
    pub(crate) fn kind(&self) -> &'static str {
        self.label.kind
    }

    /// Pushes transactions into the sink's buffer; `None` if there is none, or no run flushes it.
    pub(super) fn push(&self, transactions: &[Transaction]) -> Option<Result<(), ConnectorError>> {
        buffer::push(&*self.sink, transactions)
    }

    /// The buffers of these outputs, if there are any.
    pub(crate) fn buffers<'a>(outputs: impl Iterator<Item = &'a Self>) -> Option<Buffers> {
        Buffers::of(outputs.map(|output| Arc::clone(&output.sink) as Arc<dyn MayBuffer>))
    }

    pub(super) fn sink(&self) -> &dyn AnySink {
        &*self.sink
    }

    pub(super) fn batcher(&self) -> Option<&Batcher<Arc<dyn AnySink>, Transaction>> {
        self.batcher.as_ref()
    }

    /// The endpoints that the sink dispatches to: see [`Sink::writes_to`].
    pub fn writes_to(&self) -> Vec<Endpoint> {
        self.sink.writes_to()
    }

    /// The present health of the sink.
    pub fn health(&self) -> Health {
        self.sink.health()
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Output({})", self.label)
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.label.fmt(f)
    }
}

/// A handle to a connector that is both a source and a sink. Clones are cheap.
///
/// ```
/// use std::sync::Arc;
///
/// use ergon::connector::memory::{Memory, MemoryQueue};
/// use ergon::connector::{Context, Duplex};
/// use ergon::prelude::*;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let memory = Memory::new(MemoryQueue::named("docs-of-duplex"));
/// let orders = Duplex::new(Arc::new(memory), &Context::new("ship-orders", "orders"));
/// orders.output().dispatch(Transaction::new("order-1", &7)?).await?;
/// assert_eq!(orders.input().fetch_transactions(10).await?.len(), 1);
/// # Ok::<(), TransactionError>(()) }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct Duplex {
    input: Input,
    output: Output,
}

impl Duplex {
    /// Makes the handle of a connector, for the slot that `context` names.
    pub fn new<C: Source + Sink>(connector: Arc<C>, context: &Context) -> Self {
        Self { input: Input::new(Arc::clone(&connector), context), output: Output::new(connector, context) }
    }

    pub(crate) fn batching(mut self, most: usize) -> Self {
        self.output = self.output.batching(most);
        self
    }

    /// The connector as a source.
    pub fn input(&self) -> &Input {
        &self.input
    }

    /// The connector as a sink.
    pub fn output(&self) -> &Output {
        &self.output
    }
}
