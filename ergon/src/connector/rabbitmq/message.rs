//! Converts between AMQP messages and transactions: makes deliveries of received messages, and messages of dispatched
//! transactions.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use foldhash::fast::FixedState;
use lapin::BasicProperties;
use lapin::message::Delivery as Message;
use lapin::types::{FieldTable, ShortString};

use super::properties::{self, Journey, Properties, Publisher, header, integer, is_the_brokers};
use super::{Decode, headers, key};
use crate::connector::{ConnectorError, Delivery, Receipt};
use crate::transaction::{ContentType, Payload, Transaction};

/// The header with the number of earlier deliveries, which quorum queues maintain.
const DELIVERY_COUNT: &str = "x-delivery-count";

/// Makes the delivery of a message from `queue`, received over the channel of this epoch.
pub(super) fn delivery(message: Message, queue: &Arc<str>, epoch: u64, decode: Decode) -> Delivery {
    let Message { delivery_tag, exchange, routing_key, redelivered, properties, data, .. } = message;
    let headers = properties.headers().as_ref();
    let text = |name: &str| headers.and_then(|headers| headers.inner().get(name)).and_then(properties::text);
    let short = |text: &Option<ShortString>| text.as_ref().map(ToString::to_string);
    let id = text(header::ID).map(str::to_owned).or_else(|| short(properties.message_id()));
    let id = id.filter(|id| !id.is_empty()).unwrap_or_else(|| made_up(queue, &data, headers));
    let own = short(properties.correlation_id());
    let correlation = text(header::CORRELATION).map(str::to_owned).or_else(|| own.clone());
    let correlation = correlation.filter(|id| !id.is_empty());
    let mut metadata = properties::metadata(&properties, exchange, routing_key);
    if redelivered {
        metadata.insert(key::REDELIVERED, true);
    }
    // The transaction does not distinguish such a correlation id from a missing id, so the metadata keep it.
    if let Some(own) = own.filter(|own| correlation.as_ref() != Some(own) || *own == id) {
        metadata.insert(key::CORRELATION_ID, own);
    }
    let mut builder = Transaction::builder()
        .id(id)
        .source(Arc::clone(queue))
        .created_at(created(&properties, headers))
        .deliveries(deliveries(redelivered, headers))
        .all_metadata(metadata);
    if let Some(parent) = text(header::PARENT) {
        builder = builder.parent_id(parent);
    }
    if let Some(correlation) = correlation {
        builder = builder.correlation_id(correlation);
    }
    let content_type = match (properties.content_type(), decode) {
        (Some(name), Decode::ContentType) => ContentType::from(name.as_str()),
        (Some(name), Decode::Json) => ContentType::json_as(name.as_str()),
        // Most senders of JSON name no content type, and other content still decodes as bytes or text.
        (None, _) => ContentType::Json,
    };
    let transaction = builder.payload(Payload::bytes(content_type, data)).build();
    Delivery::new(transaction, Receipt::new(delivery_tag).with_epoch(epoch))
}

/// Makes an id for a message without one. The same content from the same queue always gets the same id.
fn made_up(queue: &str, body: &[u8], headers: Option<&FieldTable>) -> String {
    let mut hasher = FixedState::default().build_hasher();
    (queue, body).hash(&mut hasher);
    let own = headers.into_iter().flatten().filter(|(name, _)| !is_the_brokers(name.as_str()));
    for (name, value) in own {
        (name.as_str(), headers::json(value).0.to_string()).hash(&mut hasher);
    }
    format!("{queue}:{:016x}", hasher.finish())
}

fn deliveries(redelivered: bool, headers: Option<&FieldTable>) -> u32 {
    let counted = headers.and_then(|headers| headers.inner().get(DELIVERY_COUNT)).and_then(integer);
    let before =
        counted.map_or(u32::from(redelivered), |count| u32::try_from(count.max(0)).unwrap_or(u32::MAX));
    before.saturating_add(1)
}

/// Returns the time when the transaction was made. A time that this machine's clock cannot represent becomes the
/// present time, and the metadata keep the original.
fn created(properties: &BasicProperties, headers: Option<&FieldTable>) -> SystemTime {
    let millis = headers.and_then(|headers| headers.inner().get(header::CREATED)).and_then(integer);
    let created = match (millis, properties.timestamp()) {
        (Some(millis), _) if millis < 0 => {
            UNIX_EPOCH.checked_sub(Duration::from_millis(millis.unsigned_abs()))
        }
        (Some(millis), _) => UNIX_EPOCH.checked_add(Duration::from_millis(millis.unsigned_abs())),
        (None, Some(seconds)) => UNIX_EPOCH.checked_add(Duration::from_secs(*seconds)),
        (None, None) => None,
    };
    created.unwrap_or_else(SystemTime::now)
}

/// A message to publish.
pub(super) struct Outgoing {
    pub(super) exchange: ShortString,
    pub(super) routing_key: ShortString,
    pub(super) properties: BasicProperties,
    pub(super) body: bytes::Bytes,
}

impl Outgoing {
    /// Makes the message of a dispatched transaction.
    ///
    /// # Errors
    /// A transaction that cannot be a message: too large, too much metadata, no bytes, no routing key, a property
    /// that cannot be sent.
    pub(super) fn of(transaction: &Transaction, publisher: Publisher<'_>) -> Result<Self, ConnectorError> {
        Self::on(transaction, publisher, Journey::of(transaction))
    }

    /// Makes the message of a transaction that goes back to its `queue`.
    ///
    /// # Errors
    /// The errors of [`of`](Self::of).
    pub(super) fn back(
        transaction: &Transaction,
        publisher: Publisher<'_>,
        queue: &str,
    ) -> Result<Self, ConnectorError> {
        let message = Self::on(transaction, publisher, Journey::Back)?;
        Ok(Self { exchange: headers::short("")?, routing_key: headers::short(queue)?, ..message })
    }

    fn on(
        transaction: &Transaction,
        publisher: Publisher<'_>,
        journey: Journey,
    ) -> Result<Self, ConnectorError> {
        let (publish, id) = (&publisher.config.publish, transaction.id());
        let body = transaction.payload().to_bytes().map_err(|error| {
            ConnectorError::permanent(format!("transaction `{id}` has no bytes to publish"))
                .with_source(error)
        })?;
        let (size, most) = (body.len() as u64, publish.max_message);
        if size > most.bytes() {
            return Err(ConnectorError::permanent(format!(
                "transaction `{id}` has {size} bytes, more than `publish.max_message` = {most} allows"
            )));
        }
        let mut properties = Properties::new(transaction, publisher, journey)?;
        let by_default = publisher.config.routing_key().or((!publish.exchange.is_empty()).then_some(""));
        let Some(routing_key) = properties.routing_key()?.or(by_default) else {
            return Err(ConnectorError::permanent(format!("transaction `{id}` has no routing key"))
                .with_hint("set `publish.routing_key`, or the metadata `amqp.publish.routing_key`"));
        };
        Ok(Self {
            exchange: headers::short(&publish.exchange)?,
            routing_key: headers::short(routing_key)?,
            properties: properties.make()?,
            body,
        })
    }
}

/// Returns whether a header counts the returns of a message to a quorum queue.
pub(super) fn is_a_count(name: &str) -> bool {
    [DELIVERY_COUNT, "x-acquired-count"].contains(&name)
}
