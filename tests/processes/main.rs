//! Tests the promises of whole programs: their command line, their signals, their workers, and their telemetry.
//!
//! Only [`metrics`] runs a task in this process, because it measures everything that the process does.
#![cfg(test)]

mod cli;
mod health;
mod metrics;
mod progress;
mod stop;
#[expect(clippy::float_cmp, reason = "what is counted is whole")]
mod telemetry;
mod workers;
