//! Consumes queues in one session: one channel, one consumer for each queue, and the unsettled tags.
//!
//! While dead letters wait, the session has further consumers. The broker limits the unsettled messages of each
//! consumer, and a message whose dead letter waits stays unsettled for long. With a prefetch of one, a single such
//! message would stop the queue. So the session consumes each queue once more, with a separate prefetch, until no
//! dead letter waits.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{BoxFuture, poll_fn};
use futures_util::task::AtomicWaker;
use futures_util::{FutureExt, Stream};
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
    BasicRejectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer, Error};
use tokio::time::{sleep, timeout};

use super::acks::{Acks, Returns, Step, Verdict};
use super::connection::{Dial, Wire, watch};
use super::{Decode, RabbitMqConfig, error, message, topology};
use crate::connector::kit::{Connect, Pulse, Session};
use crate::connector::{ConnectorError, Delivery, Direction, FetchRequest, Shard};

/// The time limit for sending an acknowledgement.
const SETTLE_WITHIN: Duration = Duration::from_secs(10);

/// The time that an acknowledgement waits for others while many deliveries are unsettled. Fewer acknowledgements save
/// the broker work.
const TOGETHER: Duration = Duration::from_millis(1);

/// The number of unsettled deliveries above which acknowledgements wait, and the number of acknowledgements that
/// never wait.
const MANY: usize = 64;

/// The time that a fetch without waiting gives the broker to send the messages that it has counted. After that the
/// fetch asks again.
const ON_ITS_WAY: Duration = Duration::from_millis(100);

/// The lowest prefetch of a further consumer.
const LEAST: usize = 16;

/// Makes the sessions that consume.
pub(super) struct Consume {
    pub(super) dial: Dial,
    pub(super) config: Arc<RabbitMqConfig>,
    pub(super) prefetch: u16,
    pub(super) direction: Direction,
}

/// One channel and its consumers.
pub(super) struct Consuming {
    pulse: Arc<Pulse>,
    epoch: u64,
    pub(super) channel: Arc<Channel>,
    /// The limit of unsettled messages of the first consumer of each queue; 0 is no limit.
    pub(super) prefetch: u16,
    pub(super) widening: Widening,
    /// The consumers. The running fetch holds the lock.
    consumers: tokio::sync::Mutex<Consumers>,
    tags: Mutex<Acks>,
    returns: Mutex<Returns>,
    /// The highest tag that the client has delivered.
    highest: AtomicU64,
    pub(super) queues: Vec<Arc<str>>,
    decode: Decode,
    wire: Wire,
}

struct Consumers {
    /// The consumers, each with its queue. The first is polled first and moves to the end, so that no queue starves
    /// another.
    open: VecDeque<(Arc<str>, Consumer)>,
    /// The deliveries that left the client and are not fetched yet.
    waiting: VecDeque<Delivery>,
}

impl Connect for Consume {
    type Session = Consuming;

    const PURPOSE: &'static str = "consume";

    fn connector(&self) -> &str {
        &self.dial.name
    }

    fn address(&self) -> String {
        self.dial.address.to_string()
    }

    async fn connect(&self, epoch: u64) -> Result<Consuming, ConnectorError> {
        let wire = self.dial.connect(Self::PURPOSE).await?;
        let pulse = Arc::new(Pulse::default());
        watch(&pulse, wire.connection().events_listener(), &*self.dial.name);
        let subscribing = async {
            topology::declare(&self.config, &self.dial, &wire, self.direction).await?;
            let failed = |what: &str, error: Error| error::failed(what, &self.dial.address, &error);
            let channel = wire.channel().await.map_err(|error| failed("open a channel", error))?;
            let qos = channel.basic_qos(self.prefetch, BasicQosOptions::default()).await;
            qos.map_err(|error| failed("set the prefetch", error))?;
            let mut open = VecDeque::new();
            for (queue, _) in self.config.queues() {
                let options = BasicConsumeOptions::default();
                let consumer =
                    channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await;
                let consumer = consumer.map_err(|error| failed(&format!("consume `{queue}`"), error))?;
                open.push_back((Arc::from(queue), consumer));
            }
            Ok::<_, ConnectorError>((channel, open))
        };
        let (channel, open) = timeout(self.dial.within, subscribing).await.map_err(|_| {
            let (within, address) = (humantime::format_duration(self.dial.within), &self.dial.address);
            ConnectorError::transient(format!("{address} did not confirm the subscription within {within}"))
        })??;
        let queues = open.iter().map(|(queue, _)| Arc::clone(queue)).collect();
        let consumers = tokio::sync::Mutex::new(Consumers { open, waiting: VecDeque::new() });
        let channel = Arc::new(channel);
        Ok(Consuming {
            pulse,
            epoch,
            channel,
            prefetch: self.prefetch,
            widening: Widening::default(),
            consumers,
            tags: Mutex::new(Acks::new()),
            returns: Mutex::default(),
            highest: AtomicU64::new(0),
            queues,
            decode: self.config.decode,
            wire,
        })
    }
}

