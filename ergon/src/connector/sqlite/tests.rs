//! Tests one queue within one process; `tests/systems/sqlite.rs` has the conformance suite and the tests with processes.

use std::time::Duration;

use tempfile::TempDir;

use super::{DeadLetterQueue, Opened, Sqlite, SqliteConfig, queue};
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
async fn a_waiting_fetch_sees_what_another_connector_dispatches() {
    let folder = Queues(tempfile::tempdir().unwrap());
    let (queue, other) = (opened(&folder.config("orders")).await, opened(&folder.config("orders")).await);
    let request = FetchRequest::new(9).waiting();
    let (fetched, dispatched) = tokio::join!(queue.fetch(&request), other.dispatch(vec![order("a")]));
    dispatched.unwrap();
    assert_eq!(fetched.unwrap().len(), 1);
}

#[tokio::test]
async fn a_rejected_row_is_deleted_if_the_queue_has_no_dead_letter_queue() {
    let folder = Queues(tempfile::tempdir().unwrap());
    let mut config = folder.config("orders");
    config.dead_letter = DeadLetterQueue::Default(false);
    let queue = opened(&config).await;
    queue.dispatch(vec![order("a")]).await.unwrap();
    let rejected = queue.fetch(&FetchRequest::new(1)).await.unwrap().remove(0).settle(Disposition::Reject);
    queue.settle(vec![rejected]).await.unwrap();
    assert_eq!(queue.count().await.unwrap(), 0);
    assert!(ids(&opened(&folder.config("orders.dead")).await, 9).await.is_empty());
}

#[tokio::test]
async fn a_delivery_that_another_connector_has_claimed_is_not_settled() {
    let folder = Queues(tempfile::tempdir().unwrap());
    let (slow, other) = (opened(&folder.config("orders")).await, opened(&folder.config("orders")).await);
    slow.dispatch(vec![order("a")]).await.unwrap();
    let delivery = slow.fetch(&FetchRequest::new(1)).await.unwrap().remove(0);
    // The lease ends behind the back of its owner, as when the machine was suspended.
    let Opened { database, .. } = slow.opened().unwrap();
    database.write(|connection| connection.execute("UPDATE message SET visible_at = 1", [])).await.unwrap();
    let claimed = other.fetch(&FetchRequest::new(1)).await.unwrap();
    assert_eq!(claimed[0].transaction().deliveries(), 2);
    let error = slow.settle(vec![delivery.settle(Disposition::Ack)]).await.unwrap_err();
    assert_eq!(error.outcome(0), ItemOutcome::Unknown);
    let settled = claimed.into_iter().map(|delivery| delivery.settle(Disposition::Ack)).collect();
    other.settle(settled).await.unwrap();
}

#[tokio::test]
async fn a_file_that_cannot_be_a_queue_is_refused_with_the_reason() {
    let folder = Queues(tempfile::tempdir().unwrap());
    let config = folder.config("orders");
    std::fs::write(&config.path, "customer;amount\n".repeat(100)).unwrap();
    let error = config.build(&Context::new("task", "slot")).unwrap().open().await.unwrap_err();
    assert!(error.is_permanent() && error.message().contains("not a SQLite database"), "{error}");

    let other = folder.0.path().join("newer.db");
    let connection = rusqlite::Connection::open(&other).unwrap();
    queue::migrate(&connection).unwrap();
    connection.execute("UPDATE ergon_schema SET version = 99", []).unwrap();
    drop(connection);
    let newer = SqliteConfig::new(other, "orders").build(&Context::new("task", "slot")).unwrap();
    let error = newer.open().await.unwrap_err();
    assert!(error.is_permanent() && error.message().contains("version 99"), "{error}");
}

#[test]
fn settings_that_can_never_work_are_refused() {
    let build = |config: SqliteConfig| config.build(&Context::new("task", "slot")).unwrap_err().to_string();
    assert!(build(SqliteConfig::new("a.db", "")).contains("`queue` is empty"));
    let short = SqliteConfig::new("a.db", "a").with_lease(Duration::from_millis(999));
    assert!(build(short).contains("shorter than 1s"));
    let mut own = SqliteConfig::new("a.db", "a");
    own.dead_letter = DeadLetterQueue::Named("a".to_owned());
    assert!(build(own).contains("is the queue `a` itself"));
}
