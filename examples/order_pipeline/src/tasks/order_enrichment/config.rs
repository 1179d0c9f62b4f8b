//! Wires the task to its connectors and its service.

use ergon::connector::DuplexConfig;
use ergon::prelude::*;

use super::task::{OrderEnrichment, OrderEnrichmentWiring};
use crate::settings::{Queues, Settings, Transport};

/// Wires the task to the connectors and the service of the settings.
#[expect(clippy::unnecessary_wraps, reason = "a config may fail; this one cannot")]
pub(crate) fn config(settings: &Settings) -> Result<TaskConfig> {
    Ok(match &settings.queues {
        Transport::Files(queues) => wired(settings, queues),
        Transport::Broker(broker) => wired(settings, &broker.queues()),
    })
}

fn wired<C: DuplexConfig>(settings: &Settings, queues: &Queues<C>) -> TaskConfig {
    OrderEnrichment::config(OrderEnrichmentWiring {
        input: queues.orders.clone(),
        output: queues.enriched.clone(),
        refused: queues.not_enriched.clone(),
        crm: settings.crm.clone(),
    })
}
