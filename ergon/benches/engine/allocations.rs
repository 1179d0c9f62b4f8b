//! Counts the allocations of the engine and the memory source for one transaction: the difference between a long and a
//! short run. This benchmark is a separate program, because a counting allocator costs time.
//!
//! `cargo bench -p ergon --bench allocations`

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark prints and may fail"
)]
#![allow(missing_docs, clippy::cast_precision_loss, reason = "figures for people")]

#[allow(dead_code, reason = "two benchmarks share it")]
mod floors;
#[allow(dead_code, reason = "two benchmarks share it")]
mod tasks;

use std::time::{Duration, Instant};

fn main() {
    for concurrency in [1, 64] {
        println!("async no-op at {concurrency}: {:.2} allocations each", allocations(concurrency));
    }
}

fn allocations(concurrency: usize) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let run = |count| {
        let counted = allocation_counter::measure(|| {
            runtime.block_on(tasks::noop(count, concurrency));
        });
        counted.count_total as f64
    };
    // Making a transaction is not a cost of the engine.
    let making = allocation_counter::measure(|| drop(floors::transactions(1000))).count_total as f64 / 1000.0;
    let (short, long) = (10_000, 110_000);
    (run(long) - run(short)) / (long - short) as f64 - making
}

/// The time since `began`.
fn since(began: Instant) -> Duration {
    began.elapsed()
}
