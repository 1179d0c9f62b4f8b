//! The producer: a stream takes the place of the source, and is pulled only as fast as slots free up.
//!
//! A stream takes nothing back. What it has made by the time of a stop is worked on within the grace; what is left after
//! it is counted, and named in the log.

use std::collections::VecDeque;
use std::fmt;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use futures_util::future::OptionFuture;
use futures_util::{FutureExt, Stream, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::attempt::guarded;
use super::clock::Clock;
use super::concurrently::run_concurrently;
use super::consume::{RunState, consume};
use super::life::Processing;
use super::lifecycle::Outcome;
use super::lived::Completed;
use super::steps::{BlockingProducing, Producing, Steps};
use super::terms::{RunContext, STREAM};
use crate::connector::{
    Connector, ConnectorError, Context, Delivery, Disposition, FetchRequest, Input, Receipt, Settlement,
    Shard, Source,
};
use crate::task::{BlockingProducer, Monitor, Producer, Stop};
use crate::telemetry::RunReport;
use crate::telemetry::event::{LeftUnproduced, MadeByAll};
use crate::transaction::{Decode, Result, Transaction, TransactionError, panic};

/// Asks for at most so many transactions; what the stream has ready is put on the shelf, at least one unless it is over.
struct Request {
    most: usize,
    answer: oneshot::Sender<()>,
}

/// What pulls the stream, when it is asked to.
pub(super) struct Pump<P> {
    asked: mpsc::Receiver<Request>,
    shelf: Arc<Shelf<P>>,
    task: &'static str,
}

/// What was pulled and nobody has fetched yet, and what was given back: a fetch that is cancelled loses neither.
struct Shelf<P> {
    stock: Mutex<Stock<P>>,
    /// Why the stream cannot be pulled any more.
    failed: OnceLock<TransactionError>,
    /// Nothing more is pulled.
    stopped: CancellationToken,
}

/// What a stream has made.
struct Stock<P> {
    /// To be fetched, each with how often it was delivered then.
    ready: VecDeque<(Arc<Transaction<P>>, u32)>,
    /// Given back after the stop: not tried again.
    left: Vec<Arc<Transaction<P>>>,
    /// How many were pulled and are neither done nor refused.
    unsettled: u64,
    /// The run is over: what is pulled now is left.
    closed: bool,
}

/// What a producer's stream has made; for the loop, which does not know its type.
pub(super) trait Pulled: fmt::Debug + Send + Sync {
    /// Pulls nothing more; a fetch that waits for the stream is answered as soon as the stream lets it.
    fn stop(&self);

    /// Ends it; says how many were pulled and not produced, and names them in the log.
    fn close(&self, task: &'static str) -> u64;
}

/// A stream as a source: what is given back is handed out again, what is acked or rejected is gone.
pub(super) struct StreamSource<P> {
    requests: mpsc::Sender<Request>,
    shelf: Arc<Shelf<P>>,
}

/// The steps of a producer, and what it produces.
pub(super) trait Pull: Steps {
    /// Pulls what is to be produced, as long as it is asked to.
    fn pull(self: &Arc<Self>, feeder: Pump<Self::Payload>) -> impl Future<Output = ()> + Send;
}

impl<T: Producer> Pull for Producing<T> {
    async fn pull(self: &Arc<Self>, feeder: Pump<T::Payload>) {
        feeder.pull(|| self.0.transactions()).await;
    }
}

impl<T: BlockingProducer> Pull for BlockingProducing<T> {
    async fn pull(self: &Arc<Self>, feeder: Pump<T::Payload>) {
        let task = Arc::clone(&self.0);
        let pull = move || feeder.pull_blocking(|| task.transactions());
        // Without a thread nobody answers, and the run ends with that.
        let _ = std::thread::Builder::new().name("ergon-transactions".to_owned()).spawn(pull);
    }
}

/// Runs a producer's loop to its end: its stream is the source.
///
/// # Cancel safety
/// As of [`consume`].
pub(super) async fn produce<S: Steps, F: Future<Output = ()>>(
    steps: &Arc<S>,
    pull: impl FnOnce(Pump<S::Payload>) -> F,
    terms: RunContext,
    (stop, monitor): (&Stop, &Monitor),
) -> RunReport {
    let (input, feeder) = feed(S::NAME);
    let pulled: Arc<dyn Pulled> = Arc::<Shelf<S::Payload>>::clone(&feeder.shelf);
    // Also when this future is dropped.
    let _closes = Closes { task: S::NAME, pulled: Arc::clone(&pulled) };
    let mut pull = pin!(Some(async {
        pull(feeder).await;
        std::future::pending().await
    }));
    let run = RunState::new(S::NAME, terms, (input, Some(pulled)), stop);
    let report = {
        let never = OptionFuture::from(pull.as_mut().as_pin_mut());
        tokio::select! {
            biased;
            report = consume(steps, run, monitor) => report,
            Some(never) = never => never,
        }
    };
    // The stream may panic when it is dropped; that changes nothing of what became of its transactions.
    let _ = panic::guard(|| pull.set(None));
    report
}

/// Makes a source and the feeder that answers it.
pub(super) fn feed<P: Send + Sync + 'static>(task: &'static str) -> (Input, Pump<P>) {
    let (requests, asked) = mpsc::channel(1);
    let stock = Stock { ready: VecDeque::new(), left: Vec::new(), unsettled: 0, closed: false };
    let (stock, failed, stopped) = (Mutex::new(stock), OnceLock::new(), CancellationToken::new());
    let shelf = Arc::new(Shelf { stock, failed, stopped });
    let source = StreamSource { requests, shelf: Arc::clone(&shelf) };
    (Input::new(Arc::new(source), &Context::new(task, "transactions")), Pump { asked, shelf, task })
}

impl<P> Pump<P> {
    /// Pulls a stream until nobody asks any more, or it fails.
    pub(super) async fn pull<S>(self, make: impl FnOnce() -> S)
    where
        S: Stream<Item = Result<Transaction<P>>>,
    {
        let Self { mut asked, shelf, task } = self;
        let mut begins = Some(task);
        let answering = async {
            let mut stream = pin!(make().fuse());
            while let Some(Request { most, answer }) = asked.recv().await {
                // What was pulled for a fetch that was cancelled meanwhile comes first.
                if shelf.stock().ready.is_empty() {
                    tokio::select! {
                        biased;
                        // What the stream has not yielded by now is not made.
                        () = shelf.stopped.cancelled() => (),
                        () = take_ready(stream.as_mut(), most, (&shelf, task)) => (),
                    }
                }
                begins.take().into_iter().for_each(tell_of_workers);
                // Nobody waits for it when its fetch was cancelled; the next one finds it.
                let _ = answer.send(());
            }
        };
        if let Err(error) = guarded(&mut None, answering).await {
            shelf.failed.get_or_init(|| error);
        }
    }

    /// The same for an iterator, on this thread.
    fn pull_blocking<I>(self, items: impl FnOnce() -> I)
    where
        I: Iterator<Item = Result<Transaction<P>>>,
    {
        let Self { mut asked, shelf, task } = self;
        let mut begins = Some(task);
        let answering = || {
            let mut items = items().fuse();
            while let Some(Request { most, answer }) = asked.blocking_recv() {
                if shelf.stock().ready.is_empty() {
                    let next = || if shelf.stopped.is_cancelled() { None } else { items.next() };
                    shelf.gather(task, std::iter::from_fn(next).take(most));
                }
                begins.take().into_iter().for_each(tell_of_workers);
                let _ = answer.send(());
            }
        };
        if let Err(error) = panic::guard(answering) {
            shelf.failed.get_or_init(|| error);
        }
    }
}

/// Says so if each of several workers makes all: by now the stream has asked which share is its own, if it ever does.
fn tell_of_workers(task: &'static str) {
    if let Some(workers) = Shard::all_do_all() {
        MadeByAll { task, workers }.emit();
    }
}

impl<P> Shelf<P> {
    fn stock(&self) -> MutexGuard<'_, Stock<P>> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one after the other, so that what came before an error or a panic stays; nothing after an error.
    fn gather(&self, task: &'static str, items: impl Iterator<Item = Result<Transaction<P>>>) {
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
}

impl<P> Shelf<P> {
    fn put(&self, task: &'static str, transaction: Transaction<P>) {
        let mut stock = self.stock();
        if stock.closed {
            drop(stock);
            // An iterator that did not return before the end of the run.
            LeftUnproduced { task, count: 1, ids: &[transaction.id().to_owned()] }.emit();
            return;
        }
        stock.unsettled += 1;
        stock.ready.push_back((Arc::new(transaction), 1));
    }
}

impl<P: Send + Sync> Pulled for Shelf<P> {
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
        // A payload of the task's may panic when it is dropped.
        let _ = panic::guard(|| drop(left));
        count
    }
}

impl<P> fmt::Debug for Shelf<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf").finish_non_exhaustive()
    }
}

