//! Wires the task to its connectors.

use ergon::prelude::*;

use super::task::{PlaceOrders, PlaceOrdersWiring};
use crate::settings::Settings;

/// Wires the task to the connectors of the settings.
#[expect(clippy::unnecessary_wraps, reason = "a config may fail; this one cannot")]
pub(crate) fn config(settings: &Settings) -> Result<TaskConfig> {
    Ok(PlaceOrders::config(PlaceOrdersWiring {
        input: settings.order_book.clone(),
        output: settings.orders(),
        refused: settings.refused(),
    }))
}
