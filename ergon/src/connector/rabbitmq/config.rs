//! Configures the RabbitMQ connector: the broker, the queues to consume, and the destination of published messages.

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
/// The address of the broker is in `url`, or in `host`, `port`, `username`, `password` and `vhost`, never in both.
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
    /// The address `amqp://user:password@host:port/vhost`, or `amqps://` for TLS; special characters percent-encoded.
    /// A secret, because it may hold a password.
    #[serde(default)]
    pub url: Option<SecretString>,
    /// The host of the broker. Default: `localhost`.
    #[serde(default)]
    pub host: Option<String>,
    /// The port of the broker. Default: 5672, with TLS 5671.
    #[serde(default)]
    pub port: Option<u16>,
    /// The user. Default: `guest`.
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
    /// Declares nothing: the named queues and exchanges must exist. Default: false.
    #[serde(default)]
    pub passive: bool,
    /// The number of unsettled messages of each queue that this worker may have; 0 is no limit. Default: the task's
    /// `concurrency` and `prefetch` together, or with `mode = "batch"` its `batch_size`.
    #[serde(default)]
    pub prefetch: Option<u16>,
    /// How bodies are read: by their content type, or always as JSON. Default: `content_type`.
    #[serde(default)]
    pub decode: Decode,
    /// The interval of heartbeats, in whole seconds. A broker that is silent for two intervals counts as lost.
    /// Default: 10s.
    #[serde(default = "heartbeat", deserialize_with = "duration")]
    pub heartbeat: Duration,
    /// The time limit for connecting, and for declaring and subscribing together. Default: 10s.
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
    /// By their content type; without one, as JSON. A type that is neither JSON nor text is bytes.
    #[default]
    ContentType,
    /// Always as JSON. The content type is kept, and goes out again with the transaction.
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
    /// The target for messages that are rejected, have expired, or were delivered too often. Default: none, and the
    /// broker discards them.
    pub dead_letter: Option<DeadLetter>,
    /// Quorum queues: how often a message is delivered again before the broker dead-letters it. Default: the
    /// broker's.
    pub delivery_limit: Option<u32>,
    /// Classic queues: the highest priority of a message. Default: no priorities.
    pub max_priority: Option<u8>,
    /// How long a message may wait before it expires. Default: for ever.
    #[serde(deserialize_with = "some_duration")]
    pub message_ttl: Option<Duration>,
    /// Further arguments of the queue, as RabbitMQ names them: `x-max-length`, …
    pub arguments: BTreeMap<String, Value>,
    /// The exchanges that the queue is bound to. Default: none, because the default exchange reaches the queue by its
    /// name.
    pub bindings: Vec<Binding>,
}

/// The kind of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueueKind {
    /// Kept by one node. The queue is unavailable while that node is down.
    #[default]
    Classic,
    /// Kept by several nodes, which agree on each change; counts deliveries.
    Quorum,
}

/// The target of a queue's dead letters: a queue, or an exchange.
///
/// A quorum queue keeps a dead letter until the target has it. A classic queue sends it once, and it is lost if the
/// broker dies at that moment.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadLetter {
    /// The queue, declared with the same durability and kind as the queue that it serves. Default: none, but an
    /// exchange.
    #[serde(default)]
    pub queue: Option<String>,
    /// The exchange, which must exist. Default: the default exchange.
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
    /// Declares the exchange, durable, of this kind: `direct`, `fanout`, `topic`, `headers` or a plugin's. Default:
    /// the exchange must exist.
    #[serde(default)]
    pub kind: Option<String>,
    /// The routing keys or patterns. Default: the empty key, which is enough for a fanout exchange.
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
    /// The exchange. Default: the default exchange, which routes by the name of the queue.
    pub exchange: String,
    /// Declares the exchange, durable, of this kind. Default: the exchange must exist.
    pub kind: Option<String>,
    /// The routing key. Default: the connector's `queue`. The metadata
    /// [`key::PUBLISH_ROUTING_KEY`](super::key::PUBLISH_ROUTING_KEY) of a transaction overrides it.
    pub routing_key: Option<String>,
    /// Whether a message without its own delivery mode is written to the broker's disk. Default: true.
    pub persistent: bool,
    /// Whether a message that no queue accepts is an error. Otherwise the broker confirms and discards it. Default:
    /// true.
    pub mandatory: bool,
    /// The priority of messages that have none. Default: none.
    pub priority: Option<u8>,
    /// How long a message may wait in a queue before it expires. Default: for ever.
    #[serde(deserialize_with = "some_duration")]
    pub expiration: Option<Duration>,
    /// The time limit of a dispatch, reconnecting included. Default: 10s.
    #[serde(deserialize_with = "duration")]
    pub confirm_timeout: Duration,
    /// The limit for the bytes of a message. The dispatch of a larger message fails, and sends nothing. Default:
    /// 128MiB, the limit of the broker.
    pub max_message: ByteSize,
}

/// The files of an encrypted connection, in addition to the certificates of the system.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file with further authorities that may have signed the broker's certificate.
    #[serde(default)]
    pub ca_file: Option<FilePath>,
    /// PEM file with the client's certificate, if the broker asks for one.
    #[serde(default)]
    pub cert_file: Option<FilePath>,
    /// PEM file with the private key of that certificate (PKCS#8).
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
    /// Names the broker and the queue; all else has its default.
    pub fn new(url: impl Into<String>, queue: impl Into<String>) -> Self {
        Self { url: Some(SecretString::from(url.into())), queue: Some(queue.into()), ..Self::default() }
    }

    /// Returns the consumed queues and their declarations.
    pub(super) fn queues(&self) -> impl Iterator<Item = (&str, &Declare)> + Clone {
        let first = self.queue.as_deref().map(|queue| (queue, &self.declare));
        first.into_iter().chain(self.subscriptions.iter().map(|more| (more.queue.as_str(), &more.declare)))
    }

    /// Returns the default routing key.
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
