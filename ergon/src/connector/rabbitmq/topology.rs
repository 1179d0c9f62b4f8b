//! Declares and checks queues, exchanges and bindings when a connection is made, and names them as the endpoints of a
//! connector.

use std::collections::BTreeMap;
use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Error, ExchangeKind};
use serde_json::Value;

use super::connection::{Dial, Wire};
use super::headers::short;
use super::{Binding, DeadLetter, Declare, QueueKind, RabbitMq, RabbitMqConfig, error, headers, properties};
use crate::connector::{ConnectorError, Context, Direction, Endpoint};

/// Checks the config without a broker: there must be a queue to consume or a place to publish to, and the names must
/// fit.
///
/// # Errors
/// A key that is missing or too long.
pub(super) fn check(config: &RabbitMqConfig, context: &Context) -> Result<(), ConnectorError> {
    let has_queue = config.queues().next().is_some();
    if context.direction == Direction::Source && !has_queue {
        return Err(ConnectorError::permanent("no queue to consume")
            .with_hint("set `queue`, or `subscriptions` for several"));
    }
    if config.routing_key().is_none()
        && config.publish.exchange.is_empty()
        && context.direction == Direction::Sink
    {
        return Err(ConnectorError::permanent("nowhere to publish to")
            .with_hint("set `queue`, `publish.routing_key` or `publish.exchange`"));
    }
    let bindings = config.queues().flat_map(|(_, declare)| &declare.bindings);
    let keys = bindings.clone().flat_map(|binding| &binding.routing_keys);
    let exchanges = bindings.map(|binding| &binding.exchange).chain([&config.publish.exchange]);
    let dead_letters = config.queues().filter_map(|(_, declare)| declare.dead_letter.as_ref());
    let dead_letters =
        dead_letters.flat_map(|to| [to.queue.as_ref(), Some(&to.exchange), to.routing_key.as_ref()]);
    let names = config.queues().map(|(queue, _)| queue).chain(dead_letters.flatten().map(String::as_str));
    let names = names.chain(exchanges.chain(keys).map(String::as_str)).chain(config.routing_key());
    for name in names {
        short(name)?;
    }
    let of_bindings = config.queues().flat_map(|(_, declare)| &declare.bindings);
    let arguments = of_bindings.flat_map(|binding| &binding.arguments);
    for (name, value) in config.queues().flat_map(|(_, declare)| &declare.arguments).chain(arguments) {
        argument(name, value).map_err(|headers::NameTooLong(size)| {
            ConnectorError::permanent(format!(
                "an argument has a name of {size} bytes; a name has at most 255"
            ))
        })?;
    }
    let longest = Duration::from_millis(properties::LONGEST_EXPIRATION);
    if config.publish.expiration.is_some_and(|expiration| expiration > longest) {
        let longest = humantime::format_duration(longest);
        let what =
            format!("`publish.expiration` is longer than {longest}, the longest that RabbitMQ accepts");
        return Err(ConnectorError::permanent(what).with_hint("remove it for messages that never expire"));
    }
    config.queues().try_for_each(|(queue, declare)| fits(queue, declare))
}

/// Checks that the queue's kind supports its declaration.
fn fits(queue: &str, declare: &Declare) -> Result<(), ConnectorError> {
    let wrong = |what: &str, hint: &str| {
        Err(ConnectorError::permanent(format!("queue `{queue}`: {what}")).with_hint(hint))
    };
    match declare.kind {
        QueueKind::Quorum if declare.max_priority.is_some() => {
            wrong("a quorum queue has no priorities", "remove `max_priority`, or set `kind = \"classic\"`")
        }
        QueueKind::Quorum if !declare.durable => {
            wrong("a quorum queue is always durable", "remove `durable`, or set `kind = \"classic\"`")
        }
        QueueKind::Classic if declare.delivery_limit.is_some() => wrong(
            "a classic queue does not count deliveries",
            "remove `delivery_limit`, or set `kind = \"quorum\"`",
        ),
        _ => declare.dead_letter.as_ref().map_or(Ok(()), |dead_letter| leads_somewhere(queue, dead_letter)),
    }
}

