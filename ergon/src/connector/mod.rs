//! Where transactions come from and go to: a [`Connector`] adapts an external system to transactions.
//!
//! A [`Source`] is asked for [deliveries](Delivery) and told what became of each; a [`Sink`] takes transactions. What
//! a task holds are the cheap handles [`Input`], [`Output`] and [`Duplex`], so one task runs on any transport.

mod capability;
pub(crate) mod configs;
mod dead_letters;
mod delivery;
mod dispatch;
mod endpoint;
mod error;
mod handle;
mod receipt;
mod role;
mod shard;

pub mod kit;
pub mod prelude;

#[cfg(feature = "csv")]
pub mod csv;
#[cfg(feature = "excel")]
pub mod excel;
#[cfg(feature = "json_lines")]
pub mod json_lines;
pub mod memory;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
#[cfg(feature = "sqlite")]
pub mod sqlite;

#[cfg(test)]
#[cfg(all(feature = "json_lines", feature = "csv", feature = "excel"))]
mod numbers;
#[cfg(test)]
#[cfg(all(feature = "csv", feature = "excel"))]
mod one_table;

pub use ergon_macros::Connector;

pub use capability::{Capabilities, Count, FetchById};
pub use dead_letters::{DeadLetterVisitor, DeadLetters, Redrive, Visit};
pub use delivery::{Delivery, Disposition, FetchRequest, Settlement};
pub use dispatch::{Dispatch, IntoTransaction};
pub use endpoint::Endpoint;
pub use error::{ConnectorError, ItemOutcome};
pub(crate) use handle::AnyConnector;
pub use handle::{Duplex, Input, Output};
pub use kit::file::Fsync;
pub use receipt::Receipt;
pub use role::{
    Connector, ConnectorConfig, Context, Direction, DuplexConfig, Health, Sink, SinkConfig, Source,
    SourceConfig,
};
pub use shard::Shard;
