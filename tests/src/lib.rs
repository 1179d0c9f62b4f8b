//! What the tests of the promises share: a task whose steps are written in the test, and a connector that can fail.

#![allow(clippy::missing_panics_doc, clippy::expect_used, reason = "test support: a panic is a failed test")]

mod flaky;
mod probe;

pub use flaky::{Faults, Flaky, FlakyConfig};
pub use probe::{Probe, World};
