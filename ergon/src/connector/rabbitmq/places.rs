//! The queues and exchanges of a connector, as those who draw a program's tasks see them.

use super::{Binding, RabbitMq};
use crate::connector::Endpoint;

impl RabbitMq {
    /// The queues that are consumed.
    pub(super) fn consumed(&self) -> Vec<Endpoint> {
        self.config.queues().map(|(queue, _)| self.place(queue)).collect()
    }

    /// What is published to, if a transaction says nothing else: a queue, where it is known which one, or an exchange.
    pub(super) fn published_to(&self) -> Vec<Endpoint> {
        let (exchange, key) = (&self.config.publish.exchange, self.config.routing_key());
        if exchange.is_empty() {
            // The default exchange takes the key for the name of a queue.
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

    /// Whether a binding that the connector declares surely lets through what it publishes.
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
