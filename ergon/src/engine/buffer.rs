//! The buffer of a producer: makes a source of a stream, which is pulled only as fast as slots become free.
//!
//! A stream takes nothing back. The buffer keeps the transactions that the stream has made and no fetch has taken, and
//! those that were given back. So a cancelled fetch loses neither.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use futures_util::{FutureExt, Stream, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::attempt::guarded;
use super::run_context::STREAM;
use crate::connector::{
    Connector, ConnectorError, Context, Delivery, Disposition, FetchRequest, Input, Receipt, Settlement,
    Shard, Source,
};
use crate::telemetry::event::{LeftUnproduced, MadeByAll};
use crate::transaction::{Decode, Result, Transaction, TransactionError, panic};

/// The transactions that a producer's stream has made, as the loop sees them.
pub(super) trait Pulled: fmt::Debug + Send + Sync {
    /// Pulls nothing more. A fetch that waits for the stream is answered as soon as the stream is polled again.
    fn stop(&self);

    /// Ends the buffer. Returns how many transactions were pulled and not produced, and logs their ids.
    fn close(&self, task: &'static str) -> u64;
}

/// A transaction that a stream has made, without its type.
trait Made: Send + Sync {
    /// The transaction as any connector sees it.
    fn forward(&self) -> Transaction;

    fn id(&self) -> &str;

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

impl<P: Send + Sync + 'static> Made for Transaction<P> {
    fn forward(&self) -> Transaction {
        self.forward()
    }