/// Checks that dead letters go to one place, and not back to their own queue.
fn leads_somewhere(queue: &str, dead_letter: &DeadLetter) -> Result<(), ConnectorError> {
    let DeadLetter { queue: to, exchange, routing_key } = dead_letter;
    let wrong = |what: &str, hint: &str| {
        Err(ConnectorError::permanent(format!("queue `{queue}`: `dead_letter` {what}")).with_hint(hint))
    };
    match (to, exchange.is_empty()) {
        (Some(_), true) if routing_key.is_some() => {
            wrong("names a queue and a routing key", "the queue's name is its routing key: set one of them")
        }
        (Some(_), false) => {
            wrong("names a queue and an exchange", "set `queue`, or `exchange` and bind a queue to it")
        }
        (Some(to), true) if to == queue => wrong("names the queue itself", "name another queue"),
        (None, true) if routing_key.is_none() => {
            wrong("leads back to the queue itself", "set `queue = \"...\"`, or `exchange`")
        }
        _ => Ok(()),
    }
}

/// Declares the queues, exchanges and bindings of the config, on a separate channel, because the broker closes a
/// channel whose declaration it refuses.
///
/// # Errors
/// A refusal in the words of the broker: the argument, its value and the expected value.
pub(super) async fn declare(
    config: &RabbitMqConfig,
    dial: &Dial,
    wire: &Wire,
    direction: Direction,
) -> Result<(), ConnectorError> {
    let failed = |what: String| move |error: Error| error::failed(&what, &dial.address, &error);
    let channel = wire.channel().await.map_err(failed("open a channel".to_owned()))?;
    let publish = &config.publish;
    if direction != Direction::Source && !publish.exchange.is_empty() {
        let declared = exchange(&channel, &publish.exchange, publish.kind.as_deref(), config.passive).await;
        declared.map_err(failed(format!("exchange `{}`", publish.exchange)))?;
    }
    for (name, how) in config.queues().filter(|_| !config.passive) {
        if let Some(dead_letter) = &how.dead_letter {
            let what = format!("dead letters of queue `{name}`");
            self::dead_letter(&channel, dead_letter, how).await.map_err(failed(what))?;
        }
    }
    for (name, how) in config.queues() {
        queue(&channel, name, how, config.passive).await.map_err(failed(format!("queue `{name}`")))?;
        for binding in how.bindings.iter().filter(|_| !config.passive) {
            let what = format!("exchange `{}` of queue `{name}`", binding.exchange);
            bind(&channel, name, binding).await.map_err(failed(what))?;
        }
    }
    // The channel is no longer needed, so an error of its close does not matter.
    let _ = channel.close(200, "done".into()).await;
    Ok(())
}

async fn queue(channel: &Channel, name: &str, how: &Declare, passive: bool) -> Result<(), Error> {
    let options = QueueDeclareOptions { passive, durable: how.durable, ..QueueDeclareOptions::default() };
    let arguments = if passive { FieldTable::default() } else { arguments(how) };
    channel.queue_declare(name.into(), options, arguments).await.map(drop)
}

/// Declares or checks the target of dead letters, because a broker discards messages without a target.
async fn dead_letter(channel: &Channel, dead_letter: &DeadLetter, of: &Declare) -> Result<(), Error> {
    let DeadLetter { queue: to, exchange: through, routing_key } = dead_letter;
    match (to, routing_key) {
        (Some(to), _) => {
            let like = Declare { durable: of.durable, kind: of.kind, ..Declare::default() };
            queue(channel, to, &like, false).await
        }
        (None, _) if !through.is_empty() => exchange(channel, through, None, true).await,
        (None, Some(key)) => queue(channel, key, &Declare::default(), true).await,
        (None, None) => Ok(()),
    }
}

