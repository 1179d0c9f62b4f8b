//! Dead letters in a queue. They are taken with `basic.get` and not acknowledged; when the channel is closed, the
//! broker puts them back where they were. In a classic queue that leaves nothing behind but the mark "redelivered".
//!
//! A quorum queue counts what is put back, and destroys a message whose count exceeds its `delivery-limit`: to look too
//! often would lose a letter. So one that was put back before is not put back again: it is published anew, and only
//! when the broker has confirmed that, the old one is acknowledged. It then stands at the queue's end, and a crash in
//! between doubles it, which is the lesser harm. A classic queue is best for dead letters.

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

/// How long the broker may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

impl DeadLetters for RabbitMq {
    async fn visit(&self, visitor: &mut dyn DeadLetterVisitor) -> Result<(), ConnectorError> {
        let queue: Arc<str> = self.only_queue("dead letters are in")?.into();
        let wire = self.dial.connect("letters").await?;
        let letterbox = self.letterbox(&queue, wire.channel().await).await?;
        let looked = letterbox.look(visitor).await;
        // The broker answers only after it has taken the acknowledgements before it, and puts the rest back.
        let closed = letterbox.channel.close(200, "seen".into()).await;
        wire.leave(GOODBYE).await;
        looked.and(closed).map_err(|error| self.unseen(&queue, &error))
    }
}

/// A queue of letters, looked into over a channel of its own.
struct Letterbox {
    channel: Channel,
    queue: Arc<str>,
    /// How many were there at the beginning; what comes later, or anew, is not looked at.
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

    /// Publishes a copy without the count; says whether the broker has it.
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
        // One that comes back has no queue to be in: the old one stays.
        Ok(matches!(sent.await?, Confirmation::Ack(None)))
    }

    fn name(&self) -> ShortString {
        (&*self.queue).into()
    }
}

/// Whether a quorum queue has counted that it was put back. One with a user's name can be published by nobody else.
fn is_counted(message: &Message) -> bool {
    let mut headers = message.properties.headers().iter().flatten();
    headers.any(|(name, _)| message::is_a_count(name.as_str())) && message.properties.user_id().is_none()
}

/// Through the default exchange, straight into the queue; confirmed.
impl Redrive for RabbitMq {
    async fn redrive(&self, transaction: Transaction) -> Result<(), ConnectorError> {
        let queue = self.only_queue("it came from")?;
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
            (None, _) => Err(ConnectorError::permanent(format!("the settings name no queue that {what}"))
                .with_hint("set `queue` beside `publish`")),
            (Some(_), Some(_)) => Err(ConnectorError::permanent(format!(
                "the settings name several queues, and nothing says which one {what}"
            ))),
        }
    }
}
