//! The producer: a stream takes the place of the source, and is pulled only as fast as slots free up.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures_util::{FutureExt, Stream, StreamExt};
use tokio::sync::{mpsc, oneshot};

use super::attempt::guarded;
use super::clock::Clock;
use super::concurrently::run_concurrently;
use super::consume::{Loop, consume};
use super::life::Life;
use super::lived::Lived;
use super::panic;
use super::steps::{BlockingProducing, Producing, Steps};
use super::terms::{STREAM, Terms};
use crate::connector::{
    Connector, ConnectorError, Context, Delivery, Disposition, FetchRequest, Input, Receipt, Settlement,
    Source,
};
use crate::task::{BlockingProducer, Producer, Setup};
use crate::telemetry::RunReport;
use crate::transaction::{Decode, Result, Transaction, TransactionError};

/// Asks for at most so many transactions; the answer is what the stream has ready, at least one unless it is over.
struct Request<P> {
    most: usize,
    answer: oneshot::Sender<Result<Vec<Transaction<P>>>>,
}

/// What pulls the stream, when it is asked to.
pub(super) struct Feeder<P> {
    asked: mpsc::Receiver<Request<P>>,
    panicked: Panicked,
}

/// Why the stream cannot be pulled any more.
type Panicked = Arc<OnceLock<TransactionError>>;

/// A stream as a source: what is given back is handed out again, what is acked or rejected is gone.
pub(super) struct StreamSource<P> {
    requests: mpsc::Sender<Request<P>>,
    given_back: Mutex<VecDeque<(Arc<Transaction<P>>, u32)>>,
    panicked: Panicked,
}

/// The steps of a producer, and what it produces.
pub(super) trait Pull: Steps {
    /// Pulls what is to be produced, as long as it is asked to.
    fn pull(self: &Arc<Self>, feeder: Feeder<Self::Payload>) -> impl Future<Output = ()> + Send;
}

impl<T: Producer> Pull for Producing<T> {
    async fn pull(self: &Arc<Self>, feeder: Feeder<T::Payload>) {
        feeder.pull(self.0.transactions()).await;
    }
}

impl<T: BlockingProducer> Pull for BlockingProducing<T> {
    async fn pull(self: &Arc<Self>, feeder: Feeder<T::Payload>) {
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
    pull: impl FnOnce(Feeder<S::Payload>) -> F,
    terms: Terms,
    setup: &Setup,
) -> RunReport {
    let (input, feeder) = feed(S::NAME);
    let pull = async {
        pull(feeder).await;
        std::future::pending().await
    };
    let run = Loop::new(S::NAME, terms, input, &setup.stop);
    tokio::select! {
        biased;
        report = consume(steps, run, &setup.monitor) => report,
        never = pull => never,
    }
}

/// Makes a source and the feeder that answers it.
pub(super) fn feed<P: Send + Sync + 'static>(task: &str) -> (Input, Feeder<P>) {
    let (requests, asked) = mpsc::channel(1);
    let panicked = Panicked::default();
    let source = StreamSource { requests, given_back: Mutex::default(), panicked: Arc::clone(&panicked) };
    (Input::new(Arc::new(source), &Context::new(task, "transactions")), Feeder { asked, panicked })
}

impl<P> Feeder<P> {
    /// Pulls a stream until nobody asks any more; one that panics is not asked again.
    pub(super) async fn pull(self, stream: impl Stream<Item = Result<Transaction<P>>>) {
        let Self { mut asked, panicked } = self;
        let answering = async {
            let mut stream = pin!(stream.fuse());
            let mut failed = None;
            while let Some(Request { most, answer }) = asked.recv().await {
                let taken = take_ready(stream.as_mut(), most, &mut failed).await;
                // Nobody waits for it when the run ends meanwhile.
                let _ = answer.send(taken);
            }
        };
        if let Err(error) = guarded(&mut None, answering).await {
            panicked.get_or_init(|| error);
        }
    }

