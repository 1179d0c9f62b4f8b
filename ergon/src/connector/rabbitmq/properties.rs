//! Converts between the properties and headers of a message and the metadata of a transaction.
//!
//! A published transaction keeps the properties and headers of its message, with their types: a dead letter, its
//! redrive and a forwarded message. The connector leaves out only the values of one delivery: exchange, routing key,
//! redelivered, and the counts and histories that the broker maintains.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::time::{SystemTime, UNIX_EPOCH};

use foldhash::fast::FixedState;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use serde_json::{Map, Value};

use super::{RabbitMqConfig, headers, key};
use crate::connector::ConnectorError;
use crate::transaction::key::ERROR;
use crate::transaction::{Metadata, Transaction};

/// Headers for the values of a transaction that have no property.
pub(super) mod header {
    /// The transaction's id, if it is too long for a message id.
    pub(in super::super) const ID: &str = "ergon-id";
    pub(in super::super) const PARENT: &str = "ergon-parent-id";
    pub(in super::super) const CORRELATION: &str = "ergon-correlation-id";
    /// The time when the transaction was made: milliseconds since 1970.
    pub(in super::super) const CREATED: &str = "ergon-created-at";
    /// The expiration of the message before it became a dead letter: the text of its property.
    pub(in super::super) const EXPIRATION: &str = "ergon-expiration";
    /// The user that sent the message, if the broker accepts that user id from no other. Nothing checks it.
    pub(in super::super) const USER: &str = "ergon-user-id";
    /// The routing keys to which the broker has sent copies of the received message.
    pub(super) const COPIES: &str = "ergon-cc";
    /// The headers that do not become metadata under their own names.
    pub(super) const READ: [&str; 5] = [ID, PARENT, CORRELATION, CREATED, EXPIRATION];
}

/// The header that makes the broker send copies to further routing keys.
const COPIES: &str = "CC";

/// The longest expiration that the broker accepts, in milliseconds.
pub(super) const LONGEST_EXPIRATION: u64 = u32::MAX as u64;

/// Makes the metadata from the properties and headers of a message.
pub(super) fn metadata(
    properties: &BasicProperties,
    exchange: ShortString,
    routing_key: ShortString,
) -> Metadata {
    let mut metadata = Metadata::default();
    metadata.insert(key::ROUTING_KEY, String::from(routing_key));
    metadata.insert(key::EXCHANGE, String::from(exchange));
    let texts = [
        (key::CONTENT_TYPE, properties.content_type()),
        (key::CONTENT_ENCODING, properties.content_encoding()),
        (key::REPLY_TO, properties.reply_to()),
        (key::TYPE, properties.kind()),
        (key::APP_ID, properties.app_id()),
        (key::USER_ID, properties.user_id()),
        (key::CLUSTER_ID, properties.cluster_id()),
        (key::EXPIRATION, properties.expiration()),
    ];
    for (key, text) in texts {
        if let Some(text) = text {
            metadata.insert(key, text.as_str());
        }
    }
    if let Some(mode) = properties.delivery_mode() {
        metadata.insert(key::DELIVERY_MODE, *mode);
    }
    if let Some(priority) = properties.priority() {
        metadata.insert(key::PRIORITY, *priority);
    }
    if let Some(timestamp) = properties.timestamp() {
        metadata.insert(key::TIMESTAMP, *timestamp);
    }
    let mut kinds = Map::new();
    for (name, value) in properties.headers().iter().flatten() {
        let name = name.as_str();
        match own_header(name, value) {
            Some(Own::Transaction) => (),
            Some(Own::Expiration(text)) => {
                metadata.insert(key::EXPIRATION, text);
            }
            // A count of the broker can be read, and is never sent.
            None if is_the_brokers(name) => {
                metadata.insert(name.to_owned(), headers::json(value).0);
            }
            None => {
                metadata.insert(key_of(name), headers::noting(&mut kinds, name, value));
            }
        }
    }
    if !kinds.is_empty() {
        metadata.insert(key::HEADER_TYPES, Value::Object(kinds));
    }
    metadata
}

/// The value of a header that Ergon writes in addition to the metadata.
enum Own<'v> {
    /// A value that the transaction itself has.
    Transaction,
    /// The expiration of the message before it became a dead letter.
    Expiration(&'v str),
}

/// Reads a header of Ergon. An unreadable one is treated like any other header.
fn own_header<'v>(name: &str, value: &'v AMQPValue) -> Option<Own<'v>> {
    match name {
        header::ID | header::PARENT | header::CORRELATION => text(value).map(|_| Own::Transaction),
        header::CREATED => integer(value).map(|_| Own::Transaction),
        header::EXPIRATION => text(value).map(Own::Expiration),
        _ => None,
    }
}

