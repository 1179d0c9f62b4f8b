//! What we can see: events, the context of a log line, and what a run adds up to.
//!
//! The engine emits events and keeps a [`Tally`]; the console logs write what is emitted, with the ids of the
//! transaction a line was written in.

pub(crate) mod event;
#[cfg(feature = "rabbitmq")]
pub(crate) mod link;
pub(crate) mod logs;
pub(crate) mod metrics;
mod names;
#[cfg(feature = "health")]
#[cfg_attr(not(test), expect(dead_code, reason = "the health server serves it"))]
pub(crate) mod prometheus;
mod report;
mod scope;

pub(crate) use logs::LogFormat;
pub use names::{METRICS, Metric, MetricKind};
pub use report::{Ended, FailedByCategory, Refusal, RunReport, SingleReport, StepReport, StepTimes, Tally};
pub(crate) use scope::Scope;
pub use scope::Step;
