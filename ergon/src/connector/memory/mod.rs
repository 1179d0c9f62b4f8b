//! Keeps a named queue in this process: the reference connector, and the double for tests.
//!
//! All connectors with the same name share one [`MemoryQueue`]. A transaction that is dispatched to the queue can be
//! fetched from it.
//!
//! ```
//! use ergon::connector::memory::MemoryQueue;
//! use ergon::prelude::*;
//!
//! let orders = MemoryQueue::named("orders-example");
//! orders.push(Transaction::new("order-1", &"two apples")?);
//! assert_eq!(orders.inspect().waiting, 1);
//!
//! let config = MemoryConfig::new("orders-example"); // wire this to a task
//! assert_eq!(orders.drain().len(), 1);
//! # Ok::<(), TransactionError>(())
//! ```

mod config;
mod dead_letters;
mod queue;
mod sink;
mod source;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Capabilities, Connector, ConnectorError, Shard};

pub use config::MemoryConfig;
pub use queue::{MemoryQueue, Snapshot};

/// The connector of a [`MemoryQueue`]; a source and a sink.
///
/// Its unsettled deliveries wait in the queue again when the connector is closed or dropped.
#[derive(Debug)]
pub struct Memory {
    queue: Arc<MemoryQueue>,
    /// Distinguishes the receipts of this connector from those of other connectors of the same queue.
    epoch: u64,
    shard: Shard,
}

impl Memory {
    /// Makes a connector of a queue.
    pub fn new(queue: Arc<MemoryQueue>) -> Self {
        static EPOCHS: AtomicU64 = AtomicU64::new(1);
        Self { queue, epoch: EPOCHS.fetch_add(1, Ordering::Relaxed), shard: Shard::default() }
    }
}

impl Connector for Memory {
    const KIND: &'static str = "memory";

    async fn close(&self) -> Result<(), ConnectorError> {
        self.queue.give_back(self.epoch);
        Ok(())
    }

    fn capabilities(&self) -> Capabilities<'_> {
        Capabilities::none().count(self).fetch_by_id(self).dead_letters(self).redrive(self)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.queue.give_back(self.epoch);
    }
}
