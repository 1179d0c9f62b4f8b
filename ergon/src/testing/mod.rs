//! How you test it: run a task in a plain `#[tokio::test]` without any external system, and hold a connector of your
//! own to what every connector must do.
//!
//! **A whole run.** [`Script`] is a connector that does what the test says, wired in place of the real ones; [`run`]
//! runs the task to its end, [`start`] lets the test look at it and stop it. With `start_paused = true` every wait of
//! the engine and of connectors passes at once: backoff, time limits, a streaming run.
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
//!     assert_eq!((report.tally.succeeded, report.tally.refused), (1, 1));
//!     assert_eq!((input.acked(), input.rejected()), (vec!["a".into()], vec!["b".into()]));
//!     assert_eq!(output.dispatched_as::<u32>(), [42]);
//!     assert!(report.elapsed >= Duration::from_secs(60), "it waited, on the paused clock");
//!     Ok(())
//! }
//! # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
//! #     .block_on(doubles_and_outlives_a_lost_link()).unwrap();
//! ```
//!
//! What all transactions came to is in the [`RunReport`](crate::telemetry::RunReport)'s tally, retries included. How
//! often one of them was tried is in its dead letter, under [`key::ATTEMPTS`](crate::transaction::key::ATTEMPTS), or
//! comes out of the next form.
//!
//! **One transaction.** [`process`] takes a payload through the task's steps under its own policies, and says what each
//! step came to:
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
//! **A connector of your own.** The [`conformance`] suite tries every rule that the engine relies on; its page has an
//! example.

pub mod conformance;
mod run;
mod script;
mod single;

pub use run::{Running, run, start};
pub use script::{Fault, Script};
pub use single::{process, process_transaction};
