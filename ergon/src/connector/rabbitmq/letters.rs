//! Dead letters in a queue. They are taken with `basic.get` and not acknowledged; when the channel is closed, the
//! broker puts them back where they were. In a classic queue that leaves nothing behind but the mark "redelivered". A
//! quorum queue counts it as a delivery, and throws a message away when its `delivery-limit` (20 by default) is reached:
//! a letter that comes near to it is warned of. To consume and publish anew would not count, but could double a letter
//! or change their order, so it is not done. A classic queue is best for dead letters.

use std::sync::Arc;
use std::time::Duration;

use lapin::Error;
use lapin::options::{BasicAckOptions, BasicGetOptions, QueueDeclareOptions};
use lapin::types::FieldTable;

use super::message::{self, Outgoing};
use super::{RabbitMq, error, topology};
use crate::connector::{ConnectorError, LetterFate, Letters, TakeBack, Visitor};
use crate::transaction::Transaction;

/// How long the broker may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// From how many deliveries on a letter is warned of; a quorum queue's own limit is 20.
const NEAR_THE_LIMIT: u32 = 15;

impl Letters for RabbitMq {
    async fn visit(&self, visitor: &mut dyn Visitor) -> Result<(), ConnectorError> {
        let queue: Arc<str> = self.only_queue("dead letters are in")?.into();
        let wire = self.dial.connect("letters").await?;
        let failed = |what: &str, error: Error| error::failed(what, &self.dial.address, &error);
        let channel = wire.channel().await.map_err(|error| failed("open a channel", error))?;
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared = channel.queue_declare((&*queue).into(), passive, FieldTable::default()).await;
        let there = declared.map_err(|error| failed(&format!("look into `{queue}`"), error))?.message_count();
        for _ in 0..there {
            let got = channel.basic_get((&*queue).into(), BasicGetOptions::default()).await;
            let got = got.map_err(|error| failed(&format!("look into `{queue}`"), error))?;
            let Some(got) = got else { break };
            let tag = got.delivery.delivery_tag;
            let (letter, _) = message::delivery(got.delivery, &queue, 0).into_parts();
            warn_of_limit(&letter, &queue);
            match visitor.visit(letter).await {
                LetterFate::Kept => (),
                LetterFate::Enough => break,
                LetterFate::Taken => {
                    let acked = channel.basic_ack(tag, BasicAckOptions::default()).await;
                    acked.map_err(|error| failed(&format!("take a letter out of `{queue}`"), error))?;
                }
            }
        }
        // The broker answers only after it has taken the acknowledgements before it, and puts the rest back.
        let closed = channel.close(200, "seen".into()).await;
        closed.map_err(|error| failed(&format!("take letters out of `{queue}`"), error))?;
        wire.leave(GOODBYE).await;
        Ok(())
    }
}

fn warn_of_limit(letter: &Transaction, queue: &str) {
    let counted = letter.metadata().get(message::header::DELIVERY_COUNT).is_some();
    if counted && letter.deliveries() >= NEAR_THE_LIMIT {
        tracing::warn!(
            queue,
            letter = letter.id(),
            deliveries = letter.deliveries(),
            "a quorum queue throws a message away when it reaches its delivery limit, 20 by default: raise the limit, \
             or send the letter back"
        );
    }
}

/// Through the default exchange, straight into the queue; confirmed.
impl TakeBack for RabbitMq {
    async fn take_back(&self, transaction: Transaction) -> Result<(), ConnectorError> {
        let queue = self.only_queue("it came from")?;
        let mut message = Outgoing::of(&transaction, &self.config)?;
        message.exchange = topology::short("")?;
        message.routing_key = topology::short(queue)?;
        match self.publish(vec![message]).await?.into_iter().next() {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }
}

impl RabbitMq {
    fn only_queue(&self, what: &str) -> Result<&str, ConnectorError> {
        let mut queues = self.config.queues().map(|(queue, _)| queue);
        match (queues.next(), queues.next()) {
            (Some(queue), None) => Ok(queue),
            (None, _) => Err(ConnectorError::permanent(format!("the settings name no queue that {what}"))
                .with_hint("set `queue` beside `publish`")),
            (Some(_), Some(_)) => {
                Err(ConnectorError::permanent(format!("the settings name several queues, and {what} one")))
            }
        }
    }
}
