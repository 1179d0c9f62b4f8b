//! A message of AMQP and a transaction: what becomes what, in both directions.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use foldhash::fast::FixedState;
use lapin::BasicProperties;
use lapin::message::Delivery as Message;
use lapin::types::{AMQPValue, FieldArray, FieldTable, ShortString};
use serde_json::{Map, Number, Value};

use super::{RabbitMqConfig, key, room, topology};
use crate::connector::{ConnectorError, Delivery, Receipt};
use crate::transaction::key::ERROR;
use crate::transaction::{ContentType, Metadata, Payload, Transaction};

/// Headers that carry what a transaction has and a message has no property for.
mod header {
    /// The transaction's id, where it is too long for a message id.
    pub(super) const ID: &str = "ergon-id";
    pub(super) const PARENT: &str = "ergon-parent-id";
    pub(super) const CORRELATION: &str = "ergon-correlation-id";
    /// When the transaction was made: milliseconds since 1970.
    pub(super) const CREATED: &str = "ergon-created-at";
    /// Those that are no metadata.
    pub(super) const IN_THE_TRANSACTION: [&str; 4] = [ID, PARENT, CORRELATION, CREATED];
    /// How often the message was delivered before; counted by quorum queues.
    pub(super) const DELIVERY_COUNT: &str = "x-delivery-count";
}

/// The delivery of a message that came from `queue` over the channel of this epoch.
pub(super) fn delivery(message: Message, queue: &Arc<str>, epoch: u64) -> Delivery {
    let Message { delivery_tag, exchange, routing_key, redelivered, properties, data, .. } = message;
    let headers = properties.headers().as_ref();
    let text = |name: &str| headers.and_then(|headers| headers.inner().get(name)).and_then(text);
    let id = text(header::ID)
        .or_else(|| properties.message_id().as_ref().map(ToString::to_string))
        .filter(|id| !id.is_empty())
        .unwrap_or_else(|| made_up(queue, &data, headers));
    let mut builder = Transaction::builder()
        .id(id)
        .source(Arc::clone(queue))
        .created_at(created(&properties, headers))
        .deliveries(deliveries(redelivered, headers))
        .all_metadata(metadata(&properties, exchange, routing_key, redelivered));
    if let Some(parent) = text(header::PARENT) {
        builder = builder.parent_id(parent);
    }
    let correlation = text(header::CORRELATION);
    if let Some(correlation) = correlation
        .or_else(|| properties.correlation_id().as_ref().map(ToString::to_string))
        .filter(|id| !id.is_empty())
    {
        builder = builder.correlation_id(correlation);
    }
    let content_type = match properties.content_type() {
        Some(name) => ContentType::from(name.as_str()),
        // Most who send JSON do not say so, and anything else still decodes as bytes or text.
        None => ContentType::Json,
    };
    let transaction = builder.payload(Payload::bytes(content_type, data)).build();
    Delivery::new(transaction, Receipt::new(delivery_tag).with_epoch(epoch))
}

/// A stable id for a message that has none: the same whenever the same content comes from the same queue.
fn made_up(queue: &str, body: &[u8], headers: Option<&FieldTable>) -> String {
    let mut hasher = FixedState::default().build_hasher();
    (queue, body).hash(&mut hasher);
    let own = headers.into_iter().flatten().filter(|(name, _)| !is_the_brokers(name.as_str()));
    for (name, value) in own {
        (name.as_str(), json(value).to_string()).hash(&mut hasher);
    }
    format!("{queue}:{:016x}", hasher.finish())
}

fn deliveries(redelivered: bool, headers: Option<&FieldTable>) -> u32 {
    let counted = headers.and_then(|headers| headers.inner().get(header::DELIVERY_COUNT)).and_then(integer);
    let before = counted.map_or(u32::from(redelivered), |count| u32::try_from(count).unwrap_or(u32::MAX));
    before.saturating_add(1)
}

fn created(properties: &BasicProperties, headers: Option<&FieldTable>) -> SystemTime {
    let millis = headers.and_then(|headers| headers.inner().get(header::CREATED)).and_then(integer);
    let since = match (millis, properties.timestamp()) {
        (Some(millis), _) => Duration::from_millis(millis),
        (None, Some(seconds)) => Duration::from_secs(*seconds),
        (None, None) => return SystemTime::now(),
    };
    UNIX_EPOCH.checked_add(since).unwrap_or_else(SystemTime::now)
}

