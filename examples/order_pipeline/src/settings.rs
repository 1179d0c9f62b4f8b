//! What `ergon.toml` configures: connectors, services, and what stands between the tasks.

use ergon::connector::rabbitmq::Subscription;
use ergon::prelude::*;

use crate::connectors::acme_api::AcmeApiConfig;
use crate::services::crm::CrmServiceConfig;

/// The project's settings, one table each.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Settings {
    /// Where order lines come from.
    pub(crate) workbook: ExcelConfig,
    /// Who knows our customers.
    pub(crate) crm: CrmServiceConfig,
    /// Who delivers.
    pub(crate) acme: AcmeApiConfig,
    /// What ACME has booked.
    pub(crate) bookings: JsonLinesConfig,
    /// Bookings that cannot be read.
    pub(crate) unread_bookings: JsonLinesConfig,
    /// What stands between the tasks.
    pub(crate) queues: Transport,
}

/// What carries transactions from task to task.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Transport {
    /// Files: the tasks are run one after the other.
    Files(Queues<JsonLinesConfig>),
    /// RabbitMQ: the tasks run side by side.
    Broker(Box<Broker>),
}

/// The places between the tasks, and for what does not reach the next one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Queues<C> {
    /// Checked orders.
    pub(crate) orders: C,
    /// Orders with what the CRM knows of the customer.
    pub(crate) enriched: C,
    pub(crate) not_ingested: C,
    pub(crate) not_enriched: C,
    pub(crate) not_dispatched: C,
}

/// The same places as queues of one broker.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Broker {
    /// Where the broker is, and whatever holds for all queues.
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
