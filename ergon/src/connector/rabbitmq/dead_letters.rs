//! Reads dead letters in a queue without removing them. The connector fetches the messages with `basic.get` and does
//! not acknowledge them. When it closes the channel, the broker puts the messages back in their places. In a classic
//! queue, only the mark "redelivered" shows that a message was read.
//!
//! A quorum queue counts each return, and discards a message whose count exceeds its `delivery-limit`, so looking too
//! often would lose a dead letter. A message that was returned before is therefore published again, and the old message
//! is acknowledged after the broker has confirmed the copy. The copy is at the end of the queue. A crash between the
//! two steps leaves two copies, so no dead letter is lost. Prefer a classic queue for dead letters.

use std::sync::Arc;
use std::time::Duration;

use lapin::message::Delivery as Message;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Confirmation, Error};

use super::message::{self, Outgoing};
use super::{Decode, RabbitMq, error};
use crate::connector::{ConnectorError, DeadLetterVisitor, DeadLetters, Redrive, Visit};
use crate::transaction::Transaction;

/// The time limit for closing the connection.
const GOODBYE: Duration = Duration::from_secs(5);

impl DeadLetters for RabbitMq {
    async fn visit(&self, visitor: &mut dyn DeadLetterVisitor) -> Result<(), ConnectorError> {
        let queue: Arc<str> = self.only_queue("holds the dead letters")?.into();
        let wire = self.dial.connect("letters").await?;
        let letterbox = self.letterbox(&queue, wire.channel().await).await?;
        let looked = letterbox.look(visitor).await;
        // The broker answers after it has processed the acknowledgements, and puts the other messages back.
        let closed = letterbox.channel.close(200, "seen".into()).await;
        wire.leave(GOODBYE).await;
        looked.and(closed).map_err(|error| self.unseen(&queue, &error))
    }
}

/// A queue of dead letters, read over its own channel.
struct Letterbox {
    channel: Channel,
    queue: Arc<str>,
    /// The number of messages at the start. Messages that arrive later, and published copies, are not read.
    there: u32,
}

impl Letterbox {
    async fn look(&self, visitor: &mut dyn DeadLetterVisitor) -> Result<(), Error> {
        for _ in 0..self.there {
            let got = self.channel.basic_get(self.name(), BasicGetOptions::default()).await?;
            let Some(got) = got else { break };
            let message = got.delivery;
            let copy = is_counted(&message).then(|| (message.properties.clone(), message.data.clone()));
            let tag = message.delivery_tag;
            let (letter, _) = message::delivery(message, &self.queue, 0, Decode::ContentType).into_parts();
            let fate = visitor.visit(letter).await;
            if fate == Visit::Remove {
                self.channel.basic_ack(tag, BasicAckOptions::default()).await?;
            } else if let Some((properties, data)) = copy
                && self.publish_anew(properties, &data).await?
            {
                self.channel.basic_ack(tag, BasicAckOptions::default()).await?;
            }
            if fate == Visit::Stop {
                break;
            }
        }
        Ok(())
    }

    /// Publishes a copy without the count, and returns whether the broker has accepted it.
    async fn publish_anew(&self, properties: lapin::BasicProperties, data: &[u8]) -> Result<bool, Error> {
        let headers: FieldTable = properties
            .headers()
            .iter()
            .flatten()
            .filter(|(name, _)| !message::is_a_count(name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect::<std::collections::BTreeMap<_, _>>()
            .into();
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let properties = properties.with_headers(headers);
        let sent = self.channel.basic_publish("".into(), self.name(), options, data, properties).await?;
        // A returned copy reached no queue, so the old message stays.
        Ok(matches!(sent.await?, Confirmation::Ack(None)))
    }

    fn name(&self) -> ShortString {
        (&*self.queue).into()
    }
}

/// Returns whether a quorum queue has counted a return of the message. A message with a user id cannot be published
/// again, because the broker accepts that id only from its user.
fn is_counted(message: &Message) -> bool {
    let mut headers = message.properties.headers().iter().flatten();
    headers.any(|(name, _)| message::is_a_count(name.as_str())) && message.properties.user_id().is_none()
}

/// Publishes to the queue itself, through the default exchange, and waits for the confirm.
impl Redrive for RabbitMq {
    async fn redrive(&self, transaction: Transaction) -> Result<(), ConnectorError> {
        let queue = self.only_queue("the dead letter came from")?;
        let message = Outgoing::back(&transaction, self.publisher(), queue)?;
        match self.publish(vec![message]).await?.into_iter().next() {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }
}

impl RabbitMq {
    async fn letterbox(
        &self,
        queue: &Arc<str>,
        channel: Result<Channel, Error>,
    ) -> Result<Letterbox, ConnectorError> {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let open = async {
            let channel = channel?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            let declared = channel.queue_declare((&**queue).into(), passive, FieldTable::default()).await?;
            Ok((channel, declared.message_count()))
        };
        let (channel, there) = open.await.map_err(|error| self.unseen(queue, &error))?;
        Ok(Letterbox { channel, queue: Arc::clone(queue), there })
    }

    fn unseen(&self, queue: &str, error: &Error) -> ConnectorError {
        error::failed(&format!("look into `{queue}`"), &self.dial.address, error)
    }

    fn only_queue(&self, what: &str) -> Result<&str, ConnectorError> {
        let mut queues = self.config.queues().map(|(queue, _)| queue);
        match (queues.next(), queues.next()) {
            (Some(queue), None) => Ok(queue),
            (None, _) => {
                Err(ConnectorError::permanent(format!("the settings do not name the queue that {what}"))
                    .with_hint("set `queue` in addition to `publish`"))
            }
            (Some(_), Some(_)) => Err(ConnectorError::permanent(format!(
                "the settings name several queues, so it is unknown which queue {what}"
            ))),
        }
    }
}
