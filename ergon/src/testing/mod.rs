//! How you test it: run a task against memory connectors in a plain `#[tokio::test]`.

mod run;

pub use run::{Running, run, start};
