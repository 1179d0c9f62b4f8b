//! Compares the engine with bare floors in one run. No-op transactions go through a plain loop, `FuturesUnordered`,
//! `tokio::spawn` with a semaphore, and the engine. Blocking transactions go through threads over a shared cursor,
//! `spawn_blocking`, and the engine. In the last group, a thousand handlers wait a millisecond at the same time.
//!
//! `cargo bench -p ergon --bench engine` prints a table, and with `-- --json` one JSON line for each row. `-- --memory`
//! adds the memory that ten million transactions need. `-- --idle` adds half a minute with an empty source. `-- --only
//! blocking --way engine --at 8` leaves out all other rows; `--way` needs the whole name of a way. Each figure is the
//! median of five interleaved rounds, or of the number of rounds that `--rounds` gives.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark prints and may fail"
)]
#![allow(missing_docs, clippy::cast_precision_loss, clippy::indexing_slicing, reason = "figures for people")]

mod floors;
mod tasks;

use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::runtime::Runtime;

/// One way to run the work, and its name.
type Way = (&'static str, fn(usize) -> BoxFuture<'static, Duration>);

/// Ways that are compared with each other; ratios are to the first of them.
struct Comparison {
    what: &'static str,
    concurrencies: &'static [usize],
    transactions: usize,
    ways: &'static [Way],
}

const COMPARISONS: &[Comparison] = &[
    Comparison {
        what: "async no-op",
        concurrencies: &[1, 16, 64, 256],
        transactions: floors::TRANSACTIONS,
        ways: &[
            ("FuturesUnordered", |n| Box::pin(floors::futures_unordered(n))),
            ("plain loop", |n| Box::pin(floors::plain_loop(n))),
            ("spawn + semaphore", |n| Box::pin(floors::spawn_semaphore(n))),
            ("engine", |n| Box::pin(tasks::noop(floors::TRANSACTIONS, n))),
            ("engine, prefetch 64", |n| Box::pin(tasks::fetched_ahead(floors::TRANSACTIONS, n))),
        ],
    },
    Comparison {
        what: "blocking no-op",
        concurrencies: &[1, 8, 16, 64],
        transactions: floors::TRANSACTIONS,
        ways: &[
            ("threads, shared cursor", |n| Box::pin(std::future::ready(floors::threads(n)))),
            ("spawn_blocking", |n| Box::pin(floors::spawn_blocking(n))),
            ("engine", |n| Box::pin(tasks::blocking_noop(n))),
        ],
    },
    Comparison {
        what: "waits 1 ms",
        concurrencies: &[1000],
        transactions: floors::WAITING,
        ways: &[
            ("tasks, shared cursor", |n| Box::pin(floors::waiting_tasks(n))),
            ("engine", |n| Box::pin(tasks::waiting(n))),
        ],
    },
];

/// The format of the rows.
struct Table {
    json: bool,
}

/// The rows to measure, and the number of rounds.
struct Choice {
    only: String,
    way: String,
    at: Option<usize>,
    rounds: usize,
}

impl Choice {
    fn given() -> Self {
        let value = |name: &str| std::env::args().skip_while(|argument| argument != name).nth(1);
        Self {
            only: value("--only").unwrap_or_default(),
            way: value("--way").unwrap_or_default(),
            at: value("--at").and_then(|at| at.parse().ok()),
            rounds: value("--rounds").and_then(|rounds| rounds.parse().ok()).unwrap_or(5),
        }
    }
}

impl Table {
    fn row(&self, (what, way): (&str, &str), concurrency: usize, micros: f64, ratio: f64) {
        if self.json {
            let row = serde_json::json!(
                {"what": what, "way": way, "concurrency": concurrency, "us": micros, "ratio": ratio}
            );
            println!("{row}");
        } else {
            println!("{what:<16}{way:<24}{concurrency:>6}{micros:>12.3}{ratio:>10.2}");
        }
    }

    fn figure(&self, what: &str, value: f64, unit: &str) {
        if self.json {
            println!("{}", serde_json::json!({"what": what, "value": value, "unit": unit}));
        } else {
            println!("{what}: {value:.2} {unit}");
        }
    }
}

fn main() {
    let given = |name: &str| std::env::args().any(|argument| argument == name);
    let table = Table { json: given("--json") };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if !table.json {
        println!("{:<16}{:<24}{:>6}{:>12}{:>10}", "", "", "at", "us each", "x first");
    }
    let choice = Choice::given();
    for comparison in COMPARISONS.iter().filter(|comparison| comparison.what.contains(&choice.only)) {
        for concurrency in comparison.concurrencies {
            if choice.at.is_none_or(|at| at == *concurrency) {
                compare((comparison, &choice), *concurrency, &runtime, &table);
            }
        }
    }
    if given("--idle") {
        let (busy, asked) = runtime.block_on(tasks::idle(Duration::from_secs(30)));
        table.figure("an empty source, streaming: busy", busy, "% of a core");
        table.figure("an empty source, streaming: asked", asked, "times a second");
    }
    if given("--memory") {
        let grown = runtime.block_on(async { tokio::spawn(tasks::memory(10_000_000)).await.unwrap() });
        table.figure("memory over 10 M transactions", grown, "MiB above idle");
    }
}

fn compare(
    (comparison, choice): (&Comparison, &Choice),
    concurrency: usize,
    runtime: &Runtime,
    table: &Table,
) {
    let ways: Vec<&Way> =
        comparison.ways.iter().filter(|(name, _)| choice.way.is_empty() || *name == choice.way).collect();
    let mut figures: Vec<Vec<f64>> = ways.iter().map(|_| Vec::new()).collect();
    for _ in 0..choice.rounds {
        for ((_, way), figures) in ways.iter().zip(&mut figures) {
            let took = runtime.block_on(async { tokio::spawn(way(concurrency)).await.unwrap() });
            figures.push(took.as_secs_f64() * 1e6 / comparison.transactions as f64);
        }
    }
    let medians: Vec<f64> = figures.iter_mut().map(|figures| median(figures)).collect();
    for ((name, _), micros) in ways.iter().zip(&medians) {
        table.row((comparison.what, name), concurrency, *micros, micros / medians[0]);
    }
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// The time since `began`.
fn since(began: Instant) -> Duration {
    began.elapsed()
}
