//! The settings of this project: connectors, services, and the queues or files between the tasks.

use ergon::connector::rabbitmq::Subscription;
use ergon::prelude::*;

use crate::connectors::acme_api::AcmeApiConfig;
use crate::services::crm::CrmServiceConfig;

/// The settings of the project. Each field is a table of `ergon.toml`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Settings {
    /// The source of order lines.
    pub(crate) workbook: ExcelConfig,
    /// The CRM, which has the customers.
    pub(crate) crm: CrmServiceConfig,
    /// ACME, which delivers the orders.
    pub(crate) acme: AcmeApiConfig,
    /// The sink of ACME's bookings.
    pub(crate) bookings: JsonLinesConfig,
    /// The dead letters: bookings that cannot be read.
    pub(crate) unread_bookings: JsonLinesConfig,
    /// The queues or files between the tasks.
    pub(crate) queues: Transport,
}

/// The transport of transactions from task to task.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Transport {
    /// Files: the tasks run one after the other.
    Files(Queues<JsonLinesConfig>),
    /// RabbitMQ: the tasks run at the same time.
    Broker(Box<Broker>),
}

/// The places between the tasks, and the places for rejected transactions.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Queues<C> {
    /// Checked orders.
    pub(crate) orders: C,
    /// Orders with the customer data of the CRM.
    pub(crate) enriched: C,
    pub(crate) not_ingested: C,
    pub(crate) not_enriched: C,
    pub(crate) not_dispatched: C,
}

/// The same places as queues of one broker.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Broker {
    /// The address of the broker, and the settings of all queues.
    connection: RabbitMqConfig,
    #[serde(flatten)]
    queues: Queues<Subscription>,
}

impl Broker {
    /// A connector for each queue.
    pub(crate) fn queues(&self) -> Queues<RabbitMqConfig> {
        let connector = |one: &Subscription| {
            let Subscription { queue, declare } = one.clone();
            RabbitMqConfig { queue: Some(queue), declare, ..self.connection.clone() }
        };
        let Queues { orders, enriched, not_ingested, not_enriched, not_dispatched } = &self.queues;
        Queues {
            orders: connector(orders),
            enriched: connector(enriched),
            not_ingested: connector(not_ingested),
            not_enriched: connector(not_enriched),
            not_dispatched: connector(not_dispatched),
        }
    }
}
