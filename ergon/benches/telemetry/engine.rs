//! Runs the engine with a task that does nothing.

use std::time::Instant;

use ergon::connector::memory::{MemoryConfig, MemoryQueue};
use ergon::prelude::*;
use ergon::testing;
use ergon::transaction::Payload;

use crate::{CONCURRENCY, PASSES, TRANSACTIONS};

#[ergon::task(connectors(input), consumer(batch_size = 256))]
struct Noop;

impl Consumer for Noop {
    type Payload = Payload;
    type Output = usize;

    async fn process_transaction(&self, transaction: &Transaction<Payload>) -> Result<usize> {
        Ok(transaction.id().len())
    }
}

#[ergon::task(connectors(input), consumer(batch_size = 256))]
struct Says;

impl Consumer for Says {
    type Payload = Payload;
    type Output = usize;

    async fn process_transaction(&self, transaction: &Transaction<Payload>) -> Result<usize> {
        tracing::info!("processed");
        Ok(transaction.id().len())
    }
}

pub(crate) fn run() -> f64 {
    timed(|input| Noop::config(NoopWiring { input }))
}

pub(crate) fn run_with_a_line() -> f64 {
    timed(|input| Says::config(SaysWiring { input }))
}

fn transactions(count: usize) -> impl Iterator<Item = Transaction> {
    (0..count).map(|n| {
        let payload = Payload::bytes(ContentType::Json, br#"{"sku":"A-1","quantity":2}"#.as_slice());
        Transaction::builder().id(format!("order-{n}")).payload(payload).build()
    })
}

/// Microseconds for each transaction, after a short run that warms up.
fn timed(config: fn(MemoryConfig) -> TaskConfig) -> f64 {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        emptied("warm-up", TRANSACTIONS / 10, config).await;
        let mut sum = 0.0;
        for _ in 0..PASSES {
            sum += emptied("timed", TRANSACTIONS, config).await;
        }
        sum / PASSES as f64
    })
}

async fn emptied(name: &'static str, count: usize, config: fn(MemoryConfig) -> TaskConfig) -> f64 {
    MemoryQueue::named(name).extend(transactions(count));
    let config = config(MemoryConfig::new(name)).consumer(|policy| policy.concurrency = CONCURRENCY);
    let run = tokio::spawn(async move {
        let began = Instant::now();
        let report = testing::run(config).await.unwrap();
        (began.elapsed(), report.tally.succeeded)
    });
    let (took, succeeded) = run.await.unwrap();
    assert_eq!(succeeded, count as u64);
    took.as_secs_f64() * 1e6 / count as f64
}