    /// The same for an iterator, on this thread.
    fn pull_blocking<I>(self, items: impl FnOnce() -> I)
    where
        I: Iterator<Item = Result<Transaction<P>>>,
    {
        let Self { mut asked, panicked } = self;
        let answering = || {
            let mut items = items().fuse();
            let mut failed = None;
            while let Some(Request { most, answer }) = asked.blocking_recv() {
                let taken = match failed.take() {
                    Some(error) => Err(error),
                    None => gather(items.by_ref().take(most), &mut failed),
                };
                let _ = answer.send(taken);
            }
        };
        if let Err(error) = panic::guard(answering) {
            panicked.get_or_init(|| error);
        }
    }
}

/// What comes before the first error, which is kept for the next time; the error itself if it comes first.
fn gather<P>(
    items: impl Iterator<Item = Result<Transaction<P>>>,
    failed: &mut Option<TransactionError>,
) -> Result<Vec<Transaction<P>>> {
    let mut taken = Vec::new();
    for item in items {
        match item {
            Ok(transaction) => taken.push(transaction),
            Err(error) if taken.is_empty() => return Err(error),
            Err(error) => {
                *failed = Some(error);
                break;
            }
        }
    }
    Ok(taken)
}

/// Waits for one, and takes what is there beside it.
async fn take_ready<P>(
    mut stream: Pin<&mut impl Stream<Item = Result<Transaction<P>>>>,
    most: usize,
    failed: &mut Option<TransactionError>,
) -> Result<Vec<Transaction<P>>> {
    if let Some(error) = failed.take() {
        return Err(error);
    }
    let Some(first) = stream.next().await else { return Ok(Vec::new()) };
    let ready = std::iter::from_fn(|| stream.next().now_or_never().flatten());
    gather(std::iter::once(first).chain(ready).take(most), failed)
}

impl<P: Send + Sync + 'static> StreamSource<P> {
    fn again(&self, most: usize) -> Vec<Delivery> {
        let mut given_back = self.given_back.lock().unwrap_or_else(PoisonError::into_inner);
        let count = given_back.len().min(most);
        given_back.drain(..count).map(|(transaction, deliveries)| delivery(transaction, deliveries)).collect()
    }

    fn broken(&self) -> ConnectorError {
        let why = self.panicked.get().map_or("nothing makes the transactions", TransactionError::message);
        ConnectorError::permanent(why)
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
        let again = self.again(request.max());
        if !again.is_empty() {
            return Ok(again);
        }
        let (answer, answered) = oneshot::channel();
        let asked = self.requests.send(Request { most: request.max(), answer }).await;
        match (asked, answered.await) {
            (Ok(()), Ok(Ok(taken))) => {
                Ok(taken.into_iter().map(|transaction| delivery(Arc::new(transaction), 1)).collect())
            }
            (Ok(()), Ok(Err(error))) => Err(ConnectorError::permanent(error.to_string()).with_source(error)),
            _ => Err(self.broken()),
        }
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), ConnectorError> {
        let mut given_back = self.given_back.lock().unwrap_or_else(PoisonError::into_inner);
        for settlement in settlements {
            if matches!(settlement.disposition(), Disposition::Requeue | Disposition::RetryAfter(_)) {
                let receipt = settlement.receipt();
                let deliveries = u32::try_from(receipt.tag()).unwrap_or(u32::MAX).saturating_add(1);
                given_back.extend(receipt.token().map(|made| (Arc::clone(made), deliveries)));
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
pub(super) async fn outward<S: Steps>(
    producer: &S,
    terms: &Terms,
    transactions: &[Transaction],
) -> Result<()> {
    let one = |transaction: Transaction| async move {
        let mut clock = Clock::starting_now();
        let mut lived = Lived::aborted();
        Life::new(producer, terms, &transaction, None, (&mut lived, &mut clock)).live().await;
        terms.count(S::NAME, &transaction, &lived);
        match lived.disposition {
            Disposition::Ack => Ok(()),
            disposition => {
                Err(not_through(&transaction, disposition, lived.failure.map(|failure| failure.error)))
            }
        }
    };
    // A producer that blocks has the one thread of the lane.
    let limit = if S::BLOCKING { 1 } else { terms.policy.concurrency };
    run_concurrently(transactions.iter().cloned(), limit, one).await.into_result().map(drop)
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
