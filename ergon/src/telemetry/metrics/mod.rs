//! Records metrics of loops. The values of several workers add up.
//!
//! A loop creates its [`Meters`] once. Without a provider, or without the feature `opentelemetry`, they record nothing and
//! cost nothing. A loop that settles many transactions in one call counts them in one [`Batch`]: counters are the
//! difference between the tally after the batch and before it, so that they add up to the summary.

mod batch;
#[cfg(feature = "opentelemetry")]
mod bound;
#[cfg(feature = "opentelemetry")]
mod instruments;
#[cfg(feature = "opentelemetry")]
mod levels;
#[cfg(feature = "opentelemetry")]
mod measured;
mod meters;

pub(crate) use batch::{Batch, Timings};
#[cfg(feature = "opentelemetry")]
pub(crate) use instruments::install;
pub(crate) use meters::{Meters, call_retried, leases_lost, reconnected};

use crate::transaction::Category;

/// The end of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Succeeded,
    Failed(Category),
    /// A stop interrupted the wait for the next attempt.
    Interrupted,
}

/// The current values of a loop.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(not(feature = "opentelemetry"), expect(dead_code, reason = "no metric reads them"))]
pub(crate) struct Levels {
    /// Transactions in one of their steps.
    pub(crate) in_flight: usize,
    /// The maximum number of transactions in their steps.
    pub(crate) limit: usize,
    /// Transactions whose dead letter waits for its next attempt.
    pub(crate) undelivered: usize,
}
