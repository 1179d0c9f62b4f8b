//! How you test it: run a task against memory connectors in a plain `#[tokio::test]`, and hold a connector of your own
//! to what every connector must do.
//!
//! ```
//! use ergon::connector::memory::MemoryQueue;
//! use ergon::prelude::*;
//!
//! #[ergon::task(connectors(input, output), consumer(process(max_attempts = 2)))]
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
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let (numbers, doubles) = (MemoryQueue::named("numbers"), MemoryQueue::named("doubles"));
//! numbers.extend([Transaction::new("a", &21)?, Transaction::new("b", &u32::MAX)?]);
//! let config = Double::config(DoubleWiring {
//!     input: MemoryConfig::new("numbers"),
//!     output: MemoryConfig::new("doubles"),
//! });
//! let report = ergon::testing::run(config).await.unwrap();
//! assert_eq!((report.tally.succeeded, report.tally.refused), (1, 1));
//! assert_eq!(doubles.drain()[0].decode::<u32>()?, 42);
//! assert_eq!(numbers.inspect().dead_letters[0].id(), "b");
//! # Ok::<(), TransactionError>(()) }).unwrap();
//! ```

pub mod conformance;
mod run;

pub use run::{Running, run, start};
