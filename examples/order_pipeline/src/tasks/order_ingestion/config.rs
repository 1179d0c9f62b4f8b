//! Wires the task to its connectors.

use ergon::connector::DuplexConfig;
use ergon::prelude::*;

use super::task::{OrderIngestion, OrderIngestionWiring};
use crate::settings::{Queues, Settings, Transport};

/// Wires the task to the connectors of the settings.
#[expect(clippy::unnecessary_wraps, reason = "a config may fail; this one cannot")]
pub(crate) fn config(settings: &Settings) -> Result<TaskConfig> {
    Ok(match &settings.queues {
        Transport::Files(queues) => wired(settings, queues),
        Transport::Broker(broker) => wired(settings, &broker.queues()),
    })
}

fn wired<C: DuplexConfig>(settings: &Settings, queues: &Queues<C>) -> TaskConfig {
    OrderIngestion::config(OrderIngestionWiring {
        input: settings.workbook.clone(),
        output: queues.orders.clone(),
        refused: queues.not_ingested.clone(),
    })
}
