//! The engine beside bare floors, in one run: the same no-op transactions through a plain loop, `FuturesUnordered`,
//! `tokio::spawn` with a semaphore, and the engine.
//!
//! `cargo bench -p ergon --bench engine` prints a table; `-- --json` one JSON line for each row. Each figure is the
//! median of five interleaved rounds. Allocations are those of the whole process while the row ran.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, reason = "a benchmark prints and may fail")]
#![allow(missing_docs, clippy::cast_precision_loss, reason = "figures for people")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use ergon::connector::memory::{MemoryConfig, MemoryQueue};
use ergon::prelude::*;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::Semaphore;

const TRANSACTIONS: usize = 200_000;
const ROUNDS: usize = 5;
const CONCURRENCIES: [usize; 4] = [1, 16, 64, 256];

struct Noop {
    policy: ConsumerPolicy,
}

impl Task for Noop {
    const NAME: &'static str = "noop";
}

impl Consumer for Noop {
    type Payload = Payload;
    type Output = usize;

    async fn process_transaction(&self, transaction: &Transaction<Payload>) -> Result<usize> {
        Ok(transaction.id().len() + self.policy.concurrency)
    }
}

fn config(queue: &'static str, concurrency: usize) -> TaskConfig {
    let policy = ConsumerPolicy { concurrency, batch_size: 256, ..ConsumerPolicy::DEFAULT };
    let source = MemoryConfig::new(queue);
    ergon::__private::consumer::<Noop, _>(policy, |_| None, move |parts| {
        parts.source("input", &source)?;
        Ok(Noop { policy: parts.consumer_policy() })
    })
}

fn transactions() -> Vec<Transaction> {
    let payload = Payload::bytes(ContentType::Json, br#"{"sku":"A-1","quantity":2}"#.as_slice());
    let make = |n| Transaction::builder().id(format!("order-{n}")).payload(payload.clone()).build();
    (0..TRANSACTIONS).map(make).collect()
}

async fn work(task: &Noop, transaction: &Transaction) {
    let transaction = transaction.decoded::<Payload>().unwrap();
    let output = task.process_transaction(&transaction).await.unwrap();
    task.handle_process_success(&transaction, &output).await.unwrap();
}

async fn plain_loop(transactions: Vec<Transaction>, task: Arc<Noop>) {
    for transaction in transactions {
        work(&task, &transaction).await;
    }
}

async fn futures_unordered(transactions: Vec<Transaction>, task: Arc<Noop>) {
    let concurrency = task.policy.concurrency;
    let mut rest = transactions.into_iter();
    let one = |transaction: Transaction| {
        let task = &task;
        async move { work(task, &transaction).await }
    };
    let mut running: FuturesUnordered<_> = rest.by_ref().take(concurrency).map(one).collect();
    while running.next().await.is_some() {
        if let Some(transaction) = rest.next() {
            running.push(one(transaction));
        }
    }
}

async fn spawn_semaphore(transactions: Vec<Transaction>, task: Arc<Noop>) {
    let permits = Arc::new(Semaphore::new(task.policy.concurrency));
    for transaction in transactions {
        let permit = Arc::clone(&permits).acquire_owned().await.unwrap();
        let task = Arc::clone(&task);
        tokio::spawn(async move {
            work(&task, &transaction).await;
            drop(permit);
        });
    }
    let _all = permits.acquire_many(u32::try_from(task.policy.concurrency).unwrap()).await.unwrap();
}

async fn engine(transactions: Vec<Transaction>, concurrency: usize) -> Duration {
    let queue = MemoryQueue::named("bench");
    queue.extend(transactions);
    let config = config("bench", concurrency);
    let began = Instant::now();
    let report = ergon::testing::run(config).await.unwrap();
    let took = began.elapsed();
    assert_eq!(report.tally.succeeded, TRANSACTIONS as u64);
    took
}