/// Closes what a stream has made when the loop is gone.
struct Closes {
    task: &'static str,
    pulled: Arc<dyn Pulled>,
}

impl Drop for Closes {
    fn drop(&mut self) {
        self.pulled.close(self.task);
    }
}

/// Waits for one, and takes what is there beside it.
async fn take_ready<P>(
    mut stream: Pin<&mut impl Stream<Item = Result<Transaction<P>>>>,
    most: usize,
    (shelf, task): (&Shelf<P>, &'static str),
) {
    let Some(first) = stream.next().await else { return };
    let ready = std::iter::from_fn(|| stream.next().now_or_never().flatten());
    shelf.gather(task, std::iter::once(first).chain(ready).take(most));
}

impl<P: Send + Sync + 'static> StreamSource<P> {
    fn take(&self, most: usize) -> Vec<Delivery> {
        let ready = &mut self.shelf.stock().ready;
        let count = ready.len().min(most);
        ready.drain(..count).map(|(transaction, deliveries)| delivery(transaction, deliveries)).collect()
    }

    fn failed(&self) -> Option<ConnectorError> {
        let error = self.shelf.failed.get()?;
        Some(ConnectorError::permanent(error.to_string()).with_source(error.clone()))
    }
}

/// The delivery carries the transaction twice: as anybody may see it, and, in its receipt, as the task made it.
fn delivery<P: Send + Sync + 'static>(transaction: Arc<Transaction<P>>, deliveries: u32) -> Delivery {
    let seen = transaction.forward().with_deliveries(deliveries);
    Delivery::new(seen, Receipt::new(u64::from(deliveries)).with_token(transaction))
}

