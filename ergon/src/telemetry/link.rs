//! Defines the events of connectors' connections, as `event` does for runs: one struct for each event, and one `emit`
//! for each struct.

use std::fmt;
use std::time::Duration;

use tracing::{debug, info, warn};

use super::metrics;

/// A connection of a connector is lost or cannot be opened; the connector tries again.
pub(crate) struct LinkLost<'a> {
    /// The connector: task, slot, worker.
    pub(crate) connector: &'a str,
    /// The purpose of the connection.
    pub(crate) purpose: &'static str,
    pub(crate) reason: &'a str,
    pub(crate) wait: Duration,
}

impl LinkLost<'_> {
    pub(crate) fn emit(self) {
        let Self { connector, purpose, reason, wait } = self;
        warn!(connector, purpose, wait_ms = millis(wait), reason, "not connected, will be tried again");
    }
}

/// A connector is connected again.
pub(crate) struct LinkRestored<'a, P> {
    pub(crate) connector: &'a str,
    pub(crate) purpose: &'static str,
    /// The address, without credentials.
    pub(crate) place: &'a P,
    /// The time without a connection.
    pub(crate) down: Duration,
}

impl<P: fmt::Display> LinkRestored<'_, P> {
    pub(crate) fn emit(self) {
        let Self { connector, purpose, place, down } = self;
        metrics::reconnected(connector, purpose);
        info!(connector, purpose, %place, down_ms = millis(down), "connected again");
    }
}

/// The external system refuses a connection permanently, or a request over it.
pub(crate) struct LinkRefused<'a> {
    pub(crate) connector: &'a str,
    pub(crate) purpose: &'static str,
    pub(crate) reason: &'a str,
}

impl LinkRefused<'_> {
    pub(crate) fn emit(self) {
        let Self { connector, purpose, reason } = self;
        debug!(connector, purpose, reason, "refused permanently");
    }
}

/// The broker accepts no messages over a connection at present, or accepts messages again.
#[cfg(feature = "rabbitmq")]
pub(crate) struct LinkBlocked<'a> {
    pub(crate) connector: &'a str,
    /// The reason why it accepts none; none if it accepts messages again.
    pub(crate) reason: Option<&'a str>,
}

#[cfg(feature = "rabbitmq")]
impl LinkBlocked<'_> {
    pub(crate) fn emit(self) {
        let Self { connector, reason } = self;
        match reason {
            Some(reason) => warn!(connector, reason, "the broker accepts no messages at present"),
            None => info!(connector, "the broker accepts messages again"),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
