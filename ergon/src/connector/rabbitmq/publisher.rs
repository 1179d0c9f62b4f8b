//! Publishes in one session: one channel with confirms, and one task that pipelines all messages on it. Each message
//! gets an outcome, so no dispatch waits without end.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use lapin::message::BasicReturnMessage;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{Channel, Confirmation, Error};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::confirms::{Confirm, Confirms, Decision};
use super::connection::{Dial, Wire, watch};
use super::message::Outgoing;
use super::{RabbitMqConfig, error, topology};
use crate::connector::kit::{Connect, Pulse, Session};
use crate::connector::{ConnectorError, Direction};

/// The number of calls that may wait for the task.
const CALLS: usize = 1024;

/// The time limit for closing the connection.
const GOODBYE: Duration = Duration::from_secs(2);

/// The limit of unconfirmed messages. It bounds the memory for their bodies.
const IN_FLIGHT: usize = 4096;

/// Makes the sessions that publish.
pub(super) struct Publish {
    pub(super) dial: Dial,
    pub(super) config: Arc<RabbitMqConfig>,
    pub(super) direction: Direction,
}

/// A connection that publishes, and the sender to its task.
pub(super) struct Publishing {
    pulse: Arc<Pulse>,
    requests: mpsc::Sender<Request>,
    wire: Wire,
}

impl Connect for Publish {
    type Session = Publishing;

    const PURPOSE: &'static str = "publish";

    fn connector(&self) -> &str {
        &self.dial.name
    }

    fn address(&self) -> String {
        self.dial.address.to_string()
    }

    async fn connect(&self, _epoch: u64) -> Result<Publishing, ConnectorError> {
        let wire = self.dial.connect(Self::PURPOSE).await?;
        let pulse = Arc::new(Pulse::default());
        watch(&pulse, wire.connection().events_listener(), &*self.dial.name);
        let preparing = async {
            topology::declare(&self.config, &self.dial, &wire, self.direction).await?;
            let failed = |what: &str, error: Error| error::failed(what, &self.dial.address, &error);
            let channel = wire.channel().await.map_err(|error| failed("open a channel", error))?;
            let confirming = channel.confirm_select(ConfirmSelectOptions::default()).await;
            confirming.map_err(|error| failed("switch confirms on", error))?;
            Ok::<_, ConnectorError>(channel)
        };
        let channel = timeout(self.dial.within, preparing).await.map_err(|_| {
            let (within, address) = (humantime::format_duration(self.dial.within), &self.dial.address);
            ConnectorError::transient(format!("{address} was not ready to accept messages within {within}"))
        })??;
        let (requests, calls) = mpsc::channel(CALLS);
        let publisher = Publisher::new(channel, &self.config, Arc::clone(&pulse));
        tokio::spawn(publisher.run(calls));
        Ok(Publishing { pulse, requests, wire })
    }
}

impl Session for Publishing {
    fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    async fn leave(&self) {
        self.wire.leave(GOODBYE).await;
    }
}

impl Publishing {
    /// Publishes messages and waits until each is confirmed. Returns the failed messages with their errors.
    ///
    /// # Errors
    /// The messages, if the session was lost before the first of them was sent.
    ///
    /// # Cancel safety
    /// When the call is cancelled, each of the messages may or may not have been published.
    pub(super) async fn publish(
        &self,
        messages: Vec<Outgoing>,
        deadline: Instant,
    ) -> Result<Vec<(usize, ConnectorError)>, Vec<Outgoing>> {
        let count = messages.len();
        let (done, outcome) = oneshot::channel();
        let request = Request { messages: VecDeque::from(messages), deadline, done };
        if let Err(unsent) = self.requests.send(request).await {
            return Err(unsent.0.messages.into());
        }
        match outcome.await {
            Ok(Outcome::Settled(failed)) => Ok(failed),
            Ok(Outcome::Untouched(messages)) => Err(messages.into()),
            Err(_) => {
                self.pulse.stop("the task that publishes died");
                let error = || ConnectorError::unknown("it is unknown whether the message was published");
                Ok((0..count).map(|index| (index, error())).collect())
            }
        }
    }
}

