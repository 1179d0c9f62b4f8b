//! Wires the task to its connectors.

use ergon::prelude::*;

use super::task::{PriceOrders, PriceOrdersWiring};
use crate::settings::Settings;

/// Wires the task to the connectors of the settings.
#[expect(clippy::unnecessary_wraps, reason = "a config may fail; this one cannot")]
pub(crate) fn config(settings: &Settings) -> Result<TaskConfig> {
    Ok(PriceOrders::config(PriceOrdersWiring {
        input: settings.orders.clone(),
        output: settings.receipts.clone(),
        refused: settings.refused.clone(),
    }))
}
