//! Moves business transactions from a source, through your logic, to a sink, and loses none.

// The generated code names `::ergon`, in this crate's own documentation and tests too.
#[allow(unused_extern_crates, reason = "used by generated code in this crate's own tests")]
extern crate self as ergon;

pub mod prelude;

mod error;
pub mod transaction;

pub mod connector;
pub mod service;

mod policy;

pub mod settings;

pub mod task;

mod engine;

mod runner;

mod cli;

pub mod telemetry;

pub mod testing;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use bytes::Bytes;
pub use connector::{
    Abilities, Connector, ConnectorConfig, ConnectorError, Context, Count, Delivery, Disposition, Duplex,
    DuplexConfig, Fate, FetchById, FetchRequest, Health, Input, Lifecycle, Output, Receipt, Settlement,
    Shard, Sink, SinkConfig, Source, SourceConfig, Usage,
};
#[cfg(any(feature = "json_lines", feature = "csv", feature = "excel"))]
pub use connector::{ByteSize, ByteSizeError, Fsync};
pub use engine::run_fn;
pub use ergon_macros::{Connector, Service, TransactionError, main, task};
pub use error::{Error, ErrorKind};
pub use policy::{
    ConsumerLayer, ConsumerPolicy, EmptyQueuePolicy, Mode, OnHandlerFailure, PolicyProblem, RetryPolicy,
};
pub use serde_json::Value;
pub use service::{Service, ServiceConfig, ServiceError};
pub use task::{Consumer, Task, TaskConfig};
pub use transaction::{
    Category, Content, ContentType, Decode, DecodeError, Metadata, Payload, Record, Result, ResultExt,
    Transaction, TransactionBuilder, TransactionError, TransactionId,
};