async fn exchange(channel: &Channel, name: &str, kind: Option<&str>, passive: bool) -> Result<(), Error> {
    let passive = passive || kind.is_none();
    let kind = match kind.unwrap_or_default() {
        "" | "direct" => ExchangeKind::Direct,
        "fanout" => ExchangeKind::Fanout,
        "topic" => ExchangeKind::Topic,
        "headers" => ExchangeKind::Headers,
        other => ExchangeKind::Custom(other.to_owned()),
    };
    let options = ExchangeDeclareOptions { passive, durable: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(name.into(), kind, options, FieldTable::default()).await
}

async fn bind(channel: &Channel, queue: &str, binding: &Binding) -> Result<(), Error> {
    exchange(channel, &binding.exchange, binding.kind.as_deref(), false).await?;
    let all = [String::new()];
    let keys = if binding.routing_keys.is_empty() { all.as_slice() } else { &binding.routing_keys };
    for key in keys {
        let arguments = table(&binding.arguments);
        let (exchange, key) = (binding.exchange.as_str().into(), key.as_str().into());
        channel.queue_bind(queue.into(), exchange, key, QueueBindOptions::default(), arguments).await?;
    }
    Ok(())
}

/// Makes the arguments of a queue, as RabbitMQ names them.
fn arguments(how: &Declare) -> FieldTable {
    let mut all = FieldTable::default();
    let mut set = |name: &str, value: AMQPValue| {
        all.insert(name.into(), value);
    };
    if how.kind == QueueKind::Quorum {
        set("x-queue-type", AMQPValue::LongString("quorum".into()));
    }
    if let Some(dead_letter) = &how.dead_letter {
        set("x-dead-letter-exchange", AMQPValue::LongString(dead_letter.exchange.as_str().into()));
        if let Some(key) = dead_letter.queue.as_ref().or(dead_letter.routing_key.as_ref()) {
            set("x-dead-letter-routing-key", AMQPValue::LongString(key.as_str().into()));
        }
        if how.kind == QueueKind::Quorum {
            // Otherwise the broker sends a dead letter once and forgets it, even if nothing accepted it.
            set("x-dead-letter-strategy", AMQPValue::LongString("at-least-once".into()));
            set("x-overflow", AMQPValue::LongString("reject-publish".into()));
        }
    }
    if let Some(limit) = how.delivery_limit {
        set("x-delivery-limit", AMQPValue::LongLongInt(limit.into()));
    }
    if let Some(priority) = how.max_priority {
        set("x-max-priority", AMQPValue::LongInt(priority.into()));
    }
    if let Some(ttl) = how.message_ttl {
        let millis = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        set("x-message-ttl", AMQPValue::LongLongInt(millis));
    }
    // Arguments in RabbitMQ's own names override all others.
    for (name, value) in &table(&how.arguments) {
        all.insert(name.clone(), value.clone());
    }
    all
}

/// Converts arguments for RabbitMQ. The check at the start has refused every argument that cannot be converted.
fn table(values: &BTreeMap<String, Value>) -> FieldTable {
    let arguments = values.iter().filter_map(|(name, value)| argument(name, value).ok());
    arguments.collect::<BTreeMap<_, _>>().into()
}

fn argument(name: &str, value: &Value) -> Result<(ShortString, AMQPValue), headers::NameTooLong> {
    Ok((headers::name(name)?, headers::field(value, None)?))
}

impl RabbitMq {
    /// Returns the consumed queues.
    pub(super) fn consumed(&self) -> Vec<Endpoint> {
        self.config.queues().map(|(queue, _)| self.place(queue)).collect()
    }

    /// Returns the default destination: a queue if it is known, otherwise an exchange.
    pub(super) fn published_to(&self) -> Vec<Endpoint> {
        let (exchange, key) = (&self.config.publish.exchange, self.config.routing_key());
        if exchange.is_empty() {
            // The default exchange reads the key as the name of a queue.
            return key.map(|queue| self.place(queue)).into_iter().collect();
        }
        let queues = self.config.queues().filter(|_| !self.config.passive);
        let bound =
            queues.filter(|(_, declare)| declare.bindings.iter().any(|binding| self.reaches(binding)));
        let bound: Vec<Endpoint> = bound.map(|(queue, _)| self.place(queue)).collect();
        if !bound.is_empty() {
            return bound;
        }
        let name = match key {
            Some(key) => format!("{exchange} / {key}"),
            None => format!("exchange {exchange}"),
        };
        vec![self.place(&name)]
    }

    /// Returns whether a declared binding certainly routes the connector's messages.
    fn reaches(&self, binding: &Binding) -> bool {
        let publish = &self.config.publish;
        if binding.exchange != publish.exchange {
            return false;
        }
        let key = self.config.routing_key().unwrap_or_default();
        let bound_by_key = match binding.routing_keys.as_slice() {
            [] => key.is_empty(),
            keys => keys.iter().any(|bound| bound == key),
        };
        match binding.kind.as_deref().or(publish.kind.as_deref()) {
            Some("fanout") => true,
            Some("direct" | "topic") | None => bound_by_key,
            Some(_) => false,
        }
    }

    fn place(&self, name: &str) -> Endpoint {
        Endpoint::new(name).within(self.dial.address.to_string())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::connector::rabbitmq::RabbitMqConfig;
    use crate::connector::{ConnectorConfig, Context, Sink, Source};

    fn connector(config: Value) -> RabbitMq {
        let config: RabbitMqConfig = serde_json::from_value(config).unwrap();
        config.build(&Context::new("task", "slot")).unwrap()
    }

    fn reads_from(config: Value) -> Vec<Endpoint> {
        connector(config).reads_from()
    }

    fn writes_to(config: Value) -> Vec<Endpoint> {
        connector(config).writes_to()
    }

    fn names(places: &[Endpoint]) -> Vec<&str> {
        places.iter().map(Endpoint::name).collect()
    }

    #[test]
    fn each_queue_that_is_consumed_is_a_place() {
        let two = json!({"queue": "orders", "subscriptions": [{"queue": "returns"}]});
        assert_eq!(names(&reads_from(two)), ["orders", "returns"]);
        assert!(reads_from(json!({"publish": {"exchange": "shop"}})).is_empty());
    }

    #[test]
    fn who_publishes_over_the_default_exchange_meets_who_consumes_the_queue() {
        let consumed = reads_from(json!({"url": "amqp://me:s3cret@localhost", "queue": "orders"}));
        let url = "amqp://other:pa55word@localhost:5672";
        assert_eq!(writes_to(json!({"url": url, "queue": "orders"})), consumed);
        let by_key = json!({"url": url, "queue": "else", "publish": {"routing_key": "orders"}});
        assert_eq!(writes_to(by_key), consumed);
        assert_eq!(writes_to(json!({"host": "localhost", "queue": "orders"})), consumed);
    }

    #[test]
    fn a_queue_of_another_broker_or_virtual_host_is_another_place() {
        let here = reads_from(json!({"url": "amqp://localhost", "queue": "orders"}));
        for url in ["amqp://broker.example", "amqp://localhost/sales", "amqp://localhost:5673"] {
            let there = writes_to(json!({"url": url, "queue": "orders"}));
            assert_eq!(names(&there), names(&here));
            assert_ne!(there, here, "{url}");
        }
    }

    #[test]
    fn an_exchange_is_known_by_its_name_and_the_key() {
        let publish = |publish: Value| writes_to(json!({"queue": "in", "publish": publish}));
        let keyed = publish(json!({"exchange": "shop", "routing_key": "order.new"}));
        assert_eq!(names(&keyed), ["shop / order.new"]);
        let bare = publish(json!({"exchange": "orders"}));
        assert_eq!(names(&bare), ["exchange orders"]);
        assert_ne!(bare, reads_from(json!({"queue": "orders"})), "a queue may be called like an exchange");
    }

    #[test]
    fn where_the_connector_binds_its_queue_to_the_exchange_the_queue_is_the_place() {
        let bound = |kind: &str, keys: Value, passive: bool| {
            let places = writes_to(json!({
                "queue": "billing",
                "passive": passive,
                "declare": {"bindings": [{"exchange": "shop", "kind": kind, "routing_keys": keys}]},
                "publish": {"exchange": "shop", "routing_key": "order.new"},
            }));
            names(&places).join(", ")
        };
        assert_eq!(bound("direct", json!(["order.old", "order.new"]), false), "billing");
        assert_eq!(bound("fanout", json!([]), false), "billing");
        assert_eq!(bound("direct", json!(["order.old"]), false), "shop / order.new");
        assert_eq!(bound("headers", json!(["order.new"]), false), "shop / order.new");
        assert_eq!(bound("direct", json!(["order.new"]), true), "shop / order.new");
    }

    #[test]
    fn no_place_holds_credentials() {
        let config = json!({
            "url": "amqps://m%40ria:s3cret@broker.example/sales",
            "queue": "in",
            "publish": {"exchange": "shop"},
        });
        let places = [reads_from(config.clone()), writes_to(config)].concat();
        assert_eq!(places.len(), 2);
        for place in places {
            let shown = format!("{place} {place:?}");
            assert!(!shown.contains("s3cret") && !shown.contains("ria"), "{shown}");
            assert_eq!(place.system(), Some("amqps://broker.example:5671/sales"));
        }
    }
}