/// Returns the metadata key of a header: its name, with a prefix if the name could be mistaken for a property or a
/// header of Ergon.
fn key_of(name: &str) -> String {
    let taken = name.starts_with("amqp.") || header::READ.contains(&name);
    if taken { format!("{}{name}", key::HEADER) } else { name.to_owned() }
}

/// Returns the header of a metadata key; `None` for other metadata.
fn header_of(name: &str) -> Option<&str> {
    let header = name.strip_prefix(key::HEADER).or_else(|| (!name.starts_with("amqp.")).then_some(name));
    header.filter(|header| !is_the_brokers(header))
}

/// Returns whether the broker maintains a header, as a count or a history. The broker would take a copy for its own.
pub(super) fn is_the_brokers(name: &str) -> bool {
    ["x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count"]
        .iter()
        .any(|own| name.starts_with(own))
}

pub(super) fn text(value: &AMQPValue) -> Option<&str> {
    match value {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok(),
        AMQPValue::ShortString(text) => Some(text.as_str()),
        _ => None,
    }
}

pub(super) fn integer(value: &AMQPValue) -> Option<i64> {
    headers::json(value).0.as_i64()
}

/// Returns milliseconds since 1970; negative before it.
fn millis(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis),
    }
}

/// The config, and the user of the connection.
#[derive(Clone, Copy)]
pub(super) struct Publisher<'c> {
    pub(super) config: &'c RabbitMqConfig,
    pub(super) user: &'c str,
}

/// The direction of a published transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Journey {
    /// To its destination.
    On,
    /// To a dead-letter connector, with the reason.
    Refused,
    /// Back to its source.
    Back,
}

impl Journey {
    /// Returns the journey of a dispatched transaction.
    pub(super) fn of(transaction: &Transaction) -> Self {
        if transaction.metadata().get(ERROR).is_some() { Self::Refused } else { Self::On }
    }
}

/// Builds the properties and headers of a transaction's message.
pub(super) struct Properties<'t> {
    transaction: &'t Transaction,
    publisher: Publisher<'t>,
    journey: Journey,
    headers: FieldTable,
}

impl<'t> Properties<'t> {
    /// Reads the headers of a transaction.
    ///
    /// # Errors
    /// A name that is too long for a header.
    pub(super) fn new(
        transaction: &'t Transaction,
        publisher: Publisher<'t>,
        journey: Journey,
    ) -> Result<Self, ConnectorError> {
        Ok(Self { transaction, publisher, journey, headers: headers(transaction)? })
    }

