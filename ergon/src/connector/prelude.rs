//! The names that the author of a connector needs: `use ergon::connector::prelude::*;`.
//!
//! The parts that connectors are built from are in [`kit`](super::kit).

pub use bytes::Bytes;
pub use secrecy::SecretString;
pub use serde::{Deserialize, Serialize};

pub use super::{
    Capabilities, Connector, ConnectorConfig, ConnectorError, Context, Count, DeadLetterVisitor, DeadLetters,
    Delivery, Direction, Disposition, DuplexConfig, Endpoint, FetchById, FetchRequest, Health, ItemOutcome,
    Receipt, Redrive, Settlement, Shard, Sink, SinkConfig, Source, SourceConfig, Visit,
};
pub use crate::transaction::{ContentType, Metadata, Payload, Transaction, TransactionError};
