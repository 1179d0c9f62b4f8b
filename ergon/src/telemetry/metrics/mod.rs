//! Metrics: what a loop did, in numbers that add up over workers.
//!
//! A loop asks once for its [`Meters`]; without a provider, or without the feature `opentelemetry`, there are none, and
//! nothing is paid. Where a loop settles many transactions in one call, it counts them in one [`Batch`]: counters are
//! the difference between the tally after it and before it, so that they add up to what the summary says.

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

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Succeeded,
    Failed(Category),
    /// A stop ended the wait for its next attempt.
    Interrupted,
}

/// How much a loop does at one moment.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(not(feature = "opentelemetry"), expect(dead_code, reason = "nobody measures"))]
pub(crate) struct Levels {
    /// Transactions in one of their steps.
    pub(crate) in_flight: usize,
    /// How many there may be.
    pub(crate) limit: usize,
    /// Transactions whose dead letter waits for its next attempt.
    pub(crate) undelivered: usize,
}
