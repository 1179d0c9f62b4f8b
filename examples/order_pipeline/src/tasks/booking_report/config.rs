//! Wires the task to its connectors.

use ergon::prelude::*;

use super::task::{BookingReport, BookingReportWiring};
use crate::settings::Settings;

/// Wires the task to the connectors of the settings.
#[expect(clippy::unnecessary_wraps, reason = "a config may fail; this one cannot")]
pub(crate) fn config(settings: &Settings) -> Result<TaskConfig> {
    Ok(BookingReport::config(BookingReportWiring {
        acme: settings.acme.clone(),
        output: settings.bookings.clone(),
        unread: settings.unread_bookings.clone(),
    }))
}
