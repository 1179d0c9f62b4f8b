//! How you test it: run a task against memory connectors in a plain `#[tokio::test]`, and hold a connector of your own
//! to what every connector must do.

pub mod conformance;
mod run;

pub use run::{Running, run, start};
