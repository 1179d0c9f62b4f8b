//! The settings of this project: the broker, its queues, and two files.

use ergon::connector::rabbitmq::Subscription;
use ergon::prelude::*;

/// The settings of the project. Each field is a table of `ergon.toml`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Settings {
    /// The address of the broker, and the settings of all queues.
    broker: RabbitMqConfig,
    orders: Subscription,
    refused: Subscription,
    invoices: Subscription,
    unsent: Subscription,
    /// The source of sample orders.
    pub(crate) order_book: JsonLinesConfig,
    /// The sink of letters.
    pub(crate) letters: JsonLinesConfig,
}

impl Settings {
    /// The queue of placed orders.
    pub(crate) fn orders(&self) -> RabbitMqConfig {
        self.queue(&self.orders)
    }

    /// The queue of orders that break a rule.
    pub(crate) fn refused(&self) -> RabbitMqConfig {
        self.queue(&self.refused)
    }

    /// The queue of invoices.
    pub(crate) fn invoices(&self) -> RabbitMqConfig {
        self.queue(&self.invoices)
    }

    /// The queue of invoices that could not be sent.
    pub(crate) fn unsent(&self) -> RabbitMqConfig {
        self.queue(&self.unsent)
    }

    fn queue(&self, one: &Subscription) -> RabbitMqConfig {
        let Subscription { queue, declare } = one.clone();
        RabbitMqConfig { queue: Some(queue), declare, ..self.broker.clone() }
    }
}
