//! Compares the RabbitMQ connector under the engine with bare `lapin`: both do the same work in one run, in interleaved
//! rounds.
//!
//! `ERGON_TEST_AMQP_URL=amqp://guest:guest@127.0.0.1 cargo bench -p ergon --features rabbitmq --bench rabbitmq` prints
//! a table. `-- --only consume` leaves out the other rows, and `-- --json` prints one JSON line for each row. Every run
//! begins with a queue of the same depth: 20,000 persistent messages of 256 bytes. On a small machine the broker is the
//! limit, so the processor time of both sides is shown for each transaction.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark prints and may fail"
)]
#![allow(missing_docs, clippy::cast_precision_loss, clippy::indexing_slicing, reason = "figures for people")]

mod broker;
mod floors;
mod tasks;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures_util::future::LocalBoxFuture;

/// The number of messages that a run moves.
const MESSAGES: usize = 20_000;
/// The number of messages that may be delivered and not settled, or in flight at the same time.
const IN_FLIGHT: u16 = 256;
/// The number of messages that may be published and not confirmed.
const OUTSTANDING: usize = 1024;
const ROUNDS: usize = 7;

/// One way to do the work. Returns the time that it took.
type Way = (&'static str, fn() -> LocalBoxFuture<'static, Duration>);

struct Comparison {
    what: &'static str,
    /// The first is the floor.
    ways: &'static [Way],
    /// The share of the floor's rate that Ergon promises.
    budget: f64,
}

const COMPARISONS: &[Comparison] = &[
    Comparison {
        what: "consume + decode + ack",
        ways: &[
            ("lapin, ack multiple every 64", || Box::pin(floors::consume(64))),
            ("lapin, each acked", || Box::pin(floors::consume(1))),
            ("ergon", || Box::pin(tasks::consume())),
        ],
        budget: 0.90,
    },
    Comparison {
        what: "consume + publish confirmed + ack",
        ways: &[
            ("lapin, ack multiple in order", || Box::pin(floors::pipe())),
            ("ergon", || Box::pin(tasks::pipe())),
        ],
        budget: 0.95,
    },
    Comparison {
        what: "publish confirmed",
        ways: &[
            ("lapin, 1,024 outstanding", || Box::pin(floors::publish())),
            ("ergon, 1,024 dispatches at once", || Box::pin(tasks::publish(1))),
            ("ergon, batches of 64", || Box::pin(tasks::publish(64))),
        ],
        budget: 0.95,
    },
];

/// The cost of one run.
#[derive(Clone, Copy)]
struct Cost {
    rate: f64,
    /// Processor time for each message, in microseconds: of this process and of the broker.
    cpu: (f64, f64),
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |flag: &str| arguments.iter().skip_while(|argument| *argument != flag).nth(1).cloned();
    let (only, json) = (after("--only").unwrap_or_default(), arguments.iter().any(|a| a == "--json"));
    if std::env::var_os("ERGON_TEST_AMQP_URL").is_none() {
        return println!("SKIPPED: set ERGON_TEST_AMQP_URL to the address of a broker");
    }
    for comparison in COMPARISONS.iter().filter(|comparison| comparison.what.contains(&only)) {
        compare(comparison, json);
    }
}

fn compare(comparison: &Comparison, json: bool) {
    let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); comparison.ways.len()];
    for _ in 0..ROUNDS {
        for ((_, way), costs) in comparison.ways.iter().zip(&mut costs) {
            costs.push(measure(*way));
        }
    }
    let floor = median(&costs[0], |cost| cost.rate);
    if !json {
        println!(
            "\n{}: {MESSAGES} messages, medians of {ROUNDS}, budget {}",
            comparison.what, comparison.budget
        );
    }
    for ((name, _), costs) in comparison.ways.iter().zip(&costs) {
        let rate = median(costs, |cost| cost.rate);
        let (own, broker) = (median(costs, |cost| cost.cpu.0), median(costs, |cost| cost.cpu.1));
        let ratio = rate / floor;
        if json {
            println!(
                r#"{{"what":"{}","way":"{name}","per_second":{rate:.0},"ratio":{ratio:.3},"cpu_us":{own:.1},"broker_cpu_us":{broker:.1}}}"#,
                comparison.what
            );
        } else {
            println!(
                "  {name:<34} {rate:>8.0}/s  {ratio:>5.2} x  own {own:>5.1} us  broker {broker:>5.1} us"
            );
        }
    }
}

fn measure(way: fn() -> LocalBoxFuture<'static, Duration>) -> Cost {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let before = broker::cpu();
    let took = runtime.block_on(way());
    let after = broker::cpu();
    let each = |spent: Duration| spent.as_secs_f64() * 1e6 / MESSAGES as f64;
    Cost {
        rate: MESSAGES as f64 / took.as_secs_f64(),
        cpu: (each(after.0.saturating_sub(before.0)), each(after.1.saturating_sub(before.1))),
    }
}

/// The time at which the first message of the run was handled. Connecting and declaring do not count.
static BEGAN: Mutex<Option<Instant>> = Mutex::new(None);

/// Records that a message is handled.
fn handled() {
    let mut began = BEGAN.lock().unwrap();
    began.get_or_insert_with(Instant::now);
}

/// The time since the first message was handled.
fn took() -> Duration {
    BEGAN.lock().unwrap().take().expect("a message was handled").elapsed()
}

fn median(costs: &[Cost], figure: fn(&Cost) -> f64) -> f64 {
    let mut figures: Vec<f64> = costs.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
