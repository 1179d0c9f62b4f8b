//! A named queue in this process: the reference connector, and the double for tests.
//!
//! All connectors of one name share one [`MemoryQueue`]; what is dispatched to it can be fetched from it.
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
mod letters;
mod queue;
mod sink;
mod source;

use std::sync::Arc;

use super::{Abilities, Connector};

pub use config::MemoryConfig;
pub use queue::{MemoryQueue, Snapshot};

/// The connector of a [`MemoryQueue`]; a source and a sink.
#[derive(Debug)]
pub struct Memory {
    queue: Arc<MemoryQueue>,
}

impl Memory {
    /// Makes a connector of a queue.
    pub fn new(queue: Arc<MemoryQueue>) -> Self {
        Self { queue }
    }
}

impl Connector for Memory {
    const KIND: &'static str = "memory";

    fn abilities(&self) -> Abilities<'_> {
        Abilities::none().count(self).letters(self).take_back(self)
    }
}