fn metadata(
    properties: &BasicProperties,
    exchange: ShortString,
    routing_key: ShortString,
    redelivered: bool,
) -> Metadata {
    let mut metadata = Metadata::default();
    metadata.insert(key::ROUTING_KEY, String::from(routing_key));
    metadata.insert(key::EXCHANGE, String::from(exchange));
    if redelivered {
        metadata.insert(key::REDELIVERED, true);
    }
    let texts = [
        (key::CONTENT_TYPE, properties.content_type()),
        (key::CONTENT_ENCODING, properties.content_encoding()),
        (key::REPLY_TO, properties.reply_to()),
        (key::TYPE, properties.kind()),
        (key::APP_ID, properties.app_id()),
        (key::USER_ID, properties.user_id()),
        (key::EXPIRATION, properties.expiration()),
    ];
    for (key, text) in texts {
        if let Some(text) = text {
            metadata.insert(key, text.as_str());
        }
    }
    if let Some(priority) = properties.priority() {
        metadata.insert(key::PRIORITY, *priority);
    }
    if let Some(timestamp) = properties.timestamp() {
        metadata.insert(key::TIMESTAMP, *timestamp);
    }
    for (name, value) in properties.headers().iter().flatten() {
        if !header::IN_THE_TRANSACTION.contains(&name.as_str()) {
            metadata.insert(name.as_str().to_owned(), json(value));
        }
    }
    metadata
}

/// A message to publish.
pub(super) struct Outgoing {
    pub(super) exchange: ShortString,
    pub(super) routing_key: ShortString,
    pub(super) properties: BasicProperties,
    pub(super) body: bytes::Bytes,
}

impl Outgoing {
    /// The message of a transaction.
    ///
    /// # Errors
    /// A transaction that cannot be one: too large, too much metadata, no bytes, no routing key.
    pub(super) fn of(transaction: &Transaction, config: &RabbitMqConfig) -> Result<Self, ConnectorError> {
        let (publish, id) = (&config.publish, transaction.id());
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
        let own_key = own(transaction, key::PUBLISH_ROUTING_KEY, Value::as_str, "a text")?;
        let by_default = || config.routing_key().or((!publish.exchange.is_empty()).then_some(""));
        let Some(routing_key) = own_key.or_else(by_default) else {
            return Err(ConnectorError::permanent(format!("transaction `{id}` has no routing key"))
                .with_hint("set `publish.routing_key`, or the metadata `amqp.publish.routing_key`"));
        };
        Ok(Self {
            exchange: topology::short(&publish.exchange)?,
            routing_key: topology::short(routing_key)?,
            properties: properties(transaction, config)?,
            body,
        })
    }
}

fn properties(transaction: &Transaction, config: &RabbitMqConfig) -> Result<BasicProperties, ConnectorError> {
    let (publish, metadata) = (&config.publish, transaction.metadata());
    let mut headers = headers(transaction.id(), metadata)?;
    let id = message_id(transaction, &mut headers);
    let created = transaction.created_at().duration_since(UNIX_EPOCH).unwrap_or_default();
    if let Some(parent) = transaction.parent_id() {
        headers.insert(header::PARENT.into(), AMQPValue::LongString(parent.into()));
    }
    let mut properties = BasicProperties::default()
        .with_message_id(id)
        .with_content_type(topology::short(transaction.payload().content_type().as_str())?)
        .with_delivery_mode(if publish.persistent { 2 } else { 1 })
        .with_timestamp(created.as_secs());
    // A transaction that begins a chain is its own correlation.
    let correlation =
        Some(transaction.correlation_id()).filter(|correlation| *correlation != transaction.id());
    match correlation.map(|correlation| (correlation, ShortString::try_new(correlation))) {
        None => (),
        Some((_, Ok(short))) => properties = properties.with_correlation_id(short),
        Some((whole, Err(_))) => {
            headers.insert(header::CORRELATION.into(), AMQPValue::LongString(whole.into()));
        }
    }
    let priority = own(transaction, key::PUBLISH_PRIORITY, Value::as_u64, "a number from 0 to 255")?;
    let priority = priority.map(|own| u8::try_from(own).unwrap_or(u8::MAX)).or(publish.priority);
    if let Some(priority) = priority {
        properties = properties.with_priority(priority);
    }
    let expiration = own(transaction, key::PUBLISH_EXPIRATION, Value::as_u64, "a number of milliseconds")?;
    let expiration = expiration.map(Duration::from_millis);
    if let Some(expiration) = expiration.or(publish.expiration) {
        properties = properties.with_expiration(expiration.as_millis().to_string().as_str().into());
    }
    // The broker reads a table of headers for each message, which costs it a tenth of its time: without any, the seconds
    // of the timestamp have to do.
    if !headers.inner().is_empty() {
        room::check(transaction.id(), &headers)?;
        let millis = i64::try_from(created.as_millis()).unwrap_or(i64::MAX);
        headers.insert(header::CREATED.into(), AMQPValue::LongLongInt(millis));
        properties = properties.with_headers(headers);
    }
    Ok(properties)
}