/// Messages to publish, and the call that waits for their outcome.
pub(super) struct Request {
    pub(super) messages: VecDeque<Outgoing>,
    pub(super) deadline: Instant,
    pub(super) done: oneshot::Sender<Outcome>,
}

/// The outcome of a request.
pub(super) enum Outcome {
    /// All messages are confirmed except these.
    Settled(Vec<(usize, ConnectorError)>),
    /// No message was sent.
    Untouched(VecDeque<Outgoing>),
}

/// A request whose messages are being sent.
struct Batch {
    request: Request,
    /// Whether each message is confirmed or failed.
    settled: Vec<bool>,
    /// The number of messages without an outcome.
    left: usize,
    failed: Vec<(usize, ConnectorError)>,
}

impl Batch {
    /// Returns the number of messages that the batch has passed to the client.
    fn sent(&self) -> usize {
        self.settled.len() - self.request.messages.len()
    }
}

/// One message of a batch.
#[derive(Debug, Clone)]
struct Item {
    batch: u64,
    index: usize,
    id: ShortString,
}

type Confirmed = (Item, Result<Confirmation, Error>);
type Confirming = BoxFuture<'static, Confirmed>;

/// Publishes requests until the session ends.
pub(super) struct Publisher {
    channel: Arc<Channel>,
    mandatory: bool,
    /// The queue that this session declared, if messages are routed to it by name.
    declared: Option<String>,
    pulse: Arc<Pulse>,
    batches: HashMap<u64, Batch>,
    next: u64,
    /// The batches with unsent messages.
    waiting: VecDeque<u64>,
    deadlines: VecDeque<(Instant, u64)>,
    in_flight: FuturesUnordered<Confirming>,
    woken: Arc<Woken>,
    confirms: Confirms<Item>,
}

impl Publisher {
    pub(super) fn new(channel: Channel, config: &RabbitMqConfig, pulse: Arc<Pulse>) -> Self {
        Self {
            channel: Arc::new(channel),
            mandatory: config.publish.mandatory,
            declared: config.queue.clone().filter(|_| !config.passive),
            pulse,
            batches: HashMap::new(),
            next: 0,
            waiting: VecDeque::new(),
            deadlines: VecDeque::new(),
            in_flight: FuturesUnordered::new(),
            woken: Arc::default(),
            confirms: Confirms::new(),
        }
    }