impl Session for Consuming {
    fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    async fn leave(&self) {
        self.wire.leave(SETTLE_WITHIN).await;
    }
}

/// The session is lost, and the link opens another.
pub(super) struct Lost;

impl Consuming {
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Returns whether the session is up, as far as is known.
    pub(super) fn is_up(&self) -> bool {
        !self.pulse.is_over()
    }

    /// Waits until the session is lost.
    pub(super) async fn over(&self) {
        self.pulse.over().await;
    }

    /// Fetches at most the requested number of deliveries.
    ///
    /// # Cancel safety
    /// Cancel safe: a delivery that left the client stays in `waiting` until a fetch returns it.
    pub(super) async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>, Lost> {
        let mut consumers = self.consumers.lock().await;
        let max = request.max();
        if request.waits() {
            return poll_fn(|cx| self.poll_some(&mut consumers, max, cx)).await;
        }
        loop {
            let now = poll_fn(|cx| match self.poll_some(&mut consumers, max, cx) {
                Poll::Ready(some) => Poll::Ready(some),
                Poll::Pending => Poll::Ready(Ok(Vec::new())),
            });
            let some = now.await?;
            // The answer to the count follows all messages that the broker sent before it. So none is left if the
            // count is 0 and nothing has arrived.
            if !some.is_empty() || (self.ready().await? == 0 && !self.has_arrived(&mut consumers)) {
                return Ok(some);
            }
            let coming = poll_fn(|cx| self.poll_some(&mut consumers, max, cx));
            if let Ok(some) = timeout(ON_ITS_WAY, coming).await {
                return some;
            }
        }
    }

    /// Counts the deliveries that this worker can still fetch: its share of the queues, and the messages that the
    /// broker has sent to it.
    pub(super) async fn count(&self, shard: Shard) -> Result<u64, Lost> {
        let ready = shard.share(self.ready().await?);
        // If a fetch holds the lock, it waits because nothing has arrived.
        let Ok(mut consumers) = self.consumers.try_lock() else { return Ok(ready) };
        self.has_arrived(&mut consumers);
        Ok(ready + consumers.waiting.len() as u64)
    }

