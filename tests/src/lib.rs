//! What the tests of the promises share: a task whose steps are written in the test, a connector that can fail, and
//! a simulation of whole runs in which anything may fail at any time.

#![allow(clippy::missing_panics_doc, clippy::expect_used, reason = "test support: a panic is a failed test")]

mod flaky;
mod probe;
pub mod simulation;

pub use flaky::{Faults, Flaky, FlakyConfig};
pub use probe::{Probe, World};
