//! The config of the RabbitMQ connector: where the broker is, what is consumed, where to publish.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::connection::Address;
use super::{RabbitMq, topology};
use crate::connector::{ConnectorConfig, ConnectorError, Context};
use crate::policy::duration::Span;
use crate::settings::ByteSize;
use crate::settings::FilePath;

/// Makes a [`RabbitMq`] connector: a source of the queues it subscribes to, and a sink that publishes with confirms.
///
/// Where the broker is stands in `url`, or in `host`, `port`, `username`, `password` and `vhost`; never in both.
///
/// ```
/// use ergon::connector::rabbitmq::{QueueKind, RabbitMqConfig};
///
/// let config: RabbitMqConfig = serde_json::from_str(
///     r#"{
///         "url": "amqp://guest:guest@localhost",
///         "queue": "orders",
///         "declare": { "kind": "quorum", "dead_letter": { "queue": "orders.dead" } },
///         "publish": { "routing_key": "receipts" }
///     }"#,
/// )?;
/// assert_eq!(config.declare.kind, QueueKind::Quorum);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RabbitMqConfig {
    /// `amqp://user:password@host:port/vhost`, or `amqps://` for TLS; special characters percent-encoded. A secret,
    /// as it may hold a password.
    #[serde(default)]
    pub url: Option<SecretString>,
    /// The broker's host. Default: `localhost`.
    #[serde(default)]
    pub host: Option<String>,
    /// Its port. Default: 5672, with TLS 5671.
    #[serde(default)]
    pub port: Option<u16>,
    /// Who connects. Default: `guest`.
    #[serde(default)]
    pub username: Option<String>,
    /// The password, with any character. Default: `guest`.
    #[serde(default)]
    pub password: Option<SecretString>,
    /// The virtual host. Default: `/`.
    #[serde(default)]
    pub vhost: Option<String>,
    /// Encrypts the connection and verifies the broker's certificate; `{}` is enough. Default: none, unless the URL
    /// says `amqps`.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// The queue to consume; a sink that names neither an exchange nor a routing key publishes to it.
    #[serde(default)]
    pub queue: Option<String>,
    /// Further queues to consume through the same connector. Default: none.
    #[serde(default)]
    pub subscriptions: Vec<Subscription>,
    /// How `queue` is declared when the connector opens. Default: durable, classic.
    #[serde(default)]
    pub declare: Declare,
    /// Declares nothing: what is named must be there. Default: false.
    #[serde(default)]
    pub passive: bool,
    /// How many messages of each queue may be handed out and not settled. Default: the task's `concurrency` and
    /// `prefetch` together, or with `mode = "batch"` its `batch_size`.
    #[serde(default)]
    pub prefetch: Option<u16>,
    /// How bodies are read: as their content type says, or as JSON whatever it says. Default: `content_type`.
    #[serde(default)]
    pub decode: Decode,
    /// How often both sides show that they live; a broker silent for twice as long is taken for lost. Whole seconds.
    /// Default: 10s.
    #[serde(default = "heartbeat", deserialize_with = "duration")]
    pub heartbeat: Duration,
    /// How long connecting, declaring and subscribing may take, each. Default: 10s.
    #[serde(default = "connect_timeout", deserialize_with = "duration")]
    pub connect_timeout: Duration,
    /// How transactions are published.
    #[serde(default)]
    pub publish: Publish,
}

/// How the bodies of messages are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decode {
    /// As their content type says; without one, as JSON. A type that is neither JSON nor text is bytes.
    #[default]
    ContentType,
    /// As JSON, whatever their content type says. It is kept, and goes out again with the transaction.
    Json,
}

/// A further queue of a connector; see [`RabbitMqConfig::subscriptions`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscription {
    /// The queue.
    pub queue: String,
    /// How it is declared. Default: durable, classic.
    #[serde(default)]
    pub declare: Declare,
}

/// How a queue is declared.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Declare {
    /// Survives a restart of the broker. Default: true.
    pub durable: bool,
    /// `classic` or `quorum`. Default: classic.
    pub kind: QueueKind,
    /// Where the broker puts what is rejected, has expired, or was delivered too often. Default: nowhere, it is gone.
    pub dead_letter: Option<DeadLetter>,
    /// Quorum queues: how often a message is delivered before the broker dead-letters it. Default: the broker's.
    pub delivery_limit: Option<u32>,
    /// Classic queues: lets messages have priorities from 0 to this. Default: none.
    pub max_priority: Option<u8>,
    /// How long a message may wait before it expires. Default: for ever.
    #[serde(deserialize_with = "some_duration")]
    pub message_ttl: Option<Duration>,
    /// Further arguments of the queue, as RabbitMQ names them: `x-max-length`, …
    pub arguments: BTreeMap<String, Value>,
    /// The exchanges that the queue is bound to. Default: none; the default exchange reaches it by its name.
    pub bindings: Vec<Binding>,
}

/// The kind of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueueKind {
    /// Kept by one node.
    #[default]
    Classic,
    /// Kept by several nodes, which agree on each change; counts deliveries.
    Quorum,
}

