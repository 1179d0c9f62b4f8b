//! Defines the events of leases, as `event` does for runs: one struct for each event, and one `emit` for each struct.

use std::time::Duration;

use tracing::warn;

use super::metrics;

/// Leases ended, so that the external system delivers transactions again that this worker still has.
pub(crate) struct LeaseLost<'a> {
    /// The connector: task, slot, worker.
    pub(crate) connector: &'a str,
    pub(crate) count: usize,
    pub(crate) reason: &'a str,
}

impl LeaseLost<'_> {
    pub(crate) fn emit(self) {
        let Self { connector, count, reason } = self;
        metrics::leases_lost(connector, count as u64);
        warn!(connector, count, reason, "leases lost, expect redeliveries");
    }
}

/// Leases could not be extended. The connector tries again until the leases end.
pub(crate) struct LeasesNotExtended<'a> {
    pub(crate) connector: &'a str,
    pub(crate) count: usize,
    pub(crate) reason: &'a str,
    pub(crate) wait: Duration,
}

impl LeasesNotExtended<'_> {
    pub(crate) fn emit(self) {
        let Self { connector, count, reason, wait } = self;
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        warn!(connector, count, wait_ms, reason, "leases not extended, will be tried again");
    }
}
