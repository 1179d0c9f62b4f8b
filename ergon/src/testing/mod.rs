//! Tests of tasks and connectors: runs a task in a plain `#[tokio::test]` without an external system, and checks your
//! own connector against the rules of every connector.
//!
//! **A whole run.** Wire a [`Script`], a connector that does what the test says, in place of the real connectors.
//! [`run`] runs the task to its end. [`start`] lets the test observe and stop the run. With `start_paused = true` every
//! wait of the engine passes immediately: backoff, time limits, a streaming run.
//!
//! ```
//! use std::time::Duration;
//!
//! use ergon::connector::ConnectorError;
//! use ergon::prelude::*;
//! use ergon::testing::{self, Fault, Script};
//!
//! #[ergon::task(connectors(input, output), consumer(fetch(max_attempts = 2, backoff = "1m")))]
//! struct Double;
//!
//! impl Consumer for Double {
//!     type Payload = u32;
//!     type Output = u32;
//!
//!     async fn process_transaction(&self, number: &Transaction<u32>) -> Result<u32> {
//!         number.payload().checked_mul(2).ok_or_else(|| TransactionError::business("too large"))
//!     }
//!
//!     async fn handle_process_success(&self, number: &Transaction<u32>, double: &u32) -> Result<()> {
//!         self.output_connector.dispatch(number.derive(double)?).await
//!     }
//! }
//!
//! // #[tokio::test(start_paused = true)]
//! async fn doubles_and_outlives_a_lost_link() -> Result<(), ergon::Error> {
//!     let (input, output) = (Script::new(), Script::new());
//!     input.push_json("a", &21);
//!     input.push_json("b", &u32::MAX);
//!     input.on_fetch(1, Fault::Fails(ConnectorError::transient("the link is down")));
//!
//!     let wiring = DoubleWiring { input: input.clone(), output: output.clone() };
//!     let report = testing::run(Double::config(wiring)).await?;
//!
//!     assert_eq!((report.tally.succeeded, report.tally.rejected), (1, 1));
//!     assert_eq!((input.acked(), input.rejected()), (vec!["a".into()], vec!["b".into()]));
//!     assert_eq!(output.dispatched_as::<u32>(), [42]);
//!     assert!(report.elapsed >= Duration::from_secs(60), "it waited, on the paused clock");
//!     Ok(())
//! }
//! # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
//! #     .block_on(doubles_and_outlives_a_lost_link()).unwrap();
//! ```
//!
//! The [`RunReport`](crate::telemetry::RunReport) has the counts of the run, retries included. The number of attempts
//! of a rejected transaction is in its dead letter, under [`key::ATTEMPTS`](crate::transaction::key::ATTEMPTS).
//!
//! **One transaction.** [`process`] runs a payload through the task's steps under the task's own policies, and reports
//! each step:
//!
//! ```
//! use ergon::prelude::*;
//! use ergon::testing::{self, Script};
//!
//! #[ergon::task(connectors(input), consumer(process(max_attempts = 3)))]
//! struct Fragile;
//!
//! impl Consumer for Fragile {
//!     type Payload = String;
//!     type Output = ();
//!
//!     async fn process_transaction(&self, _: &Transaction<String>) -> Result<()> {
//!         Err(TransactionError::system("out of order"))
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let report = testing::process(Fragile::config(FragileWiring { input: Script::new() }), "fuse").await?;
//! assert_eq!((report.steps[0].attempts, report.disposition), (3, Some("reject")));
//! # Ok::<(), ergon::Error>(()) }).unwrap();
//! ```
//!
//! **Your own connector.** The [`conformance`] suite tests every rule that the engine relies on. Its page has an
//! example.

pub mod conformance;
mod run;
mod script;
mod single;

pub use run::{Running, run, start};
pub use script::{Fault, Script};
pub use single::{process, process_transaction};
