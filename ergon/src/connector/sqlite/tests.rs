//! Tests one queue within one process; `tests/systems/sqlite.rs` has the conformance suite and the tests with processes.

use std::time::Duration;

use tempfile::TempDir;

use super::{Sqlite, SqliteConfig};
use crate::connector::prelude::*;

/// A folder with one file for all queues of a test.
struct Queues(TempDir);

impl Queues {
    fn config(&self, place: &str) -> SqliteConfig {
        SqliteConfig::new(self.0.path().join("queue.db"), place).with_lease(Duration::from_secs(2))
    }
}

async fn opened(config: &SqliteConfig) -> Sqlite {
    let queue = config.build(&Context::new("task", "slot")).unwrap();
    queue.open().await.unwrap();
    queue
}

fn order(id: &str) -> Transaction {
    Transaction::new(id, &"two apples").unwrap()
}

async fn ids(queue: &Sqlite, max: usize) -> Vec<String> {
    let deliveries = queue.fetch(&FetchRequest::new(max)).await.unwrap();
    deliveries.iter().map(|delivery| delivery.transaction().id().to_owned()).collect()
}

#[tokio::test]
async fn a_rejected_row_moves_to_the_dead_letter_queue() {
    let folder = Queues(tempfile::tempdir().unwrap());
    let queue = opened(&folder.config("orders")).await;
    queue.dispatch(vec![order("a"), order("b")]).await.unwrap();
    let mut deliveries = queue.fetch(&FetchRequest::new(2)).await.unwrap();
    let second = deliveries.pop().unwrap().settle(Disposition::Reject);
    let first = deliveries.pop().unwrap().settle(Disposition::Ack);
    queue.settle(vec![first, second]).await.unwrap();
    assert_eq!(queue.count().await.unwrap(), 0);
    assert_eq!(ids(&opened(&folder.config("orders.dead")).await, 9).await, ["b"]);
}

#[tokio::test]
async fn a_delayed_row_is_visible_when_its_time_has_come() {
    let folder = Queues(tempfile::tempdir().unwrap());
    let queue = opened(&folder.config("orders")).await;
    queue.dispatch(vec![order("later").after(Duration::from_millis(200)), order("now")]).await.unwrap();
    assert_eq!(ids(&queue, 9).await, ["now"]);
    let waited = queue.fetch(&FetchRequest::new(9).waiting()).await.unwrap();
    assert_eq!(waited[0].transaction().id(), "later");
}

#[tokio::test]
async fn a_waiting_fetch_sees_what_another_connector_dispatches() {
    let folder = Queues(tempfile::tempdir().unwrap());
    let (queue, other) = (opened(&folder.config("orders")).await, opened(&folder.config("orders")).await);
    let request = FetchRequest::new(9).waiting();
    let (fetched, dispatched) = tokio::join!(queue.fetch(&request), other.dispatch(vec![order("a")]));
    dispatched.unwrap();
    assert_eq!(fetched.unwrap().len(), 1);
}

#[tokio::test]
async fn a_key_travels() {
    let folder = Queues(tempfile::tempdir().unwrap());
    let queue = opened(&folder.config("orders")).await;
    let keyed = Transaction::builder().id("a").key("customer-7").build();
    queue.dispatch(vec![keyed]).await.unwrap();
    let fetched = queue.fetch(&FetchRequest::new(1)).await.unwrap();
    assert_eq!(fetched[0].transaction().key(), Some("customer-7"));
}