    /// Counts the messages that are ready in the queues. The question uses the channel of the deliveries, so that its
    /// answer follows them.
    async fn ready(&self) -> Result<u64, Lost> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let mut ready = 0;
        for queue in &self.queues {
            let asked = self.channel.queue_declare((&**queue).into(), options, FieldTable::default());
            let why = match timeout(SETTLE_WITHIN, asked).await {
                Ok(Ok(queue)) => {
                    ready += u64::from(queue.message_count());
                    continue;
                }
                Ok(Err(error)) => error::words(&error),
                Err(_) => "the broker does not answer".to_owned(),
            };
            self.pulse.stop(why);
            return Err(Lost);
        }
        Ok(ready)
    }

    /// Collects the messages that the client has received, and returns whether a delivery can be fetched.
    fn has_arrived(&self, consumers: &mut Consumers) -> bool {
        let mut context = Context::from_waker(std::task::Waker::noop());
        while self.take(consumers, &mut context) {}
        !consumers.waiting.is_empty()
    }

    /// Returns deliveries as soon as at least one has arrived.
    fn poll_some(
        &self,
        consumers: &mut Consumers,
        max: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Vec<Delivery>, Lost>> {
        while consumers.waiting.len() < max && self.take(consumers, cx) {}
        // The connection is lost. The broker delivers its messages again over the next connection.
        if self.pulse.is_over() {
            return Poll::Ready(Err(Lost));
        }
        let count = consumers.waiting.len().min(max);
        if count > 0 {
            return Poll::Ready(Ok(consumers.waiting.drain(..count).collect()));
        }
        Poll::Pending
    }

    /// Takes one delivery from the client, from the queues in turn. Returns whether a delivery was there.
    fn take(&self, consumers: &mut Consumers, cx: &mut Context<'_>) -> bool {
        consumers.open.extend(self.widening.take_opened(cx));
        for _ in 0..consumers.open.len() {
            if consumers.open.is_empty() {
                return false;
            }
            consumers.open.rotate_left(1);
            let Some((queue, consumer)) = consumers.open.back_mut() else { return false };
            match Pin::new(&mut *consumer).poll_next(cx) {
                Poll::Ready(Some(Ok(arrived))) => {
                    // `Relaxed`, because `is_busy` needs only an estimate.
                    self.highest.fetch_max(arrived.delivery_tag, Ordering::Relaxed);
                    let delivery = message::delivery(arrived, queue, self.epoch, self.decode);
                    consumers.waiting.push_back(lock(&self.returns).count(delivery));
                    return true;
                }
                Poll::Ready(Some(Err(error))) => self.pulse.stop(error::words(&error)),
                Poll::Ready(None) if self.widening.is_further(consumer) => {
                    consumers.open.pop_back();
                }
                Poll::Ready(None) => self.pulse.stop(format!(
                    "the broker ended the subscription to `{queue}`: it was deleted, or its node is gone"
                )),
                Poll::Pending => (),
            }
        }
        false
    }

    /// Sends the verdicts of deliveries of this channel. Returns for each delivery the reason why the broker may not
    /// have received its verdict, or `None`.
    pub(super) async fn settle(&self, told: &[(u64, Verdict)]) -> Vec<Option<String>> {
        if told.len() < MANY && self.is_busy(told.len()) {
            // The engine makes one settling call at a time, so the transactions that finish during the wait share the
            // next call and its acknowledgement.
            sleep(TOGETHER).await;
        }
        let (mut sending, step_of) = self.begin(told);
        let sent = timeout(SETTLE_WITHIN, futures_util::future::join_all(sending.iter_mut())).await;
        let results: Vec<Option<String>> = match sent {
            Ok(results) => {
                results.into_iter().map(|sent| sent.err().map(|error| error::words(&error))).collect()
            }
            Err(_) => {
                let why = "the broker did not accept the acknowledgement in time";
                self.pulse.stop(why);
                vec![Some(why.to_owned()); sending.len()]
            }
        };
        if let Some(why) = results.iter().flatten().next() {
            self.pulse.stop(why);
        }
        let result_of = |step: Option<usize>| step.and_then(|step| results.get(step).cloned()).flatten();
        step_of.into_iter().map(result_of).collect()
    }

    /// Returns whether so many other deliveries are unsettled that no slot waits for this acknowledgement.
    fn is_busy(&self, settled_now: usize) -> bool {
        let highest = self.highest.load(Ordering::Relaxed);
        lock(&self.tags).unsettled(highest) > (MANY + settled_now) as u64
    }

    /// Gives the acknowledgements to the client in their order: the client accepts each at its first poll. The tags
    /// stay locked, so that no other call can send in between. Otherwise an acknowledgement of several tags could
    /// include a tag that another call is about to reject.
    fn begin(&self, told: &[(u64, Verdict)]) -> (Vec<Sending>, Vec<Option<usize>>) {
        lock(&self.returns).settle(told);
        let mut tags = lock(&self.tags);
        let steps = tags.settle(told);
        let mut context = Context::from_waker(std::task::Waker::noop());
        let begin = |step: Step| {
            let mut sending = send(Arc::clone(&self.channel), step);
            let begun = sending.poll_unpin(&mut context);
            match begun {
                Poll::Ready(sent) => std::future::ready(sent).boxed(),
                Poll::Pending => sending,
            }
        };
        (steps.steps.into_iter().map(begin).collect(), steps.step_of)
    }
}

pub(super) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

type Sending = BoxFuture<'static, Result<(), Error>>;

