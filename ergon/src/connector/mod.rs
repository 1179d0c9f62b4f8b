//! Connectors: a [`Connector`] adapts an external system to transactions.
//!
//! A [`Source`] delivers transactions and settles each [`Delivery`]. A [`Sink`] accepts transactions. A task holds the
//! cheap handles [`Input`], [`Output`] and [`Duplex`] instead of a connector, so one task runs on any transport.
//!
//! | to | see |
//! |---|---|
//! | use a built-in connector | its module, such as [`memory`] |
//! | write a connector | [`Connector`], [`Source`], [`Sink`], and the names of [`prelude`] |
//! | reuse reconnects, leases, batching and file handling | [`kit`] |
//! | test a connector | [`testing::conformance`](crate::testing::conformance) |

mod buffer;
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

pub use buffer::SinkBuffer;
pub(crate) use buffer::{Buffers, Pushes, take_pushes};
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
