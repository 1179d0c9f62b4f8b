//! Shared parts of the tests:
//!
//! - a task whose steps are written in the test, and a connector that can fail;
//! - a simulation of whole runs in which anything may fail at any time;
//! - a broker and processes that a test may kill;
//! - a collector of telemetry;
//! - a ledger that shows what was lost.

#![allow(
    clippy::missing_panics_doc,
    clippy::expect_used,
    clippy::panic,
    reason = "test support: a panic is a failed test"
)]

#[cfg(doctest)]
#[doc = include_str!("../../docs/connectors/csv.md")]
mod csv_guide {}

#[cfg(doctest)]
#[doc = include_str!("../../docs/connectors/excel.md")]
mod excel_guide {}

#[cfg(doctest)]
#[doc = include_str!("../../docs/connectors/json_lines.md")]
mod json_lines_guide {}

#[cfg(doctest)]
#[doc = include_str!("../../docs/connectors/memory.md")]
mod memory {}

#[cfg(doctest)]
#[doc = include_str!("../../docs/connectors/rabbitmq.md")]
mod rabbitmq_guide {}

#[cfg(doctest)]
#[doc = include_str!("../../docs/connectors/sqlite.md")]
mod sqlite_guide {}

#[cfg(doctest)]
#[doc = include_str!("../../docs/migrating.md")]
mod migrating {}

#[cfg(doctest)]
#[doc = include_str!("../../docs/connectors.md")]
mod connectors {}

#[cfg(doctest)]
#[doc = include_str!("../../docs/connectors/writing.md")]
mod writing_guide {}

#[cfg(doctest)]
#[doc = include_str!("../../docs/dead-letters.md")]
mod dead_letters {}

#[cfg(doctest)]
#[doc = include_str!("../../docs/errors.md")]
mod errors {}

#[cfg(doctest)]
#[doc = include_str!("../../docs/policies.md")]
mod policies {}

#[cfg(doctest)]
#[doc = include_str!("../../docs/running.md")]
mod running {}

#[cfg(doctest)]
#[doc = include_str!("../../docs/settings.md")]
mod settings {}

#[cfg(doctest)]
#[doc = include_str!("../../docs/tasks.md")]
mod tasks {}

mod alone;
pub mod broker;
pub mod crew;
mod flaky;
pub mod lab;
pub mod ledger;
mod lines;
mod log;
pub mod otlp;
mod probe;
pub mod simulation;
mod until;
pub mod web;

pub use alone::alone;
pub use flaky::{Faults, Flaky, FlakyConfig};
pub use lines::{Lines, listen};
pub use log::{LogConfig, LogService};
pub use probe::{Probe, World};
pub use until::until;
