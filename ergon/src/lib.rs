//! Processes business transactions: from a source, through your logic, to a sink, without losing a transaction.
//!
//! You write a struct and one trait impl. [`macro@task`] adds the connectors, services and policies to the struct, and
//! [`main!`] makes the program. The engine fetches, decodes, retries, limits, settles, logs and counts.
//!
//! ```text
//! source ──fetch──▶ delivery ──decode──▶ process ──▶ success ──▶ ack ──settle──▶ source
//!                                          │ failed     │ failed
//!                                          └────────────┴──▶ exception ──▶ reject, requeue, retry after
//!                                                                             └─ reject ─▶ dead-letter connector
//! ```
//!
//! A whole program:
//!
//! ```no_run
//! # #[cfg(feature = "json_lines")] mod program {
//! use ergon::prelude::*;
//! use ergon::transaction::Payload;
//!
//! #[derive(Deserialize)]
//! struct Order { id: String, quantity: u32 }
//!
//! #[ergon::task(connectors(input, output), consumer(concurrency = 8, process(max_attempts = 3)))]
//! struct CountOrders;
//!
//! impl Consumer for CountOrders {
//!     type Payload = Order;
//!     type Output = u32;
//!
//!     async fn process_transaction(&self, order: &Transaction<Order>) -> Result<u32> {
//!         Ok(order.payload().quantity)
//!     }
//!
//!     async fn handle_process_success(&self, order: &Transaction<Order>, quantity: &u32) -> Result<()> {
//!         self.output_connector.dispatch(order.derive(quantity)?).await
//!     }
//! }
//!
//! #[derive(Deserialize)]
//! struct Settings { orders: JsonLinesConfig, counts: JsonLinesConfig }
//!
//! ergon::main! {
//!     settings: Settings,
//!     tasks: [CountOrders { input: orders, output: counts }],
//! }
//! # }
//! ```
//!
//! | feature | adds |
//! |---|---|
//! | `cli` (default) | [`main!`] with its command line, and the program `ergon`, which generates projects; a crate of tasks and tests does not need it |
//! | `json_lines` (default) | the [`connector`] for JSON Lines files, stdin and stdout |
//! | `csv` | the [`connector`] for CSV files |
//! | `excel` | the [`connector`] for Excel workbooks |
//! | `rabbitmq` | the [`connector`] for queues and exchanges of RabbitMQ |
//! | `sqlite` | the [`connector`] for durable queues in a SQLite file |
//! | `http` | the [`service`] for HTTP requests |
//! | `openai` | the [`service`] for language models; enables `http` |
//! | `health` | the setting `[runner] health`: an HTTP endpoint for liveness, readiness and metrics; enables `opentelemetry` |
//! | `opentelemetry` | traces, metrics and log lines for a collector |
//!
//! | module, in the order of the flow | contents |
//! |---|---|
//! | [`prelude`] | the names that the file of a task needs |
//! | [`transaction`] | the unit of work: id, payload, metadata, and the errors with their categories |
//! | [`connector`] | sources and sinks, and the traits for a connector of your own |
//! | [`service`] | clients that a task calls |
//! | [`policy`] | retries, time limits and concurrency |
//! | [`mod@task`] | the traits that you implement |
//! | [`execute`] | loops that a task runs itself, and concurrent calls |
//! | [`telemetry`] | the counts and reports of a run |
//! | [`settings`] | types for the settings: paths, secrets, sizes |
//! | [`testing`] | runs of a task in a test, without an external system |

// Only the command line reads settings, starts workers and writes logs. Without it, this code has no caller.
#![cfg_attr(not(feature = "cli"), allow(dead_code, unused_imports, reason = "the command line is off"))]

#[cfg(all(doctest, feature = "excel", feature = "json_lines"))]
#[doc = include_str!("../../README.md")]
mod readme {}

#[cfg(doctest)]
#[doc = include_str!("../../docs/language.md")]
mod language {}

#[cfg(all(doctest, feature = "json_lines", feature = "openai"))]
#[doc = include_str!("../../docs/services.md")]
mod services {}

// The generated code names `::ergon`, in this crate's own documentation and tests too.
#[allow(unused_extern_crates, reason = "used by generated code in this crate's own tests")]
extern crate self as ergon;

pub mod prelude;

mod error;
pub mod transaction;

pub mod connector;
pub mod service;

pub mod policy;
pub mod task;

mod engine;

mod runner;

pub mod settings;
pub mod telemetry;

#[cfg(feature = "cli")]
mod cli;
pub mod testing;

#[doc(hidden)]
pub mod __private;

/// Loops that a task runs itself, and concurrent calls.
pub mod execute {
    pub use crate::engine::{Concurrent, Execute, Run, RunConcurrently};
}

#[cfg(feature = "cli")]
pub use ergon_macros::main;
pub use ergon_macros::{TransactionError, run_fn, task};

pub use connector::Connector;
pub use engine::{block_on, run_concurrently, run_fn, run_fn_blocking, spawn, spawn_blocking};
pub use error::{Error, ErrorKind};
pub use service::Service;
pub use task::{Consumer, Producer, TaskConfig};
pub use transaction::{Result, Transaction, TransactionError};

/// Reports the feature that `ergon::main!` needs.
#[cfg(not(feature = "cli"))]
#[doc(hidden)]
#[macro_export]
macro_rules! main {
    ($($anything:tt)*) => {
        compile_error!(
            "`ergon::main!` needs the feature `cli` of the crate `ergon`, which is off; in Cargo.toml, write `ergon = { …, features = [\"cli\"] }`"
        );

        fn main() {}
    };
}
