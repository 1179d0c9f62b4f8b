//! Wires the task to its connectors.

use ergon::prelude::*;

use super::task::{SendInvoices, SendInvoicesWiring};
use crate::settings::Settings;

/// Wires the task to the connectors of the settings.
#[expect(clippy::unnecessary_wraps, reason = "a config may fail; this one cannot")]
pub(crate) fn config(settings: &Settings) -> Result<TaskConfig> {
    Ok(SendInvoices::config(SendInvoicesWiring {
        input: settings.invoices(),
        output: settings.letters.clone(),
        unsent: settings.unsent(),
    }))
}