/// Where a queue's dead letters go: to a queue, or to an exchange.
///
/// A quorum queue keeps a dead letter until the other side has it. A classic queue sends it on once: a broker that dies
/// at that moment may lose it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadLetter {
    /// The queue; declared like the one it serves, durable and of the same kind. Default: none, but an exchange.
    #[serde(default)]
    pub queue: Option<String>,
    /// The exchange; it must be there. Default: the default exchange.
    #[serde(default)]
    pub exchange: String,
    /// The routing key. Default: that of the message.
    #[serde(default)]
    pub routing_key: Option<String>,
}

/// A binding of a queue to an exchange.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// The exchange.
    pub exchange: String,
    /// Declares the exchange, durable, of this kind: `direct`, `fanout`, `topic`, `headers` or a plugin's. Default: it
    /// must be there.
    #[serde(default)]
    pub kind: Option<String>,
    /// The routing keys or patterns. Default: the empty key, all that a fanout exchange needs.
    #[serde(default)]
    pub routing_keys: Vec<String>,
    /// Arguments of the binding, for a headers exchange: `{"x-match": "all", "region": "EU"}`.
    #[serde(default)]
    pub arguments: BTreeMap<String, Value>,
}

/// How transactions are published.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Publish {
    /// The exchange. Default: the default exchange, which routes by the queue's name.
    pub exchange: String,
    /// Declares the exchange, durable, of this kind. Default: it must be there.
    pub kind: Option<String>,
    /// The routing key. Default: the connector's `queue`. A transaction that has the metadata
    /// [`key::PUBLISH_ROUTING_KEY`](super::key::PUBLISH_ROUTING_KEY) goes there instead.
    pub routing_key: Option<String>,
    /// The broker writes messages to its disk. Default: true.
    pub persistent: bool,
    /// A message that no queue takes is an error. Default: true.
    pub mandatory: bool,
    /// The priority of messages. Default: none.
    pub priority: Option<u8>,
    /// How long a message may wait in a queue before it expires. Default: for ever.
    #[serde(deserialize_with = "some_duration")]
    pub expiration: Option<Duration>,
    /// How long the broker may take to confirm. Default: 10s.
    #[serde(deserialize_with = "duration")]
    pub confirm_timeout: Duration,
    /// A message of more bytes is refused before it is sent. Default: 128MiB, the limit of the broker.
    pub max_message: ByteSize,
}

/// What an encrypted connection needs beside the certificates that the system trusts.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the authorities that may have signed the broker's certificate, beside those of the system.
    #[serde(default)]
    pub ca_file: Option<FilePath>,
    /// PEM file with our certificate, where the broker asks for one.
    #[serde(default)]
    pub cert_file: Option<FilePath>,
    /// PEM file with its private key (PKCS#8).
    #[serde(default)]
    pub key_file: Option<FilePath>,
}

impl Default for Declare {
    fn default() -> Self {
        Self {
            durable: true,
            kind: QueueKind::default(),
            dead_letter: None,
            delivery_limit: None,
            max_priority: None,
            message_ttl: None,
            arguments: BTreeMap::new(),
            bindings: Vec::new(),
        }
    }
}

impl Default for Publish {
    fn default() -> Self {
        Self {
            exchange: String::new(),
            kind: None,
            routing_key: None,
            persistent: true,
            mandatory: true,
            priority: None,
            expiration: None,
            confirm_timeout: Duration::from_secs(10),
            max_message: ByteSize::mib(128),
        }
    }
}

impl Default for RabbitMqConfig {
    fn default() -> Self {
        Self {
            url: None,
            host: None,
            port: None,
            username: None,
            password: None,
            vhost: None,
            tls: None,
            queue: None,
            subscriptions: Vec::new(),
            declare: Declare::default(),
            passive: false,
            prefetch: None,
            decode: Decode::default(),
            heartbeat: heartbeat(),
            connect_timeout: connect_timeout(),
            publish: Publish::default(),
        }
    }
}

impl RabbitMqConfig {
    /// Names broker and queue; everything else is as by default.
    pub fn new(url: impl Into<String>, queue: impl Into<String>) -> Self {
        Self { url: Some(SecretString::from(url.into())), queue: Some(queue.into()), ..Self::default() }
    }

    /// All queues that are consumed, and how they are declared.
    pub(super) fn queues(&self) -> impl Iterator<Item = (&str, &Declare)> + Clone {
        let first = self.queue.as_deref().map(|queue| (queue, &self.declare));
        first.into_iter().chain(self.subscriptions.iter().map(|more| (more.queue.as_str(), &more.declare)))
    }

    /// Where a message goes that says nothing else.
    pub(super) fn routing_key(&self) -> Option<&str> {
        let by_name = self.publish.exchange.is_empty().then_some(self.queue.as_deref()).flatten();
        self.publish.routing_key.as_deref().or(by_name)
    }
}

impl ConnectorConfig for RabbitMqConfig {
    type Connector = RabbitMq;

    fn build(&self, context: &Context) -> Result<RabbitMq, ConnectorError> {
        let address = Address::of(self)?;
        topology::check(self, context)?;
        Ok(RabbitMq::new(self.clone(), address, context))
    }
}

const fn heartbeat() -> Duration {
    Duration::from_secs(10)
}

const fn connect_timeout() -> Duration {
    Duration::from_secs(10)
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Span::deserialize(deserializer).map(|span| span.0)
}

fn some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}
