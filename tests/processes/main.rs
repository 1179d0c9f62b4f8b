//! What is promised of whole programs: their command line, their signals, their workers, and what is seen of them.
//!
//! Nothing runs a task in this process but [`metrics`], which measures all that the process does.
#![cfg(test)]

mod cli;
mod health;
mod metrics;
mod progress;
mod stop;
#[expect(clippy::float_cmp, reason = "what is counted is whole")]
mod telemetry;
mod workers;