impl<P: Send + Sync + 'static> Connector for StreamSource<P> {
    const KIND: &'static str = STREAM;
}

impl<P: Send + Sync + 'static> Source for StreamSource<P> {
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
        // No await from here on: what was pulled is handed out.
        let taken = self.take(request.max());
        match (taken.is_empty(), self.failed()) {
            (true, Some(failed)) => Err(failed),
            (true, None) if ended => Err(ConnectorError::permanent("nothing makes the transactions")),
            _ => Ok(taken),
        }
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), ConnectorError> {
        let stopped = self.shelf.stopped.is_cancelled();
        let mut stock = self.shelf.stock();
        let Stock { ready, left, unsettled, .. } = &mut *stock;
        for settlement in settlements {
            let receipt = settlement.receipt();
            match settlement.disposition() {
                Disposition::Ack | Disposition::Reject => *unsettled = unsettled.saturating_sub(1),
                Disposition::Requeue | Disposition::RetryAfter(_) if stopped => {
                    left.extend(receipt.token().map(Arc::clone));
                }
                Disposition::Requeue | Disposition::RetryAfter(_) => {
                    let deliveries = u32::try_from(receipt.tag()).unwrap_or(u32::MAX).saturating_add(1);
                    ready.extend(receipt.token().map(|made| (Arc::clone(made), deliveries)));
                }
            }
        }
        Ok(())
    }
}

/// The transaction as the task's own stream made it; decoded if it came from elsewhere.
pub(super) fn typed<P: Decode>(
    transaction: &Transaction,
    receipt: Option<&Receipt>,
) -> Result<Arc<Transaction<P>>> {
    match receipt.and_then(Receipt::token::<Arc<Transaction<P>>>) {
        Some(made) => Ok(Arc::clone(made)),
        None => Ok(Arc::new(transaction.decoded()?)),
    }
}

/// Takes transactions through the steps of `producer`; done when every one of them is through.
pub(super) async fn outbound<S: Steps>(
    producer: &S,
    terms: &RunContext,
    transactions: &[Transaction],
) -> Result<Through> {
    let one = |transaction: Transaction| async move {
        let mut clock = Clock::starting_now();
        let mut lived = Completed::aborted();
        Processing::new(producer, terms, &transaction, None, (&mut lived, &mut clock)).live().await;
        terms.count(S::NAME, &transaction, &lived);
        match (lived.outcome, lived.disposition) {
            (Outcome::Aborted, _) => Ok(Through::GivenUp),
            (_, Disposition::Ack) => Ok(Through::Whole),
            (_, disposition) => {
                Err(not_through(&transaction, disposition, lived.failure.map(|failure| failure.error)))
            }
        }
    };
    // A producer that blocks has the one thread of the lane.
    let limit = if S::BLOCKING { 1 } else { terms.policy.concurrency };
    let through = run_concurrently(transactions.iter().cloned(), limit, one).await.into_result()?;
    Ok(if through.contains(&Through::GivenUp) { Through::GivenUp } else { Through::Whole })
}

/// How far a hybrid's outbound transactions came, if none of them failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Through {
    Whole,
    /// Some were given up on the way, because the run is to end.
    GivenUp,
}

/// Why the inbound transaction of a hybrid has failed; in the category of the outbound one's error.
fn not_through(
    transaction: &Transaction,
    disposition: Disposition,
    error: Option<TransactionError>,
) -> TransactionError {
    let (id, disposition) = (transaction.id(), disposition.as_str());
    match error {
        Some(error) => {
            let message = format!("outbound transaction {id} did not go through ({disposition}): {error}");
            TransactionError::new(error.category(), message).with_source(error)
        }
        None => {
            TransactionError::system(format!("outbound transaction {id} did not go through ({disposition})"))
        }
    }
}
