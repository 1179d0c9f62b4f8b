//! Consumes queues of RabbitMQ, and publishes with confirms.
//!
//! The source has one long-lived subscription to each queue, and the prefetch is the only buffer. The id of a
//! transaction is the message id, or a hash of queue, body and headers. Deliveries that finish together are
//! acknowledged together. A dispatch of the sink returns when the broker has confirmed or returned each message. Many
//! messages can be in flight.
//!
//! Consuming and publishing have separate connections, because a broker with a memory alarm stops reading connections
//! that publish, and acknowledgements on such a connection would not arrive. The connector restores a lost connection
//! without a limit of attempts, with growing waits. The receipts of a lost connection are void, and the broker
//! redelivers every message without an acknowledgement.
//!
//! ```no_run
//! use ergon::connector::rabbitmq::RabbitMqConfig;
//! use ergon::connector::{Connector, ConnectorConfig, Context, FetchRequest, Sink, Source};
//! use ergon::prelude::*;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let config = RabbitMqConfig::new("amqp://localhost", "orders");
//! let orders = config.build(&Context::new("example", "orders"))?;
//! orders.open().await?;
//! orders.dispatch(vec![Transaction::new("order-1", &serde_json::json!({"sku": "A-1"}))?]).await?;
//!
//! let deliveries = orders.fetch(&FetchRequest::new(1).waiting()).await?;
//! assert_eq!(deliveries[0].transaction().id(), "order-1");
//! orders.close().await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! # Ok::<(), std::io::Error>(())
//! ```

mod acks;
mod config;
mod confirms;
mod connection;
mod consumer;
mod dead_letters;
mod error;
mod headers;
mod message;
mod properties;
mod publisher;
mod sink;
mod source;
#[cfg(test)]
mod tests;
mod topology;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::kit::Link;
use super::{Capabilities, Connector, ConnectorError, Context, Direction, Health, Shard};
use connection::{Address, Dial};
use consumer::{Consume, Consuming};
use properties::Publisher;
use publisher::{Publish, Publishing};

pub use config::{
    Binding, DeadLetter, Declare, Decode, Publish as PublishConfig, QueueKind, RabbitMqConfig, Subscription,
    Tls,
};

/// The time that `open` tries to reach the broker.
const OPEN_WITHIN: Duration = Duration::from_secs(25);

/// Keys of a transaction's metadata that describe the received message, or the message to publish. The headers of the
/// message are next to them under their own names.
///
/// A transaction that is published again (a dead letter, its redrive, a forwarded transaction) has the same
/// properties and headers, each of the same type. Exchange, routing key and the mark "redelivered" are those of the
/// new message.
pub mod key {
    /// The routing key of the message.
    pub const ROUTING_KEY: &str = "amqp.routing_key";
    /// The exchange of the message; empty for the default exchange.
    pub const EXCHANGE: &str = "amqp.exchange";
    /// True if it was delivered before.
    pub const REDELIVERED: &str = "amqp.redelivered";
    /// Its content type, with parameters, as the sender wrote it.
    pub const CONTENT_TYPE: &str = "amqp.content_type";
    /// Its content encoding.
    pub const CONTENT_ENCODING: &str = "amqp.content_encoding";
    /// The address for an answer.
    pub const REPLY_TO: &str = "amqp.reply_to";
    /// The sender's name for this kind of message.
    pub const TYPE: &str = "amqp.type";
    /// The program that sent it.
    pub const APP_ID: &str = "amqp.app_id";
    /// The user that sent it, checked by the broker.
    pub const USER_ID: &str = "amqp.user_id";
    /// The cluster id, a property of old brokers.
    pub const CLUSTER_ID: &str = "amqp.cluster_id";
    /// The expiration in milliseconds: the text of the property. In a dead letter, the expiration of the original
    /// message.
    pub const EXPIRATION: &str = "amqp.expiration";
    /// Its priority: 0 to 255.
    pub const PRIORITY: &str = "amqp.priority";
    /// Its delivery mode: 2 if the broker keeps the message on its disk, otherwise 1.
    pub const DELIVERY_MODE: &str = "amqp.delivery_mode";
    /// The time when it was sent: seconds since 1970, even if they are far from now.
    pub const TIMESTAMP: &str = "amqp.timestamp";
    /// Its correlation id, if the transaction does not have it: it is empty, or the same as the message id.
    pub const CORRELATION_ID: &str = "amqp.correlation_id";
    /// The types of header values that JSON cannot express: an object by the names of the headers.
    pub const HEADER_TYPES: &str = "amqp.header_types";
    /// The prefix for a header whose name is already used, such as one that begins with `amqp.`.
    pub const HEADER: &str = "amqp.header.";
    /// Publishing: the routing key of this transaction, instead of the config's.
    pub const PUBLISH_ROUTING_KEY: &str = "amqp.publish.routing_key";
    /// Publishing: the priority of this transaction, 0 to 255. It overrides the received priority and the priority of
    /// the config.
    pub const PUBLISH_PRIORITY: &str = "amqp.publish.priority";
    /// Publishing: the milliseconds that this transaction may wait in a queue. It overrides the received expiration and
    /// the expiration of the config.
    pub const PUBLISH_EXPIRATION: &str = "amqp.publish.expiration";
    /// The prefix of the keys for publishing.
    pub(super) const PUBLISH: &str = "amqp.publish.";
}

