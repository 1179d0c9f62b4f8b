//! Fills and reads queues with bare `lapin`, without the connector under test.

use std::collections::VecDeque;

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind, PublisherConfirm};

use crate::ledger::Ledger;

/// The number of unconfirmed messages after which the client waits for the oldest confirm.
const WINDOW: usize = 500;

/// A connection with one channel in confirm mode.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    channel: Channel,
}

/// A message from a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its `message_id`; empty if it has none.
    pub id: String,
    /// Its body.
    pub body: Vec<u8>,
}

impl Client {
    /// Connects to an `amqp://` address.
    ///
    /// # Errors
    /// Returns an error when no broker answers, or when the answer is wrong.
    pub async fn connect(url: &str) -> lapin::Result<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self { connection, channel })
    }

    /// The connection, for its events and more channels.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The channel.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Makes a durable queue with these arguments: `[("x-queue-type", "quorum")]`; numbers go as text.
    ///
    /// # Errors
    /// Returns an error when there is one that is set up otherwise.
    pub async fn declare(&self, queue: &str, arguments: &[(&str, &str)]) -> lapin::Result<()> {
        let mut table = FieldTable::default();
        for (key, value) in arguments {
            let text = |_| AMQPValue::LongString((*value).into());
            let value = value.parse::<i64>().map_or_else(text, AMQPValue::LongLongInt);
            table.insert((*key).into(), value);
        }
        self.channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), table).await?;
        Ok(())
    }

    /// Declares a durable exchange, and binds a queue to it.
    ///
    /// # Errors
    /// Returns an error when there is one of another kind, or no such queue.
    pub async fn collect(&self, exchange: &str, queue: &str) -> lapin::Result<()> {
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let none = FieldTable::default();
        self.channel.exchange_declare(exchange.into(), ExchangeKind::Fanout, options, none.clone()).await?;
        self.channel
            .queue_bind(queue.into(), exchange.into(), "".into(), QueueBindOptions::default(), none)
            .await
    }

    /// Deletes a queue with its messages.
    ///
    /// # Errors
    /// Returns an error when the broker refuses.
    pub async fn delete(&self, queue: &str) -> lapin::Result<()> {
        self.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
        Ok(())
    }

    /// The number of messages that wait in a queue, without messages that a consumer holds.
    ///
    /// # Errors
    /// Returns an error when there is no such queue; the channel is closed then.
    pub async fn ready(&self, queue: &str) -> lapin::Result<u32> {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = self.channel.queue_declare(queue.into(), passive, FieldTable::default()).await?;
        Ok(queue.message_count())
    }

    /// Publishes one durable message and waits for its confirm.
    ///
    /// # Errors
    /// Returns an error when the broker does not take it.
    pub async fn publish(&self, queue: &str, id: &str, body: &[u8]) -> lapin::Result<()> {
        settle(self.send(queue, id, body).await?).await
    }

    /// Publishes a durable message `{"id": …}` for each id and records the offered and confirmed ids in the ledger.
    ///
    /// # Errors
    /// Returns an error when the broker does not take one.
    ///
    /// # Panics
    /// Panics when the ledger cannot be written.
    pub async fn fill(
        &self,
        queue: &str,
        ids: impl IntoIterator<Item = String>,
        ledger: &Ledger,
    ) -> lapin::Result<()> {
        let mut window = VecDeque::with_capacity(WINDOW);
        for id in ids {
            if window.len() == WINDOW {
                confirm_oldest(&mut window, ledger).await?;
            }
            ledger.offered(&id);
            let body = serde_json::json!({ "id": id }).to_string();
            let confirm = self.send(queue, &id, body.as_bytes()).await?;
            window.push_back((id, confirm));
        }
        while !window.is_empty() {
            confirm_oldest(&mut window, ledger).await?;
        }
        Ok(())
    }

    async fn send(&self, queue: &str, id: &str, body: &[u8]) -> lapin::Result<PublisherConfirm> {
        let properties = BasicProperties::default().with_message_id(id.into()).with_delivery_mode(2);
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        self.channel.basic_publish("".into(), queue.into(), options, body, properties).await
    }

    /// Takes all messages that wait out of a queue.
    ///
    /// # Errors
    /// Returns an error when there is no such queue or the link breaks.
    pub async fn drain(&self, queue: &str) -> lapin::Result<Vec<Message>> {
        let mut messages = Vec::new();
        // The count of a quorum queue may still be 0 just after the broker has started; a `get` asks the queue itself.
        while let Some(first) = self.channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await?
        {
            messages.push(message(first.delivery));
            let ready = self.ready(queue).await? as usize;
            if ready > 0 {
                messages.extend(self.take(queue, ready).await?);
            }
        }
        Ok(messages)
    }

    /// Consumes `count` messages, and waits until all have arrived. One acknowledgement removes them from the queue.
    async fn take(&self, queue: &str, count: usize) -> lapin::Result<Vec<Message>> {
        let channel = self.connection.create_channel().await?;
        let window = u16::try_from(count).unwrap_or(u16::MAX);
        channel.basic_qos(window, BasicQosOptions::default()).await?;
        let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
        let consumer = channel.basic_consume(queue.into(), "".into(), options, none).await?;
        let mut deliveries = consumer.take(usize::from(window));
        let mut messages = Vec::with_capacity(usize::from(window));
        let mut last = None;
        while let Some(delivery) = deliveries.next().await {
            let delivery = delivery?;
            last = Some(delivery.acker.clone());
            messages.push(message(delivery));
        }
        if let Some(acker) = last {
            acker.ack(BasicAckOptions { multiple: true }).await?;
        }
        channel.close(200, "done".into()).await?;
        Ok(messages)
    }
}

fn message(delivery: Delivery) -> Message {
    let id = delivery.properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default();
    Message { id, body: delivery.data }
}

async fn confirm_oldest(
    window: &mut VecDeque<(String, PublisherConfirm)>,
    ledger: &Ledger,
) -> lapin::Result<()> {
    if let Some((id, confirm)) = window.pop_front() {
        settle(confirm).await?;
        ledger.confirmed(&id);
    }
    Ok(())
}

/// Waits for a confirm; a message that was returned or refused is an error.
async fn settle(confirm: PublisherConfirm) -> lapin::Result<()> {
    let confirmation = confirm.await?;
    let taken = confirmation.is_ack();
    let returned = confirmation.take_message();
    if taken && returned.is_none() {
        return Ok(());
    }
    let reason = format!("not taken: {:?}", returned.map(|message| message.reply_text.to_string()));
    Err(std::io::Error::other(reason).into())
}
