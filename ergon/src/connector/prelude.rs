//! The names that the author of a connector needs, one by one: `use ergon::connector::prelude::*;`.
//!
//! The parts that connectors are built from are in [`kit`](super::kit).

pub use bytes::Bytes;
pub use ergon_macros::Connector;
pub use secrecy::SecretString;
pub use serde::{Deserialize, Serialize};

pub use super::{
    Capabilities, Connector, ConnectorConfig, ConnectorError, Context, Count, DeadLetterVisitor, DeadLetters,
    Delivery, Direction, Disposition, Endpoint, FetchById, FetchRequest, Health, ItemOutcome, Receipt,
    Redrive, Settlement, Shard, Sink, Source, Visit,
};
pub use crate::transaction::{ContentType, Metadata, Payload, Transaction, TransactionError};
