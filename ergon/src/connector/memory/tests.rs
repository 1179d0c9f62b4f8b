//! Tests the endpoints of a memory connector.

use std::sync::Arc;

use super::{Memory, MemoryConfig, MemoryQueue};
use crate::connector::{ConnectorConfig, Context, Endpoint, Sink, Source};

fn configured(name: &str) -> Memory {
    MemoryConfig::new(name).build(&Context::new("task", "slot")).unwrap()
}

#[test]
fn who_shares_a_queue_is_at_one_place() {
    let orders = configured("placed-orders");
    assert_eq!(orders.reads_from(), [Endpoint::new("placed-orders")]);
    assert_eq!(orders.reads_from(), configured("placed-orders").writes_to());
    assert_ne!(orders.reads_from(), configured("placed-bills").writes_to());
}

#[test]
fn a_queue_without_a_name_is_a_place_of_its_own() {
    let (queue, other) = (MemoryQueue::new(), MemoryQueue::new());
    let reads_from = |queue: &Arc<MemoryQueue>| Memory::new(Arc::clone(queue)).reads_from();
    assert_eq!(reads_from(&queue), Memory::new(Arc::clone(&queue)).writes_to());
    assert_ne!(reads_from(&queue), reads_from(&other));
    let alike = MemoryQueue::named(reads_from(&queue)[0].name());
    assert_ne!(reads_from(&queue), reads_from(&alike), "a name can be any text");
}
