//! Runs the same work by bare means, without retries, limits, settlement or counts: the floors that the engine is
//! compared with.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ergon::prelude::*;
use ergon::transaction::Payload;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::Semaphore;

pub(crate) const TRANSACTIONS: usize = 200_000;
/// The number of transactions that wait a millisecond each.
pub(crate) const WAITING: usize = 100_000;

pub(crate) fn transaction(n: usize) -> Transaction {
    let payload = Payload::bytes(ContentType::Json, br#"{"sku":"A-1","quantity":2}"#.as_slice());
    Transaction::builder().id(format!("order-{n}")).payload(payload).build()
}

pub(crate) fn transactions(count: usize) -> Vec<Transaction> {
    (0..count).map(transaction).collect()
}

async fn work(transaction: Transaction) -> usize {
    let transaction = transaction.decoded::<Payload>().unwrap();
    std::hint::black_box(transaction.id().len())
}

pub(crate) async fn plain_loop(_: usize) -> Duration {
    let transactions = transactions(TRANSACTIONS);
    let began = Instant::now();
    for transaction in transactions {
        work(transaction).await;
    }
    super::since(began)
}

pub(crate) async fn futures_unordered(concurrency: usize) -> Duration {
    let mut rest = transactions(TRANSACTIONS).into_iter();
    let began = Instant::now();
    let mut running: FuturesUnordered<_> = rest.by_ref().take(concurrency).map(work).collect();
    while running.next().await.is_some() {
        if let Some(transaction) = rest.next() {
            running.push(work(transaction));
        }
    }
    super::since(began)
}

pub(crate) async fn spawn_semaphore(concurrency: usize) -> Duration {
    let transactions = transactions(TRANSACTIONS);
    let began = Instant::now();
    let permits = Arc::new(Semaphore::new(concurrency));
    for transaction in transactions {
        let permit = Arc::clone(&permits).acquire_owned().await.unwrap();
        tokio::spawn(async move {
            work(transaction).await;
            drop(permit);
        });
    }
    let _all = permits.acquire_many(u32::try_from(concurrency).unwrap()).await.unwrap();
    super::since(began)
}

fn blocking_work(transaction: &Transaction) -> usize {
    let transaction = transaction.decoded::<Payload>().unwrap();
    std::hint::black_box(transaction.id().len())
}

pub(crate) fn threads(concurrency: usize) -> Duration {
    let transactions: Arc<[Transaction]> = transactions(TRANSACTIONS).into();
    let began = Instant::now();
    let cursor = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..concurrency)
        .map(|_| {
            let (transactions, cursor) = (Arc::clone(&transactions), Arc::clone(&cursor));
            std::thread::spawn(move || {
                while let Some(transaction) = transactions.get(cursor.fetch_add(1, Ordering::Relaxed)) {
                    blocking_work(transaction);
                }
            })
        })
        .collect();
    tokio::task::block_in_place(|| threads.into_iter().for_each(|thread| thread.join().unwrap()));
    drop(transactions);
    super::since(began)
}

pub(crate) async fn spawn_blocking(concurrency: usize) -> Duration {
    let transactions = transactions(TRANSACTIONS);
    let began = Instant::now();
    let permits = Arc::new(Semaphore::new(concurrency));
    for transaction in transactions {
        let permit = Arc::clone(&permits).acquire_owned().await.unwrap();
        tokio::task::spawn_blocking(move || {
            blocking_work(&transaction);
            drop(permit);
        });
    }
    let _all = permits.acquire_many(u32::try_from(concurrency).unwrap()).await.unwrap();
    super::since(began)
}

/// One task for each transaction that may wait at the same time. A task that has finished takes the next transaction.
pub(crate) async fn waiting_tasks(concurrency: usize) -> Duration {
    let began = Instant::now();
    let cursor = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..concurrency {
        let cursor = Arc::clone(&cursor);
        tasks.spawn(async move {
            while cursor.fetch_add(1, Ordering::Relaxed) < WAITING {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }
    tasks.join_all().await;
    super::since(began)
}