fn send(channel: Arc<Channel>, step: Step) -> Sending {
    let Step { verdict, tag, multiple } = step;
    match verdict {
        Verdict::Ack => async move { channel.basic_ack(tag, BasicAckOptions { multiple }).await }.boxed(),
        Verdict::Reject => {
            async move { channel.basic_reject(tag, BasicRejectOptions { requeue: false }).await }.boxed()
        }
        Verdict::Requeue => {
            let options = BasicNackOptions { requeue: true, multiple };
            async move { channel.basic_nack(tag, options).await }.boxed()
        }
    }
}

/// The further consumers of a session.
#[derive(Default)]
pub(super) struct Widening {
    /// The last reported number of messages whose dead letters wait.
    waiting: AtomicUsize,
    /// The number of messages by which the limit of each queue is raised. The lock is held during a change, so that
    /// two changes do not overlap.
    room: tokio::sync::Mutex<usize>,
    state: Mutex<State>,
    /// Wakes the fetch when a further consumer opens.
    fetcher: AtomicWaker,
}

#[derive(Default)]
struct State {
    /// The consumers that are open and not yet among those of the fetch.
    opened: Vec<(Arc<str>, Consumer)>,
    /// The tags of all further consumers.
    tags: Vec<Arc<str>>,
}

impl Widening {
    /// Returns the consumers that opened since the last call, and registers the fetch to be woken for the next one.
    pub(super) fn take_opened(&self, cx: &Context<'_>) -> Vec<(Arc<str>, Consumer)> {
        self.fetcher.register(cx.waker());
        std::mem::take(&mut lock(&self.state).opened)
    }

    /// Returns whether a consumer is a further consumer. If such a consumer ends, the first consumer still consumes the
    /// queue.
    pub(super) fn is_further(&self, consumer: &Consumer) -> bool {
        lock(&self.state).tags.iter().any(|tag| **tag == *consumer.tag().as_str())
    }
}

impl Consuming {
    /// Adjusts the further consumers to the number of messages whose dead letters wait.
    pub(super) fn widen(self: &Arc<Self>, waiting: usize) {
        self.widening.waiting.store(waiting, Ordering::Relaxed);
        if self.prefetch > 0 {
            let session = Arc::clone(self);
            // A separate task opens the consumers, because a cancelled call would leave a consumer whose messages no
            // fetch returns.
            tokio::spawn(async move { session.make_room().await });
        }
    }

    async fn make_room(&self) {
        let mut room = self.widening.room.lock().await;
        // Read under the lock, so that the last of several calls uses the last report.
        let waiting = self.widening.waiting.load(Ordering::Relaxed);
        if waiting == 0 {
            self.narrow().await;
            *room = 0;
        }
        // While waiting messages use less than half of the limit, no further consumer is needed.
        while waiting * 2 > usize::from(self.prefetch) + *room && self.is_up() {
            let more = u16::try_from((*room).max(LEAST)).unwrap_or(u16::MAX);
            if let Err(error) = self.consume_once_more(more).await {
                tracing::warn!(
                    error = error::words(&error),
                    waiting,
                    "a second consumer on the queue cannot be opened, so messages whose dead letters wait delay the other messages"
                );
                return;
            }
            *room += usize::from(more);
        }
    }

    async fn consume_once_more(&self, prefetch: u16) -> Result<(), Error> {
        // The broker applies this prefetch to each consumer that is opened after it, and not to earlier consumers.
        self.channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        for queue in &self.queues {
            let options = BasicConsumeOptions::default();
            let opening =
                self.channel.basic_consume((&**queue).into(), "".into(), options, FieldTable::default());
            let consumer = opening.await?;
            let mut state = lock(&self.widening.state);
            state.tags.push(Arc::from(consumer.tag().as_str()));
            state.opened.push((Arc::clone(queue), consumer));
            drop(state);
            self.widening.fetcher.wake();
        }
        Ok(())
    }

    /// Ends the further consumers. The messages that they have received are still fetched.
    async fn narrow(&self) {
        let tags = lock(&self.widening.state).tags.clone();
        for tag in tags {
            // A lost session has no consumer to end.
            let _ = self.channel.basic_cancel((&*tag).into(), BasicCancelOptions::default()).await;
        }
    }
}
