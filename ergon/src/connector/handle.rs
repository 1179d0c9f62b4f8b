//! What a task holds of a connector: cheap handles that hide the transport.

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

/// A connector of any kind; the part of every connector that the runner drives.
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

/// Each transaction that failed gets the error of the whole call.
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

/// The slot a handle is wired to, for messages: `input (excel)`.
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

/// A handle to a source; cloning it is cheap.
#[derive(Clone)]
pub struct Input {
    source: Arc<dyn AnySource>,
    returned: Arc<Returned>,
    label: Label,
}

impl Input {
    /// Wraps a source, for the slot that `context` names.
    pub fn new<S: Source>(source: Arc<S>, context: &Context) -> Self {
        Self { source, returned: Arc::default(), label: Label::new::<S>(context) }
    }

    /// Fetches deliveries; one that is dropped is given back to the source when this handle settles next.
    ///
    /// # Errors
    /// The source's own error.
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

    /// Fetches deliveries whose receipts do not come back by themselves; what is dropped must be passed to
    /// [`give_back`](Self::give_back). Spares the engine a count on every receipt.
    pub(crate) fn fetch_held<'a>(
        &'a self,
        request: &'a FetchRequest,
    ) -> BoxFuture<'a, Result<Vec<Delivery>, ConnectorError>> {
        self.source.fetch(request)
    }

    /// Gives a delivery back to the source, when this handle settles next.
    pub(crate) fn give_back(&self, mut receipt: Receipt) {
        receipt.returns_to(&self.returned);
    }

    /// Fetches at most `max` deliveries that are there now.
    ///
    /// # Errors
    /// The source's own error, as a system error.
    pub async fn fetch_transactions(&self, max: usize) -> Result<Vec<Delivery>> {
        Ok(self.fetch(&FetchRequest::new(max)).await?)
    }

    /// Tells the source what became of deliveries, and gives back those that were dropped.
    ///
    /// # Errors
    /// The source's own error; the indices of a partial one count `settlements`.
    pub async fn settle(&self, mut settlements: Vec<Settlement>) -> Result<(), ConnectorError> {
        let dropped = self.returned.take();
        settlements.extend(dropped.into_iter().map(requeued));
        if settlements.is_empty() { Ok(()) } else { self.source.settle(settlements).await }
    }

    /// Says whether a delivery is still this program's to settle; see [`Source::holds`].
    pub fn holds(&self, delivery: &Delivery) -> bool {
        self.holds_receipt(delivery.receipt())
    }

    pub(crate) fn holds_receipt(&self, receipt: &Receipt) -> bool {
        !Lease::of(receipt).is_some_and(Lease::is_lost) && self.source.holds(receipt)
    }

    /// Tells the source how many deliveries wait for their dead letter to be taken; see [`Source::postponed`]. A panic
    /// of it changes nothing.
    pub(crate) fn postponed(&self, count: usize) {
        let _ = panic::guard(|| self.source.postponed(count));
    }

    /// How many transactions are pending; `None` if the source does not know.
    ///
    /// # Errors
    /// The source's own error, as a system error.
    pub async fn count(&self) -> Result<Option<u64>> {
        Ok(self.source.pending().await.transpose()?)
    }

    /// How many transactions are pending; the same as [`count`](Self::count).
    ///
    /// # Errors
    /// The source's own error, as a system error.
    pub async fn get_transactions_count(&self) -> Result<Option<u64>> {
        self.count().await
    }

    /// Fetches the transaction with this id, if there is one; `None` if the source cannot look one up.
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

    /// The places it fetches from; see [`Source::reads_from`].
    pub fn reads_from(&self) -> Vec<Endpoint> {
        self.source.reads_from()
    }

    /// How the source is right now.
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

/// A handle to a sink; cloning it is cheap.
#[derive(Clone)]
pub struct Output {
    sink: Arc<dyn AnySink>,
    /// Batches single transactions, if several may go in one call.
    batcher: Option<Batcher<Arc<dyn AnySink>, Transaction>>,
    label: Label,
}

impl Output {
    /// Wraps a sink, for the slot that `context` names.
    pub fn new<S: Sink>(sink: Arc<S>, context: &Context) -> Self {
        Self { sink, batcher: None, label: Label::new::<S>(context) }
    }

    /// Batches single transactions that are dispatched at the same time: at most `most` in one call to the sink.
    pub(crate) fn batching(mut self, most: usize) -> Self {
        self.batcher = (most > 1).then(|| Batcher::new(Arc::clone(&self.sink), most));
        self
    }

    /// Hands one transaction over; returns when the other side has it for good.
    ///
    /// Within the steps of a task, a sink with a [buffer](SinkBuffer), such as a file, takes the transaction into its buffer.
    /// The engine flushes the buffer before it acknowledges the delivery.
    ///
    /// # Errors
    /// The sink's own error, as a system error.
    ///
    /// # Cancel safety
    /// When cancelled, the transaction may have been handed over or not.
    pub fn dispatch(&self, transaction: impl IntoTransaction) -> Dispatch<'_> {
        Dispatch::new(self, transaction.into_transaction())
    }

    /// Hands one transaction over, past the buffer that the sink may have.
    pub(crate) fn dispatch_past_buffer(&self, transaction: Transaction) -> Dispatch<'_> {
        Dispatch::past_buffer(self, transaction)
    }

    /// Hands many transactions over in one call; returns when the other side has all of them for good.
    ///
    /// # Errors
    /// The sink's own error, as a system error. Some of them may have been handed over:
    /// [`downcast_ref::<ConnectorError>`](crate::TransactionError::downcast_ref) and
    /// [`fate`](ConnectorError::outcome) tell which.
    ///
    /// # Cancel safety
    /// When cancelled, any of them may have been handed over or not.
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

    /// Hands one transaction over from blocking code: the steps of a blocking task.
    ///
    /// # Errors
    /// The sink's own error, as a system error.
    ///
    /// # Panics
    /// When called from async code, or outside of a runtime.
    pub fn blocking_dispatch(&self, transaction: impl IntoTransaction) -> Result<()> {
        Handle::current().block_on(self.dispatch(transaction))
    }

    /// Hands many transactions over in one call from blocking code.
    ///
    /// # Errors
    /// As of [`dispatch_transactions`](Self::dispatch_transactions).
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

    /// The places it dispatches to; see [`Sink::writes_to`].
    pub fn writes_to(&self) -> Vec<Endpoint> {
        self.sink.writes_to()
    }

    /// How the sink is right now.
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

/// A handle to a connector that is both source and sink; cloning it is cheap.
#[derive(Debug, Clone)]
pub struct Duplex {
    input: Input,
    output: Output,
}

impl Duplex {
    /// Wraps a connector, for the slot that `context` names.
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