    /// Returns the routing key of this transaction, if it has one.
    ///
    /// # Errors
    /// A routing key that is no text.
    pub(super) fn routing_key(&mut self) -> Result<Option<&'t str>, ConnectorError> {
        self.text(key::PUBLISH_ROUTING_KEY)
    }

    /// Makes the properties.
    ///
    /// # Errors
    /// A property that cannot be sent (too long, out of its range, of another type), or headers that exceed a frame.
    /// In a dead letter such a property becomes a header, so that it never prevents the dead letter.
    pub(super) fn make(mut self) -> Result<BasicProperties, ConnectorError> {
        let mut properties = BasicProperties::default()
            .with_message_id(self.message_id())
            .with_delivery_mode(self.delivery_mode()?)
            .with_timestamp(self.timestamp()?);
        let (content_type, encoding) = self.content()?;
        if let Some(content_type) = content_type {
            properties = properties.with_content_type(content_type);
        }
        if let Some(encoding) = encoding {
            properties = properties.with_content_encoding(encoding);
        }
        if let Some(reply_to) = self.short(key::REPLY_TO)? {
            properties = properties.with_reply_to(reply_to);
        }
        if let Some(kind) = self.short(key::TYPE)? {
            properties = properties.with_type(kind);
        }
        if let Some(app_id) = self.short(key::APP_ID)? {
            properties = properties.with_app_id(app_id);
        }
        if let Some(cluster_id) = self.short(key::CLUSTER_ID)? {
            properties = properties.with_cluster_id(cluster_id);
        }
        if let Some(correlation) = self.correlation_id()? {
            properties = properties.with_correlation_id(correlation);
        }
        if let Some(priority) = self.priority()? {
            properties = properties.with_priority(priority);
        }
        if let Some(expiration) = self.expiration()? {
            properties = properties.with_expiration(expiration);
        }
        if let Some(user) = self.user_id()? {
            properties = properties.with_user_id(user);
        }
        if let Some(parent) = self.transaction.parent_id() {
            self.say(header::PARENT, parent);
        }
        // A table of headers costs the broker a tenth of its time for a message. A message without headers therefore
        // keeps only the seconds of its timestamp.
        if !self.headers.inner().is_empty() {
            headers::check_size(self.transaction.id(), &self.headers)?;
            let created = millis(self.transaction.created_at());
            self.headers.insert(header::CREATED.into(), AMQPValue::LongLongInt(created));
            properties = properties.with_headers(self.headers);
        }
        Ok(properties)
    }

    /// Returns the message id of a transaction. If the id is too long, a hash of the id replaces it, and a header has
    /// the id itself.
    fn message_id(&mut self) -> ShortString {
        let id = self.transaction.id();
        ShortString::try_new(id).unwrap_or_else(|_| {
            self.say(header::ID, id);
            format!("{:016x}", FixedState::default().hash_one(id)).into()
        })
    }

    /// Returns the delivery mode of the received message. Without one, the config decides.
    fn delivery_mode(&mut self) -> Result<u8, ConnectorError> {
        let by_default = if self.publisher.config.publish.persistent { 2 } else { 1 };
        Ok(self.octet(key::DELIVERY_MODE, "1 or 2")?.unwrap_or(by_default))
    }

    fn timestamp(&mut self) -> Result<u64, ConnectorError> {
        let own = self.number(key::TIMESTAMP, u64::MAX, "a number of seconds since 1970")?;
        let created = self.transaction.created_at().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(own.unwrap_or(created.as_secs()))
    }

    /// Returns content type and encoding as received, if they still describe the payload; otherwise the type of the
    /// payload.
    fn content(&mut self) -> Result<(Option<ShortString>, Option<ShortString>), ConnectorError> {
        let payload = self.transaction.payload().content_type();
        let came = self.transaction.metadata().get(key::ROUTING_KEY).is_some();
        // A payload that goes back is unchanged, even if a file in between gave it another type.
        let as_it_came = self.journey == Journey::Back || !came;
        match self.text(key::CONTENT_TYPE)? {
            Some(own) if as_it_came || payload.is(own) => {
                Ok((self.short(key::CONTENT_TYPE)?, self.short(key::CONTENT_ENCODING)?))
            }
            None if came && (as_it_came || payload.is_json()) => {
                Ok((None, self.short(key::CONTENT_ENCODING)?))
            }
            None if !came => {
                Ok((Some(headers::short(payload.as_str())?), self.short(key::CONTENT_ENCODING)?))
            }
            _ => Ok((Some(headers::short(payload.as_str())?), None)),
        }
    }

    /// Returns the correlation id. The first transaction of a chain is its own correlation. A correlation id that was
    /// received in a property is sent in a property.
    fn correlation_id(&mut self) -> Result<Option<ShortString>, ConnectorError> {
        let correlation = self.transaction.correlation_id();
        if correlation == self.transaction.id() {
            return self.short(key::CORRELATION_ID);
        }
        if let Ok(short) = ShortString::try_new(correlation) {
            return Ok(Some(short));
        }
        self.say(header::CORRELATION, correlation);
        self.short(key::CORRELATION_ID)
    }

    fn priority(&mut self) -> Result<Option<u8>, ConnectorError> {
        let expected = "a number from 0 to 255";
        let set = self.octet(key::PUBLISH_PRIORITY, expected)?;
        let carried = self.octet(key::PRIORITY, expected)?;
        Ok(set.or(carried).or(self.publisher.config.publish.priority))
    }

    /// Returns the expiration. A dead letter waits for people, so a header keeps the time for its redrive. The broker
    /// does the same when it dead-letters a message.
    fn expiration(&mut self) -> Result<Option<ShortString>, ConnectorError> {
        let expected = format!("a number of milliseconds up to {LONGEST_EXPIRATION}");
        let set = self.number(key::PUBLISH_EXPIRATION, LONGEST_EXPIRATION, &expected)?;
        let carried = self.short(key::EXPIRATION)?;
        let fits = |text: &str| text.parse::<u64>().is_ok_and(|millis| millis <= LONGEST_EXPIRATION);
        let carried = match carried {
            Some(carried) if !fits(carried.as_str()) => {
                self.refuse(key::EXPIRATION, &format!("the text of {expected}"))?;
                None
            }
            Some(carried) if self.journey == Journey::Refused => {
                self.say(header::EXPIRATION, carried.as_str());
                None
            }
            carried => carried,
        };
        let by_default = self.publisher.config.publish.expiration.map(|time| time.as_millis().to_string());
        let set = set.map(|millis| millis.to_string().into()).or(carried);
        Ok(set.or_else(|| by_default.map(ShortString::from)))
    }

    /// Returns the user id. The broker accepts a user id only from that user. A header has any other user, and
    /// nothing checks it.
    fn user_id(&mut self) -> Result<Option<ShortString>, ConnectorError> {
        let own = match self.short(key::USER_ID)? {
            None => {
                self.transaction.metadata().text(header::USER).and_then(|own| ShortString::try_new(own).ok())
            }
            own => own,
        };
        let Some(own) = own else { return Ok(None) };
        if own.as_str() != self.publisher.user {
            self.say(header::USER, own.as_str());
            return Ok(None);
        }
        if self.headers.contains_key(header::USER) {
            let others = self.headers.into_iter().filter(|(name, _)| name.as_str() != header::USER);
            let others = others.map(|(name, value)| (name.clone(), value.clone()));
            self.headers = others.collect::<BTreeMap<_, _>>().into();
        }
        Ok(Some(own))
    }

    fn say(&mut self, header: &'static str, text: &str) {
        self.headers.insert(header.into(), AMQPValue::LongString(text.into()));
    }

    /// Returns the metadata value under a key; null counts as none.
    fn own(&self, key: &str) -> Option<&'t Value> {
        self.transaction.metadata().get(key).filter(|value| !value.is_null())
    }

    fn octet(&mut self, key: &'static str, expected: &str) -> Result<Option<u8>, ConnectorError> {
        Ok(self.number(key, u8::MAX.into(), expected)?.and_then(|number| u8::try_from(number).ok()))
    }

    fn number(
        &mut self,
        key: &'static str,
        most: u64,
        expected: &str,
    ) -> Result<Option<u64>, ConnectorError> {
        let Some(value) = self.own(key) else { return Ok(None) };
        match value.as_u64().filter(|number| *number <= most) {
            Some(number) => Ok(Some(number)),
            None => self.refuse(key, expected).map(|()| None),
        }
    }

    fn text(&mut self, key: &'static str) -> Result<Option<&'t str>, ConnectorError> {
        let Some(value) = self.own(key) else { return Ok(None) };
        match value.as_str() {
            Some(text) => Ok(Some(text)),
            None => self.refuse(key, "a text").map(|()| None),
        }
    }

    fn short(&mut self, key: &'static str) -> Result<Option<ShortString>, ConnectorError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        match ShortString::try_new(text) {
            Ok(short) => Ok(Some(short)),
            Err(_) => self.refuse(key, "a text of at most 255 bytes").map(|()| None),
        }
    }

    /// Makes the error for metadata that no property can hold. In a dead letter the value becomes a header instead.
    fn refuse(&mut self, key: &'static str, expected: &str) -> Result<(), ConnectorError> {
        let (id, value) = (self.transaction.id(), self.own(key).unwrap_or(&Value::Null));
        if self.journey == Journey::Refused
            && !key.starts_with(key::PUBLISH)
            && let Ok(field) = headers::field(value, None)
        {
            self.headers.insert(key.into(), field);
            return Ok(());
        }
        let shown: String = value.to_string().chars().take(80).collect();
        Err(ConnectorError::permanent(format!(
            "transaction `{id}`: its `{key}` is {shown}, expected {expected}"
        )))
    }
}

/// Makes the headers: all metadata except those that describe the message itself.
fn headers(transaction: &Transaction) -> Result<FieldTable, ConnectorError> {
    let (id, metadata) = (transaction.id(), transaction.metadata());
    let mut headers = FieldTable::default();
    let too_long = |headers::NameTooLong(length): headers::NameTooLong| {
        ConnectorError::permanent(format!(
            "transaction `{id}` has metadata with a name of {length} bytes, longer than the 255 of a header's"
        ))
    };
    let kinds = metadata.get(key::HEADER_TYPES);
    let came = metadata.get(key::ROUTING_KEY).is_some();
    for (key, value) in metadata.iter() {
        let Some(name) = header_of(key) else { continue };
        // The broker has already sent the copies that this header requests.
        let sent_as = if came && name == COPIES { header::COPIES } else { name };
        let short = headers::name(sent_as).map_err(too_long)?;
        let field = match value.as_str() {
            Some(error) if name == ERROR => AMQPValue::LongString(headers::shortened(error).into()),
            _ => headers::field(value, kinds.and_then(|kinds| kinds.get(name))).map_err(too_long)?,
        };
        headers.insert(short, field);
    }
    Ok(headers)
}
