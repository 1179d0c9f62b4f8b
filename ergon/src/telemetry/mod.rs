//! Makes runs observable: events, log lines, spans, metrics, and the report on a run.
//!
//! The engine emits events and keeps a [`Tally`]. The log lines of events carry the ids of their transaction.

pub(crate) mod calls;
pub(crate) mod event;
#[cfg(feature = "opentelemetry")]
pub(crate) mod export;
pub(crate) mod exposition;
mod feature;
pub(crate) mod files;
pub(crate) mod filter;
pub(crate) mod lease;
pub(crate) mod link;
pub(crate) mod logs;
pub(crate) mod metrics;
pub(crate) mod names;
#[cfg(feature = "http")]
pub(crate) mod outgoing;
pub(crate) mod payloads;
#[cfg(feature = "health")]
pub(crate) mod prometheus;
pub(crate) mod propagation;
mod report;
mod scope;
pub(crate) mod traces;
#[cfg(unix)]
pub(crate) mod worker;

use feature::with_opentelemetry;
pub use names::{METRICS, Metric, MetricKind};
pub use report::{Ended, FailedByCategory, Rejection, RunReport, SingleReport, StepReport, StepTimes, Tally};
pub(crate) use report::{GIVEN_BACK, Undelivered};
pub(crate) use scope::Scope;
pub use scope::Step;
