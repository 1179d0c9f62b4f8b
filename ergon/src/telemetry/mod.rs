//! What we can see: events, the context of a log line, and what a run adds up to.
//!
//! The engine emits events and keeps a [`Tally`]; the console logs write what is emitted, with the ids of the
//! transaction a line was written in.

pub(crate) mod event;
#[cfg(feature = "rabbitmq")]
pub(crate) mod link;
pub(crate) mod logs;
mod report;
mod scope;
#[cfg(unix)]
pub(crate) mod worker;

pub(crate) use logs::LogFormat;
pub use report::{Ended, FailedByCategory, Refusal, RunReport, SingleReport, StepReport, StepTimes, Tally};
pub(crate) use scope::Scope;
pub use scope::Step;
