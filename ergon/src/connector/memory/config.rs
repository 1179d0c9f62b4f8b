//! The settings of the memory connector: the name of the queue.

use serde::Deserialize;

use super::{Memory, MemoryQueue};
use crate::connector::{ConnectorConfig, ConnectorError, Context};

/// Makes a [`Memory`] connector.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryConfig {
    /// The name of the queue. Connectors with the same name share one queue.
    pub name: String,
}

impl MemoryConfig {
    /// Names the queue.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }
}

impl ConnectorConfig for MemoryConfig {
    type Connector = Memory;

    fn build(&self, context: &Context) -> Result<Memory, ConnectorError> {
        let mut memory = Memory::new(MemoryQueue::named(&self.name));
        memory.shard = context.shard;
        Ok(memory)
    }
}
