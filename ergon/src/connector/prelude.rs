//! The names that the author of a connector needs, one by one: `use ergon::connector::prelude::*;`.

pub use super::{
    Capabilities, Connector, ConnectorConfig, ConnectorError, Context, Count, DeadLetterVisitor, DeadLetters,
    Delivery, Direction, Disposition, DuplexConfig, Endpoint, FetchById, FetchRequest, Health, ItemOutcome,
    Lifecycle, Receipt, Redrive, Settlement, Shard, Sink, SinkConfig, Source, SourceConfig, Visit,
};
pub use crate::transaction::{Payload, Transaction};
