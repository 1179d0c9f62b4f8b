//! Moves business transactions from a source, through your logic, to a sink, and loses none.

// The generated code names `::ergon`, in this crate's own documentation and tests too.
extern crate self as ergon;

pub mod prelude;

mod error;
pub mod transaction;

pub mod settings;

pub mod connector;
pub mod service;

mod policy;

pub mod task;

mod engine;

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
