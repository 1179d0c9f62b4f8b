//! What happens to the connections of connectors, as data: one struct for each event, one `emit` for each struct.

use std::fmt;
use std::time::Duration;

use tracing::{debug, info, warn};

use super::metrics;

/// A connector's connection is lost, or cannot be made; it is tried again.
pub(crate) struct LinkLost<'a> {
    /// Whose it is: task, slot, worker.
    pub(crate) connector: &'a str,
    /// What the connection is for.
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

/// A connector's connection is there again.
pub(crate) struct LinkRestored<'a, P> {
    pub(crate) connector: &'a str,
    pub(crate) purpose: &'static str,
    /// Where to, without credentials.
    pub(crate) place: &'a P,
    /// For how long it was not there.
    pub(crate) down: Duration,
}

impl<P: fmt::Display> LinkRestored<'_, P> {
    pub(crate) fn emit(self) {
        let Self { connector, purpose, place, down } = self;
        metrics::reconnected(connector, purpose);
        info!(connector, purpose, %place, down_ms = millis(down), "connected again");
    }
}

/// The other side refuses a connector's connection, or what is asked over it, for good.
pub(crate) struct LinkRefused<'a> {
    pub(crate) connector: &'a str,
    pub(crate) purpose: &'static str,
    pub(crate) reason: &'a str,
}

impl LinkRefused<'_> {
    pub(crate) fn emit(self) {
        let Self { connector, purpose, reason } = self;
        debug!(connector, purpose, reason, "refused for good");
    }
}

/// The broker takes nothing over a connection at present, or takes it again.
#[cfg(feature = "rabbitmq")]
pub(crate) struct LinkBlocked<'a> {
    pub(crate) connector: &'a str,
    /// Why it takes nothing; none if it takes it again.
    pub(crate) reason: Option<&'a str>,
}

#[cfg(feature = "rabbitmq")]
impl LinkBlocked<'_> {
    pub(crate) fn emit(self) {
        let Self { connector, reason } = self;
        match reason {
            Some(reason) => warn!(connector, reason, "the broker takes no messages at present"),
            None => info!(connector, "the broker takes messages again"),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
