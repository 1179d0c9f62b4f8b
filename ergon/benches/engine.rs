//! The engine beside bare floors, in one run: the same no-op transactions through a plain loop, `FuturesUnordered`,
//! `tokio::spawn` with a semaphore, and the engine.
//!
//! `cargo bench -p ergon --bench engine` prints a table; `-- --json` one JSON line for each row. Each figure is the
//! median of five interleaved rounds. The last line is what the engine and the memory source allocate for one
//! transaction: the difference between a long and a short run, counted by the allocator.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark prints and may fail"
)]
#![allow(missing_docs, clippy::cast_precision_loss, clippy::indexing_slicing, reason = "figures for people")]

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
    ergon::__private::consumer::<Noop, _>(
        policy,
        |_| None,
        move |parts| {
            parts.source("input", &source)?;
            Ok(Noop { policy: parts.consumer_policy() })
        },
    )
}

fn transactions(count: usize) -> Vec<Transaction> {
    let make = |n| {
        let payload = Payload::bytes(ContentType::Json, br#"{"sku":"A-1","quantity":2}"#.as_slice());
        Transaction::builder().id(format!("order-{n}")).payload(payload).build()
    };
    (0..count).map(make).collect()
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
    let count = transactions.len();
    let queue = MemoryQueue::named("bench");
    queue.extend(transactions);
    let config = config("bench", concurrency);
    let began = Instant::now();
    let report = ergon::testing::run(config).await.unwrap();
    let took = began.elapsed();
    assert_eq!(report.tally.succeeded, count as u64);
    took
}

/// One row: a way of running, at one concurrency.
#[derive(Clone, Copy)]
enum Way {
    Loop,
    FuturesUnordered,
    Spawn,
    Engine,
}

impl Way {
    const ALL: [Self; 4] = [Self::Loop, Self::FuturesUnordered, Self::Spawn, Self::Engine];

    fn name(self) -> &'static str {
        match self {
            Self::Loop => "plain loop",
            Self::FuturesUnordered => "FuturesUnordered",
            Self::Spawn => "spawn + semaphore",
            Self::Engine => "engine",
        }
    }

    /// Microseconds of wall time for each transaction.
    async fn run(self, concurrency: usize) -> f64 {
        let transactions = transactions(TRANSACTIONS);
        let policy = ConsumerPolicy { concurrency, ..ConsumerPolicy::DEFAULT };
        let task = Arc::new(Noop { policy });
        let began = Instant::now();
        match self {
            Self::Loop => plain_loop(transactions, task).await,
            Self::FuturesUnordered => futures_unordered(transactions, task).await,
            Self::Spawn => spawn_semaphore(transactions, task).await,
            Self::Engine => return micros(engine(transactions, concurrency).await),
        }
        micros(began.elapsed())
    }
}

/// How often the engine and the memory source allocate for one transaction.
fn allocations(concurrency: usize) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let run = |count| {
        let transactions = transactions(count);
        let counted = allocation_counter::measure(|| {
            runtime.block_on(engine(transactions, concurrency));
        });
        counted.count_total as f64
    };
    let (short, long) = (10_000, 110_000);
    (run(long) - run(short)) / (long - short) as f64
}

fn micros(elapsed: Duration) -> f64 {
    elapsed.as_secs_f64() * 1e6 / TRANSACTIONS as f64
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn main() {
    let json = std::env::args().any(|argument| argument == "--json");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if !json {
        println!("{:<20}{:>12}{:>14}{:>16}", "", "concurrency", "us/transaction", "x FuturesUnord.");
    }
    for concurrency in CONCURRENCIES {
        let mut figures: [Vec<f64>; 4] = Default::default();
        for _ in 0..ROUNDS {
            for (way, figures) in Way::ALL.into_iter().zip(&mut figures) {
                figures.push(runtime.block_on(async { tokio::spawn(way.run(concurrency)).await.unwrap() }));
            }
        }
        let medians = figures.map(|mut figures| median(&mut figures));
        for (way, figure) in Way::ALL.into_iter().zip(medians) {
            let (name, ratio) = (way.name(), figure / medians[1]);
            if json {
                let row = serde_json::json!({"row": name, "concurrency": concurrency, "us": figure, "ratio": ratio});
                println!("{row}");
            } else {
                println!("{name:<20}{concurrency:>12}{figure:>14.3}{ratio:>16.2}");
            }
        }
    }
    let counted = allocations(64);
    if json {
        println!(
            "{}",
            serde_json::json!({"row": "allocations", "concurrency": 64, "per_transaction": counted})
        );
    } else {
        println!("allocations per transaction, engine and memory source, concurrency 64: {counted:.2}");
    }
}