    fn id(&self) -> &str {
        self.id()
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

type AnyMade = Arc<dyn Made>;

/// Pulls the stream when a fetch asks for transactions.
pub(super) struct Pump {
    asked: mpsc::Receiver<Request>,
    buffer: Arc<Buffer>,
    task: &'static str,
}

/// Asks for at most this many transactions. The transactions that the stream has ready are put into the buffer: at
/// least one, unless the stream has ended.
struct Request {
    most: usize,
    answer: oneshot::Sender<()>,
}

/// The transactions that were pulled and not fetched yet, and those that were given back.
struct Buffer {
    stock: Mutex<Stock>,
    /// The error after which the stream is not pulled any more.
    failed: OnceLock<TransactionError>,
    /// Cancelled when the stream is not to be pulled any more.
    stopped: CancellationToken,
}

/// The transactions that a stream has made.
struct Stock {
    /// Transactions to be fetched, each with the number of its delivery.
    ready: VecDeque<(AnyMade, u32)>,
    /// Transactions that were given back after a stop, and are not tried again.
    left: Vec<AnyMade>,
    /// The number of transactions that were pulled and are neither acknowledged nor rejected.
    unsettled: u64,
    /// Whether the run is over. A transaction that is pulled later is not produced.
    closed: bool,
}

/// A stream as a source. Transactions that are given back are delivered again. Transactions that are acknowledged or
/// rejected are dropped.
struct StreamSource {
    requests: mpsc::Sender<Request>,
    buffer: Arc<Buffer>,
}

/// Makes a source of a stream, and the pump that pulls it.
pub(super) fn stream_source(task: &'static str) -> (Input, Arc<dyn Pulled>, Pump) {
    // One fetch is under way at a time, and a cancelled one may have left its request.
    let (requests, asked) = mpsc::channel(1);
    let stock = Stock { ready: VecDeque::new(), left: Vec::new(), unsettled: 0, closed: false };
    let (stock, failed, stopped) = (Mutex::new(stock), OnceLock::new(), CancellationToken::new());
    let buffer = Arc::new(Buffer { stock, failed, stopped });
    let source = StreamSource { requests, buffer: Arc::clone(&buffer) };
    let input = Input::new(Arc::new(source), &Context::new(task, "transactions"));
    (input, Arc::<Buffer>::clone(&buffer), Pump { asked, buffer, task })
}

/// The transaction as the task's stream made it. A transaction that did not come from the stream is decoded.
pub(super) fn typed<P: Decode>(
    transaction: &Transaction,
    receipt: Option<&Receipt>,
) -> Result<Arc<Transaction<P>>> {
    let made = receipt.and_then(Receipt::token::<AnyMade>).map(|made| Arc::clone(made).into_any());
    match made.and_then(|made| made.downcast().ok()) {
        Some(made) => Ok(made),
        None => Ok(Arc::new(transaction.decoded()?)),
    }
}

impl Pump {
    /// Pulls a stream until no fetch asks for more, or the stream fails.
    pub(super) async fn pull<P, S>(self, make: impl FnOnce() -> S)
    where
        P: Send + Sync + 'static,
        S: Stream<Item = Result<Transaction<P>>> + Send,
    {
        let buffer = Arc::clone(&self.buffer);
        let answering = async {
            let stream = pin!(make().map(|item| item.map(any_made)));
            self.answer(stream).await;
        };
        if let Err(error) = guarded(&mut None, answering).await {
            buffer.failed.get_or_init(|| error);
        }
    }

    async fn answer(mut self, stream: Pin<&mut (dyn Stream<Item = Result<AnyMade>> + Send)>) {
        let (mut stream, mut begins) = (stream.fuse(), Some(self.task));
        while let Some(Request { most, answer }) = self.asked.recv().await {
            // Transactions that were pulled for a cancelled fetch come first.
            if self.buffer.stock().ready.is_empty() {
                tokio::select! {
                    biased;
                    // A transaction that the stream has not yielded by now is not made.
                    () = self.buffer.stopped.cancelled() => (),
                    () = take_ready(&mut stream, most, (&self.buffer, self.task)) => (),
                }
            }
            begins.take().into_iter().for_each(warn_of_copies);
            // The receiver is gone if its fetch was cancelled. The next fetch finds the transactions.
            let _ = answer.send(());
        }
    }

    /// Pulls an iterator, on this thread.
    pub(super) fn pull_blocking<P, I>(self, items: impl FnOnce() -> I)
    where
        P: Send + Sync + 'static,
        I: Iterator<Item = Result<Transaction<P>>>,
    {
        let buffer = Arc::clone(&self.buffer);
        let answering = || self.answer_blocking(&mut items().map(|item| item.map(any_made)));
        if let Err(error) = panic::guard(answering) {
            buffer.failed.get_or_init(|| error);
        }
    }

    fn answer_blocking(mut self, items: &mut dyn Iterator<Item = Result<AnyMade>>) {
        let (mut items, mut begins) = (items.fuse(), Some(self.task));
        while let Some(Request { most, answer }) = self.asked.blocking_recv() {
            if self.buffer.stock().ready.is_empty() {
                let next = || if self.buffer.stopped.is_cancelled() { None } else { items.next() };
                self.buffer.gather(self.task, &mut std::iter::from_fn(next).take(most));
            }
            begins.take().into_iter().for_each(warn_of_copies);
            let _ = answer.send(());
        }
    }
}

fn any_made<P: Send + Sync + 'static>(transaction: Transaction<P>) -> AnyMade {
    Arc::new(transaction)
}

/// Warns if each of several workers makes all transactions. A stream that asks for its share has done so by now.
fn warn_of_copies(task: &'static str) {
    if let Some(workers) = Shard::all_do_all() {
        MadeByAll { task, workers }.emit();
    }
}

/// Waits for one transaction, and takes those that are ready with it.
async fn take_ready(
    stream: &mut (impl Stream<Item = Result<AnyMade>> + Unpin),
    most: usize,
    (buffer, task): (&Buffer, &'static str),
) {
    let Some(first) = stream.next().await else { return };
    let ready = std::iter::from_fn(|| stream.next().now_or_never().flatten());
    buffer.gather(task, &mut std::iter::once(first).chain(ready).take(most));
}

impl Buffer {
    fn stock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one transaction after the other, so that those before an error or a panic are kept; takes none after an
    /// error.
    fn gather(&self, task: &'static str, items: &mut dyn Iterator<Item = Result<AnyMade>>) {
        if self.failed.get().is_some() {
            return;
        }
        for item in items {
            match item {
                Ok(transaction) => self.put(task, transaction),
                Err(error) => return drop(self.failed.set(error)),
            }
        }
    }

    fn put(&self, task: &'static str, transaction: AnyMade) {
        let mut stock = self.stock();
        if stock.closed {
            drop(stock);
            // The iterator did not return before the end of the run.
            LeftUnproduced { task, count: 1, ids: &[transaction.id().to_owned()] }.emit();
            return;
        }
        stock.unsettled += 1;
        stock.ready.push_back((transaction, 1));
    }
}

impl Pulled for Buffer {
    fn stop(&self) {
        self.stopped.cancel();
    }

    fn close(&self, task: &'static str) -> u64 {
        self.stopped.cancel();
        let mut stock = self.stock();
        stock.closed = true;
        let count = std::mem::take(&mut stock.unsettled);
        let Stock { ready, left, .. } = &mut *stock;
        let of_ready = ready.drain(..).map(|(transaction, _)| transaction);
        let left: Vec<_> = left.drain(..).chain(of_ready).collect();
        drop(stock);
        if count > 0 {
            let ids: Vec<_> = left.iter().map(|transaction| transaction.id().to_owned()).collect();
            LeftUnproduced { task, count, ids: &ids }.emit();
        }
        // The `Drop` of a payload may panic.
        let _ = panic::guard(|| drop(left));
        count
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").finish_non_exhaustive()
    }
}

impl StreamSource {
    fn take(&self, most: usize) -> Vec<Delivery> {
        let ready = &mut self.buffer.stock().ready;
        let count = ready.len().min(most);
        ready.drain(..count).map(|(transaction, deliveries)| delivery(transaction, deliveries)).collect()
    }

    fn failed(&self) -> Option<ConnectorError> {
        let error = self.buffer.failed.get()?;
        Some(ConnectorError::permanent(error.to_string()).with_source(error.clone()))
    }
}

/// Makes a delivery that carries the transaction twice: as any connector sees it, and, in its receipt, as the task made
/// it.
fn delivery(transaction: AnyMade, deliveries: u32) -> Delivery {
    let seen = transaction.forward().with_deliveries(deliveries);
    Delivery::new(seen, Receipt::new(u64::from(deliveries)).with_token(transaction))
}

impl Connector for StreamSource {
    const KIND: &'static str = STREAM;
}

impl Source for StreamSource {
    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        let there = self.take(request.max());
        if !there.is_empty() {
            return Ok(there);
        }
        if let Some(failed) = self.failed() {
            return Err(failed);
        }
        let (answer, answered) = oneshot::channel();
        let asked = self.requests.send(Request { most: request.max(), answer }).await;
        let ended = asked.is_err() || answered.await.is_err();
        // No `.await` follows, so that no transaction is lost if the fetch is cancelled.
        let taken = self.take(request.max());
        match (taken.is_empty(), self.failed()) {
            (true, Some(failed)) => Err(failed),
            (true, None) if ended => Err(ConnectorError::permanent("nothing makes the transactions")),
            _ => Ok(taken),
        }
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), ConnectorError> {
        let stopped = self.buffer.stopped.is_cancelled();
        let mut stock = self.buffer.stock();
        let Stock { ready, left, unsettled, .. } = &mut *stock;
        for settlement in settlements {
            let receipt = settlement.receipt();
            match settlement.disposition() {
                Disposition::Ack | Disposition::Reject => *unsettled = unsettled.saturating_sub(1),
                Disposition::Requeue | Disposition::RetryAfter(_) if stopped => {
                    left.extend(receipt.token::<AnyMade>().map(Arc::clone));
                }
                Disposition::Requeue | Disposition::RetryAfter(_) => {
                    let deliveries = u32::try_from(receipt.tag()).unwrap_or(u32::MAX).saturating_add(1);
                    ready.extend(receipt.token::<AnyMade>().map(|made| (Arc::clone(made), deliveries)));
                }
            }
        }
        Ok(())
    }
}
