//! Moves business transactions from a source, through your logic, to a sink, and loses none.
//!
//! You write a struct and one trait impl; [`macro@task`] adds the connectors, services and policies it needs, and
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
//! | `cli` (default) | [`main!`], the command line that it makes, and the program `ergon`, which makes projects; a crate of tasks and tests does without |
//! | `json_lines` (default) | [`connector`]s for JSON Lines files, stdin, stdout |
//! | `csv` | CSV files |
//! | `excel` | Excel workbooks |
//! | `rabbitmq` | queues and exchanges of RabbitMQ |
//! | `http` | the [`service`] that asks over HTTP |
//! | `openai` | the [`service`] for language models; brings `http` |
//! | `health` | `[runner] health`: answers whoever asks whether the program is alive and ready |
//! | `opentelemetry` | traces, metrics and log lines for a collector |
//!
//! The modules stand in the order in which they build on each other; [`testing`] runs a task in a plain test.

// Only the command line reads settings, starts workers and writes logs: without it, none of that has a caller.
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

pub mod policy;
pub mod settings;
pub mod telemetry;

pub mod connector;
pub mod service;

pub mod task;

mod engine;

mod runner;

#[cfg(feature = "cli")]
mod cli;
pub mod testing;

#[doc(hidden)]
pub mod __private;

/// Loops that a task runs itself, and calls side by side.
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

/// Says which feature makes a program.
#[cfg(not(feature = "cli"))]
#[doc(hidden)]
#[macro_export]
macro_rules! main {
    ($($anything:tt)*) => {
        compile_error!(
            "`ergon::main!` makes a program with a command line, and the feature `cli` of the crate `ergon` is off; in Cargo.toml, write `ergon = { …, features = [\"cli\"] }`"
        );

        fn main() {}
    };
}