/// The message id of a transaction; where the id is too long, a hash of it, and the id itself in a header.
fn message_id(transaction: &Transaction, headers: &mut FieldTable) -> ShortString {
    let id = transaction.id();
    ShortString::try_new(id).unwrap_or_else(|_| {
        headers.insert(header::ID.into(), AMQPValue::LongString(id.into()));
        format!("{:016x}", FixedState::default().hash_one(id)).into()
    })
}

/// What the metadata of a transaction say of its message, in place of the config.
fn own<'t, T>(
    transaction: &'t Transaction,
    key: &str,
    read: impl FnOnce(&'t Value) -> Option<T>,
    expected: &str,
) -> Result<Option<T>, ConnectorError> {
    let Some(value) = transaction.metadata().get(key).filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    read(value).map(Some).ok_or_else(|| {
        let id = transaction.id();
        ConnectorError::permanent(format!("transaction `{id}`: its `{key}` is {value}, expected {expected}"))
    })
}

/// All metadata but what speaks of a message itself: how another message came is not how this one goes.
fn headers(id: &str, metadata: &Metadata) -> Result<FieldTable, ConnectorError> {
    let mut headers = FieldTable::default();
    let gone = |name: &str| name.starts_with("amqp.") || is_the_brokers(name);
    for (name, value) in metadata.iter().filter(|(name, _)| !gone(name)) {
        let short = ShortString::try_new(name).map_err(|_| {
            let length = name.len();
            ConnectorError::permanent(format!(
                "transaction `{id}` has metadata with a name of {length} bytes, longer than the 255 of a header's"
            ))
        })?;
        let error = value.as_str().filter(|_| name == ERROR).map(room::shortened);
        headers.insert(short, error.map_or_else(|| field(value), |error| field(&error.into())));
    }
    Ok(headers)
}

/// Counts and histories that the broker keeps in a message: a copy would be taken for its own.
fn is_the_brokers(name: &str) -> bool {
    ["x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count"]
        .iter()
        .any(|own| name.starts_with(own))
}

/// A count of how often a quorum queue has put a message back.
pub(super) fn is_a_count(name: &str) -> bool {
    [header::DELIVERY_COUNT, "x-acquired-count"].contains(&name)
}

fn text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(text.to_string()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

fn integer(value: &AMQPValue) -> Option<u64> {
    json(value).as_u64()
}

/// A header's value as JSON.
fn json(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(value) => (*value).into(),
        AMQPValue::ShortShortInt(value) => (*value).into(),
        AMQPValue::ShortShortUInt(value) => (*value).into(),
        AMQPValue::ShortInt(value) => (*value).into(),
        AMQPValue::ShortUInt(value) => (*value).into(),
        AMQPValue::LongInt(value) => (*value).into(),
        AMQPValue::LongUInt(value) => (*value).into(),
        AMQPValue::LongLongInt(value) => (*value).into(),
        AMQPValue::Float(value) => f64::from(*value).into(),
        AMQPValue::Double(value) => (*value).into(),
        AMQPValue::DecimalValue(decimal) => {
            (f64::from(decimal.value) / 10_f64.powi(i32::from(decimal.scale))).into()
        }
        AMQPValue::ShortString(text) => text.as_str().into(),
        AMQPValue::LongString(text) => text.to_string().into(),
        AMQPValue::FieldArray(values) => values.as_slice().iter().map(json).collect(),
        AMQPValue::Timestamp(seconds) => (*seconds).into(),
        AMQPValue::FieldTable(table) => table
            .into_iter()
            .map(|(name, value)| (name.to_string(), json(value)))
            .collect::<Map<_, _>>()
            .into(),
        AMQPValue::ByteArray(bytes) => String::from_utf8_lossy(bytes.as_slice()).into(),
        AMQPValue::Void => Value::Null,
    }
}

/// A JSON value as a header's.
pub(super) fn field(value: &Value) -> AMQPValue {
    match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(value) => AMQPValue::Boolean(*value),
        Value::Number(number) => numeral(number),
        Value::String(text) => AMQPValue::LongString(text.as_str().into()),
        Value::Array(values) => {
            AMQPValue::FieldArray(FieldArray::from(values.iter().map(field).collect::<Vec<_>>()))
        }
        Value::Object(object) => {
            let mut table = FieldTable::default();
            for (name, value) in object {
                if let Ok(name) = ShortString::try_new(name.as_str()) {
                    table.insert(name, field(value));
                }
            }
            AMQPValue::FieldTable(table)
        }
    }
}

fn numeral(number: &Number) -> AMQPValue {
    match (number.as_i64(), number.as_f64()) {
        (Some(integer), _) => AMQPValue::LongLongInt(integer),
        (None, Some(float)) if !number.is_u64() => AMQPValue::Double(float),
        // A header has no number as large: its digits are all there.
        _ => AMQPValue::LongString(number.to_string().as_str().into()),
    }
}