    /// Publishes until the session is lost, or until no caller is left.
    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let pulse = Arc::clone(&self.pulse);
        let mut blockages = pulse.blockages();
        loop {
            self.send_waiting();
            let deadline = self.deadlines.front().map(|(deadline, _)| *deadline);
            // The order matters: the loss of the session ends the loop, and confirms come before new requests, so that
            // a caller that publishes without a pause delays no confirm.
            tokio::select! {
                biased;
                () = pulse.over() => break,
                Some(first) = self.in_flight.next() => self.confirmed(first),
                request = requests.recv() => match request {
                    Some(request) => self.accept(request),
                    None => break,
                },
                () = at(deadline) => self.expire(Instant::now()),
                Ok(()) = blockages.changed() => (),
            }
        }
        pulse.stop("the connector is closed");
        // Closed before the loop, so that no request arrives after it and waits without end.
        requests.close();
        while let Some(Request { messages, done, .. }) = requests.recv().await {
            let _ = done.send(Outcome::Untouched(messages));
        }
        self.give_up(&pulse.reason());
    }

    fn accept(&mut self, request: Request) {
        let total = request.messages.len();
        let batch = self.next;
        self.next += 1;
        self.deadlines.push_back((request.deadline, batch));
        self.waiting.push_back(batch);
        let settled = vec![false; total];
        self.batches.insert(batch, Batch { request, settled, left: total, failed: Vec::new() });
    }

    /// Sends waiting messages, unless the broker is blocked or enough messages are in flight.
    fn send_waiting(&mut self) {
        if self.waiting.is_empty() || self.pulse.blocked().is_some() {
            return;
        }
        while self.in_flight.len() < IN_FLIGHT
            && let Some(number) = self.waiting.front().copied()
        {
            let batch = self.batches.get_mut(&number);
            let message = batch.and_then(|batch| {
                let message = batch.request.messages.pop_front()?;
                Some((batch.sent() - 1, message))
            });
            match message {
                Some((index, message)) => self.send(number, index, message),
                None => drop(self.waiting.pop_front()),
            }
        }
    }

    fn send(&mut self, batch: u64, index: usize, message: Outgoing) {
        let Outgoing { exchange, routing_key, properties, body } = message;
        let id = properties.message_id().clone().unwrap_or_default();
        let item = Item { batch, index, id };
        let channel = Arc::clone(&self.channel);
        let options = BasicPublishOptions { mandatory: self.mandatory, ..BasicPublishOptions::default() };
        self.in_flight.push(Box::pin(async move {
            let sent = channel.basic_publish(exchange, routing_key, options, &body, properties).await;
            let confirmed = match sent {
                Ok(confirm) => confirm.await,
                Err(error) => Err(error),
            };
            (item, confirmed)
        }));
    }

    /// Processes a confirm, together with all others that the client has received.
    fn confirmed(&mut self, first: Confirmed) {
        let mut batch = Vec::new();
        let mut next = Some(first);
        while let Some((item, result)) = next {
            match result {
                Ok(confirmation) => batch.push(self.confirm(item, confirmation)),
                Err(error) => {
                    let why = error::words(&error);
                    self.pulse.stop(why.clone());
                    self.settle(&item, Some(unknown(&why)));
                }
            }
            next = next_ready(&mut self.in_flight, &self.woken);
        }
        let last = self.in_flight.is_empty();
        let mut confirms = std::mem::replace(&mut self.confirms, Confirms::new());
        confirms.take(batch, last, |item, decision| {
            let error = match decision {
                Decision::Taken => None,
                Decision::Returned(reason) => Some(unroutable(&reason)),
                Decision::Refused => Some(refused()),
            };
            self.settle(&item, error);
        });
        self.confirms = confirms;
    }

    fn confirm(&self, item: Item, confirmation: Confirmation) -> (Item, Confirm) {
        let nacked = matches!(confirmation, Confirmation::Nack(_));
        let attached = confirmation.take_message().map(|message| {
            let id = message.delivery.properties.message_id().clone().unwrap_or_default();
            (id, self.reason(&message))
        });
        let id = item.id.clone();
        (item, Confirm { id, attached, nacked })
    }

    /// Returns the reason of a returned message. If the message was for the queue that this session declared, the
    /// queue was deleted. The session ends then, so that the next one declares the queue again.
    fn reason(&self, message: &BasicReturnMessage) -> String {
        let (exchange, key) = (&message.delivery.exchange, &message.delivery.routing_key);
        if exchange.as_str().is_empty() && self.declared.as_deref() == Some(key.as_str()) {
            let reason = format!("queue `{key}` was deleted");
            self.pulse.stop(reason.clone());
            return reason;
        }
        let through = match exchange.as_str() {
            "" => "the default exchange".to_owned(),
            name => format!("exchange `{name}`"),
        };
        format!("no queue accepted the message: {through}, routing key `{key}` ({})", message.reply_text)
    }

    fn settle(&mut self, item: &Item, error: Option<ConnectorError>) {
        // The batch is missing if it was ended at its deadline.
        let Some(batch) = self.batches.get_mut(&item.batch) else { return };
        if let Some(settled) = batch.settled.get_mut(item.index).filter(|settled| !**settled) {
            *settled = true;
            batch.left -= 1;
        }
        batch.failed.extend(error.map(|error| (item.index, error)));
        if batch.left == 0 {
            self.finish(item.batch);
        }
    }

    /// Reports the outcome of a batch to its caller.
    fn finish(&mut self, number: u64) {
        let Some(batch) = self.batches.remove(&number) else { return };
        while self.deadlines.front().is_some_and(|(_, batch)| !self.batches.contains_key(batch)) {
            self.deadlines.pop_front();
        }
        // The caller may have been cancelled.
        let _ = batch.request.done.send(Outcome::Settled(batch.failed));
    }

    /// Ends the batches whose deadline has passed.
    fn expire(&mut self, now: Instant) {
        while let Some((_, batch)) = self.deadlines.front().copied().filter(|(deadline, _)| *deadline <= now)
        {
            let unconfirmed = || "the broker did not confirm in time".to_owned();
            let why = self.pulse.blocked().unwrap_or_else(unconfirmed);
            self.abandon(batch, &why);
        }
    }

    /// Fails the messages of a batch that have no outcome: a sent message may have arrived, and an unsent message has
    /// not.
    fn abandon(&mut self, number: u64, why: &str) {
        if let Some(batch) = self.batches.get_mut(&number) {
            let sent = batch.sent();
            let left = batch.settled.iter().enumerate().filter(|(_, settled)| !**settled);
            for index in left.map(|(index, _)| index) {
                let error = if index < sent { unknown(why) } else { ConnectorError::transient(why) };
                batch.failed.push((index, error));
            }
        }
        self.finish(number);
    }

    fn give_up(&mut self, why: &str) {
        for number in self.batches.keys().copied().collect::<Vec<_>>() {
            let untouched = self.batches.get(&number).is_some_and(|batch| batch.sent() == 0);
            match self.batches.remove(&number) {
                Some(Batch { request, .. }) if untouched => {
                    let _ = request.done.send(Outcome::Untouched(request.messages));
                }
                Some(batch) => {
                    self.batches.insert(number, batch);
                    self.abandon(number, why);
                }
                None => (),
            }
        }
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn unknown(why: &str) -> ConnectorError {
    ConnectorError::unknown(format!("published, but not confirmed: {why}"))
}

fn refused() -> ConnectorError {
    ConnectorError::transient("the broker refused the message").with_hint(
        "a queue may be full (`x-max-length` with `reject-publish`), or could not store the message",
    )
}

fn unroutable(reason: &str) -> ConnectorError {
    ConnectorError::permanent(reason)
        .with_hint("declare the queue, bind it to the exchange, or set `publish.mandatory = false`")
}

/// Returns a completed confirm; `None` only if no other is complete. The decision about returned messages depends on
/// seeing all completed confirms together.
fn next_ready<F: Future>(in_flight: &mut FuturesUnordered<F>, woken: &Arc<Woken>) -> Option<F::Output> {
    let waker = Waker::from(Arc::clone(woken));
    loop {
        match in_flight.poll_next_unpin(&mut Context::from_waker(&waker)) {
            Poll::Ready(next) => return next,
            // `FuturesUnordered` sometimes returns pending although more confirms are ready, and then wakes its caller.
            Poll::Pending if woken.0.swap(false, Ordering::AcqRel) => (),
            Poll::Pending => return None,
        }
    }
}

/// Whether the waker was called.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};

    use super::*;

    #[test]
    fn all_that_are_done_are_taken_also_when_they_have_to_be_polled_often() {
        let mut in_flight = FuturesUnordered::<BoxFuture<'_, usize>>::new();
        for number in 0..100 {
            let mut polls = 0;
            in_flight.push(Box::pin(poll_fn(move |context| {
                polls += 1;
                if polls > number % 4 {
                    return Poll::Ready(number);
                }
                context.waker().wake_by_ref();
                Poll::Pending
            })));
        }
        in_flight.push(Box::pin(pending()));
        let woken = Arc::default();
        let mut taken: Vec<_> = std::iter::from_fn(|| next_ready(&mut in_flight, &woken)).collect();
        taken.sort_unstable();
        assert_eq!(taken, (0..100).collect::<Vec<_>>());
        assert_eq!(in_flight.len(), 1);
    }
}
