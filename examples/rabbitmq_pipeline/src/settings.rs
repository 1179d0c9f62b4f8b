//! What `ergon.toml` configures: the broker, its queues, and two files.

use ergon::connector::rabbitmq::Subscription;
use ergon::prelude::*;

/// The project's settings, one table of `ergon.toml` each.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Settings {
    /// Where the broker is, and whatever holds for all queues.
    broker: RabbitMqConfig,
    orders: Subscription,
    refused: Subscription,
    invoices: Subscription,
    unsent: Subscription,
    /// Where sample orders come from.
    pub(crate) order_book: JsonLinesConfig,
    /// Where invoices are sent to.
    pub(crate) letters: JsonLinesConfig,
}

impl Settings {
    /// Orders that were placed.
    pub(crate) fn orders(&self) -> RabbitMqConfig {
        self.queue(&self.orders)
    }

    /// Orders that break a rule.
    pub(crate) fn refused(&self) -> RabbitMqConfig {
        self.queue(&self.refused)
    }

    /// What is to be paid.
    pub(crate) fn invoices(&self) -> RabbitMqConfig {
        self.queue(&self.invoices)
    }

    /// Invoices that could not be sent.
    pub(crate) fn unsent(&self) -> RabbitMqConfig {
        self.queue(&self.unsent)
    }

    fn queue(&self, one: &Subscription) -> RabbitMqConfig {
        let Subscription { queue, declare } = one.clone();
        RabbitMqConfig { queue: Some(queue), declare, ..self.broker.clone() }
    }
}