/// The connector of a [`RabbitMqConfig`]; a source and a sink.
pub struct RabbitMq {
    config: Arc<RabbitMqConfig>,
    dial: Dial,
    prefetch: u16,
    direction: Direction,
    shard: Shard,
    /// Whether the task has a dead-letter connector, so that no rejected message reaches the broker's dead-lettering.
    has_dead_letter: bool,
    /// The links of both sides. Each is made when its side is used first, or by `open` if the direction is known.
    consuming: OnceCell<Link<Consuming>>,
    publishing: OnceCell<Link<Publishing>>,
}

impl RabbitMq {
    fn new(config: RabbitMqConfig, address: Address, context: &Context) -> Self {
        let max_in_flight = u16::try_from(context.max_in_flight).unwrap_or(u16::MAX).max(1);
        Self {
            dial: Dial::new(&config, address, context.label()),
            prefetch: config.prefetch.unwrap_or(max_in_flight),
            direction: context.direction,
            shard: context.shard,
            has_dead_letter: context.has_dead_letter,
            config: Arc::new(config),
            consuming: OnceCell::new(),
            publishing: OnceCell::new(),
        }
    }

    /// Returns the values that publishing needs.
    fn publisher(&self) -> Publisher<'_> {
        Publisher { config: &self.config, user: self.dial.address.username() }
    }

    async fn consuming(&self) -> Result<&Link<Consuming>, ConnectorError> {
        let open = || {
            let (dial, config) = (self.dial.clone(), Arc::clone(&self.config));
            Link::open(
                Consume { dial, config, prefetch: self.prefetch, direction: self.direction },
                OPEN_WITHIN,
            )
        };
        self.consuming.get_or_try_init(open).await
    }

    async fn publishing(&self) -> Result<&Link<Publishing>, ConnectorError> {
        let open = || {
            let (dial, config) = (self.dial.clone(), Arc::clone(&self.config));
            Link::open(Publish { dial, config, direction: self.direction }, OPEN_WITHIN)
        };
        self.publishing.get_or_try_init(open).await
    }

    /// Warns of queues whose rejected messages the broker discards.
    fn warn_of_loss(&self) {
        if self.config.passive || self.has_dead_letter {
            return;
        }
        let by_argument = |name: &str| name == "x-dead-letter-exchange";
        for (queue, declare) in self.config.queues() {
            if declare.dead_letter.is_none() && !declare.arguments.keys().any(|name| by_argument(name)) {
                tracing::warn!(
                    queue,
                    "rejected messages are lost: the queue has no dead-letter exchange (`declare.dead_letter`), and the \
                     task names no `dead_letter` connector"
                );
            }
        }
    }
}

impl Connector for RabbitMq {
    const KIND: &'static str = "rabbitmq";

    async fn open(&self) -> Result<(), ConnectorError> {
        match self.direction {
            Direction::Source => {
                self.warn_of_loss();
                self.consuming().await.map(drop)
            }
            // For a connector with both roles, this proves that the broker is reachable and accepts the login.
            Direction::Sink | Direction::Any => self.publishing().await.map(drop),
        }
    }

    async fn close(&self) -> Result<(), ConnectorError> {
        if let Some(link) = self.publishing.get() {
            link.close().await;
        }
        if let Some(link) = self.consuming.get() {
            link.close().await;
        }
        Ok(())
    }

    /// Tries once, because `check` asks for the present state. It fetches nothing from a queue, because each message
    /// that is fetched and given back counts one delivery more.
    async fn check(&self) -> Result<(), ConnectorError> {
        if self.direction == Direction::Source {
            self.warn_of_loss();
        }
        let wire = self.dial.connect("check").await?;
        let declaring = topology::declare(&self.config, &self.dial, &wire, self.direction);
        let declared = timeout(self.dial.within, declaring).await;
        wire.leave(self.dial.within).await;
        declared.unwrap_or_else(|_| Err(self.dial.no_answer()))
    }

    fn health(&self) -> Health {
        let consuming = self.consuming.get().map_or(Health::Healthy, Link::health);
        match (consuming, self.publishing.get()) {
            (Health::Healthy, Some(publishing)) => publishing.health(),
            (consuming, _) => consuming,
        }
    }

    fn capabilities(&self) -> Capabilities<'_> {
        let offered = if self.config.queues().next().is_some() {
            Capabilities::none().count(self)
        } else {
            Capabilities::none()
        };
        // Both capabilities are always offered, because they report a missing queue themselves.
        offered.dead_letters(self).redrive(self)
    }
}

impl fmt::Debug for RabbitMq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitMq").field("config", &self.config).finish_non_exhaustive()
    }
}
