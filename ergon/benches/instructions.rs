//! Counts the instructions and allocations of the engine for one transaction. As a gate, the benchmark fails if either
//! figure rises.
//!
//! Each row runs one task between memory queues on a runtime of one thread, at two lengths. A figure is the difference
//! between the long and the short run, for each transaction, so the fixed costs of a run do not count. Making the
//! transactions and putting them into the queue does not count either. This program runs itself under `valgrind`, which
//! counts instructions and calls of the C library's allocator; unlike times, both counts stay the same on a busy
//! machine.
//!
//! `cargo bench -p ergon --bench instructions` prints one JSON line for each row.
//!
//! | argument | effect |
//! |---|---|
//! | `-- --gate` | compares with the baseline; the program fails where a figure rose |
//! | `-- --write-baseline` | writes the baseline, `benches/instructions.json` |
//!
//! The gate fails if instructions rise by more than 2 %, or if allocations, which are rounded to 0.01, rise at all.
//! Without `valgrind`, the program prints SKIPPED and succeeds.
//!
//! Another compiler makes other code of the same source. So instructions are compared only if the compiler, the
//! architecture and the feature `opentelemetry` are those of the baseline. Otherwise this half of the gate prints
//! SKIPPED and the reason. With another C library or another `valgrind`, the program prints its name and compares all
//! the same, because the effect is below 1 %.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark prints and may fail"
)]
#![allow(missing_docs, clippy::cast_precision_loss, reason = "figures for people")]

use std::collections::HashSet;
use std::io::ErrorKind;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use ergon::connector::memory::MemoryQueue;
use ergon::prelude::*;
use ergon::testing;
use ergon::transaction::Payload;
use serde::Serialize;
use tokio::runtime::Runtime;

/// The lengths of the two runs whose difference is a figure.
const SHORT: u64 = 2_000;
const LONG: u64 = 12_000;

/// The rise of instructions that the gate allows, in percent.
const TOLERANCE: f64 = 2.0;

const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.json");

#[ergon::task(connectors(input), consumer(batch_size = 256))]
struct Noop;

impl Consumer for Noop {
    type Payload = Payload;
    type Output = usize;

    async fn process_transaction(&self, transaction: &Transaction<Payload>) -> Result<usize> {
        Ok(transaction.id().len())
    }
}

#[derive(Deserialize)]
struct Order {
    sku: String,
    quantity: usize,
}

#[ergon::task(connectors(input), consumer(batch_size = 256))]
struct Decoded;

impl Consumer for Decoded {
    type Payload = Order;
    type Output = usize;

    async fn process_transaction(&self, order: &Transaction<Order>) -> Result<usize> {
        Ok(order.payload().sku.len() + order.payload().quantity)
    }
}

/// The rows that are measured.
struct Row {
    name: &'static str,
    concurrency: usize,
    config: fn(MemoryConfig) -> TaskConfig,
}

const fn row(name: &'static str, concurrency: usize, config: fn(MemoryConfig) -> TaskConfig) -> Row {
    Row { name, concurrency, config }
}

const ROWS: [Row; 4] = [
    row("no-op", 1, |input| Noop::config(NoopWiring { input })),
    row("no-op", 64, |input| Noop::config(NoopWiring { input })),
    row("decoded", 1, |input| Decoded::config(DecodedWiring { input })),
    row("decoded", 64, |input| Decoded::config(DecodedWiring { input })),
];

impl Row {
    /// Makes a run over `count` transactions that wait in a new queue.
    fn prepare(&self, count: u64) -> Prepared {
        ergon::__private::set_quick_limit(Duration::MAX);
        let queue = format!("{}-{}-{count}", self.name, self.concurrency);
        MemoryQueue::named(&queue).extend((0..count).map(transaction));
        let config = (self.config)(MemoryConfig::new(queue));
        Prepared {
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            config: config.consumer(|policy| policy.concurrency = self.concurrency),
            count,
        }
    }

    /// `None` if `valgrind` is not installed.
    fn figures(&self) -> Option<Figures> {
        let (long, short) = (self.counted(LONG)?, self.counted(SHORT)?);
        let each = |long: u64, short: u64| (long as f64 - short as f64) / (LONG - SHORT) as f64;
        Some(Figures {
            row: self.name.to_owned(),
            concurrency: self.concurrency,
            instructions: each(long.instructions, short.instructions).round(),
            allocations: (each(long.allocations, short.allocations) * 100.0).round() / 100.0,
        })
    }

    /// Runs this program under `valgrind`, and returns the counts from the start of `run_measured`.
    fn counted(&self, length: u64) -> Option<Counted> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("counts");
        let child = Command::new("valgrind")
            .args(["--tool=callgrind", "--zero-before=*::run_measured*"])
            .arg(format!("--callgrind-out-file={}", file.display()))
            .arg(std::env::current_exe().unwrap())
            .args(["--child", self.name, &self.concurrency.to_string(), &length.to_string()])
            .stdin(Stdio::null())
            .output();
        let output = match child {
            Ok(output) => output,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => panic!("valgrind cannot be started: {error}"),
        };
        assert!(output.status.success(), "valgrind: {}", String::from_utf8_lossy(&output.stderr));
        let counted = Counted::read(&std::fs::read_to_string(file).unwrap());
        assert!(counted.instructions > 0 && counted.allocations > 0, "callgrind counted nothing");
        Some(counted)
    }
}

/// The counts of `callgrind` in one run.
struct Counted {
    instructions: u64,
    allocations: u64,
}

impl Counted {
    /// Functions of the C library that allocate.
    const ALLOCATE: [&'static str; 5] = ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"];

    /// Reads what `callgrind` writes: `cfn=(<number>) <name>` names the function that is called, the name appears only
    /// where the number is new; `calls=<count> …` in the next line has the number of calls.
    fn read(text: &str) -> Self {
        let mut counted = Self { instructions: 0, allocations: 0 };
        let (mut allocators, mut called) = (HashSet::new(), "");
        for line in text.lines() {
            if let Some((callee, name)) = line.split_once("fn=(").and_then(|(_, rest)| rest.split_once(')')) {
                // A function that calls itself has the depth behind its name: `realloc'2`.
                if Self::ALLOCATE.contains(&name.trim().split('\'').next().unwrap_or_default()) {
                    allocators.insert(callee);
                }
                if line.starts_with("cfn=") {
                    called = callee;
                }
            } else if let Some(calls) = line.strip_prefix("calls=")
                && allocators.contains(called)
            {
                let count = calls.split(' ').next().and_then(|count| count.parse::<u64>().ok());
                counted.allocations += count.expect("a count of calls");
            } else if let Some(total) = line.strip_prefix("totals: ") {
                counted.instructions = total.trim().parse().expect("a count of instructions");
            }
        }
        counted
    }
}

fn transaction(n: u64) -> Transaction {
    let payload = Payload::bytes(ContentType::Json, br#"{"sku":"A-1","quantity":2}"#.as_slice());
    Transaction::builder().id(format!("order-{n}")).payload(payload).build()
}

struct Prepared {
    runtime: Runtime,
    config: TaskConfig,
    count: u64,
}

/// The part of the program that is counted. `valgrind` finds this function by its name.
#[inline(never)]
fn run_measured(Prepared { runtime, config, count }: Prepared) {
    let report = runtime.block_on(testing::run(config)).unwrap();
    assert_eq!(report.tally.succeeded, count);
}

/// The cost of one transaction.
#[derive(Debug, Serialize, Deserialize)]
struct Figures {
    row: String,
    concurrency: usize,
    instructions: f64,
    allocations: f64,
}

/// The environment in which the figures were made.
#[derive(Debug, Serialize, Deserialize)]
struct Environment {
    rustc: String,
    architecture: String,
    opentelemetry: bool,
    libc: String,
    valgrind: String,
}

impl Environment {
    fn here() -> Self {
        Self {
            rustc: first_line("rustc", "--version"),
            architecture: std::env::consts::ARCH.to_owned(),
            opentelemetry: cfg!(feature = "opentelemetry"),
            libc: first_line("ldd", "--version"),
            valgrind: first_line("valgrind", "--version"),
        }
    }

    /// The name and both values of each part of the environment that differs from the baseline.
    fn differences(&self, baseline: &Self) -> Vec<Difference> {
        let telemetry = |is_built_in: bool| if is_built_in { "built in" } else { "not built in" }.to_owned();
        let difference = |what, then: &str, now: &str, comparable| {
            (then != now).then(|| {
                let text = format!("{what}: the baseline has `{then}`, here is `{now}`");
                Difference { text, comparable }
            })
        };
        let telemetry = (telemetry(baseline.opentelemetry), telemetry(self.opentelemetry));
        [
            difference("rustc", &baseline.rustc, &self.rustc, false),
            difference("architecture", &baseline.architecture, &self.architecture, false),
            difference("opentelemetry", &telemetry.0, &telemetry.1, false),
            difference("libc", &baseline.libc, &self.libc, true),
            difference("valgrind", &baseline.valgrind, &self.valgrind, true),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

struct Difference {
    text: String,
    /// Whether instructions may be compared in spite of a difference.
    comparable: bool,
}

/// The first line that a program prints; empty if there is no such program. It runs in the folder of the package, so
/// that the compiler is that of `rust-toolchain.toml`.
fn first_line(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned()
}

#[derive(Debug, Serialize, Deserialize)]
struct Baseline {
    environment: Environment,
    rows: Vec<Figures>,
}

impl Baseline {
    fn read() -> Self {
        let text = std::fs::read_to_string(BASELINE).expect("the baseline; `-- --write-baseline` writes it");
        serde_json::from_str(&text).expect("the baseline")
    }

    fn write(&self) {
        let text = serde_json::to_string_pretty(self).unwrap();
        std::fs::write(BASELINE, text + "\n").unwrap();
    }

    /// The figures of the same row. A row that the baseline does not have is an error, because a rise of it would not
    /// be noticed.
    fn figures(&self, of: &Figures) -> &Figures {
        let same = |row: &&Figures| row.row == of.row && row.concurrency == of.concurrency;
        self.rows.iter().find(same).expect("the row in the baseline; `-- --write-baseline` writes it")
    }
}

/// Compares figures with the baseline; returns whether none of them rose.
fn passes(now: &Baseline) -> bool {
    let baseline = Baseline::read();
    let differences = now.environment.differences(&baseline.environment);
    for difference in &differences {
        eprintln!("note: {}", difference.text);
    }
    let comparable = differences.iter().all(|difference| difference.comparable);
    if !comparable {
        eprintln!(
            "SKIPPED: instructions are not compared, because other code was compiled than for the baseline; \
             `-- --write-baseline` writes a baseline for it"
        );
    }
    let mut passed = true;
    for figures in &now.rows {
        let before = baseline.figures(figures);
        let what = format!("{} at {}", figures.row, figures.concurrency);
        let (then, now) = (before.instructions, figures.instructions);
        let percent = 100.0 * (now - then) / then;
        if comparable {
            let figures = format!("{what}: {then} instructions in the baseline, {now} now, {percent:+.2} %");
            if percent > TOLERANCE {
                eprintln!("FAILED: {figures}; at most {TOLERANCE:+} % is allowed");
                passed = false;
            } else {
                eprintln!("ok: {figures}");
            }
        }
        let (then, now) = (before.allocations, figures.allocations);
        if now > then {
            eprintln!("FAILED: {what}: {then} allocations in the baseline, {now} now; no rise is allowed");
            passed = false;
        } else {
            eprintln!("ok: {what}: {then} allocations in the baseline, {now} now");
        }
    }
    passed
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, name, concurrency, length] = arguments.as_slice()
        && first == "--child"
    {
        let concurrency: usize = concurrency.parse().unwrap();
        let row = ROWS.iter().find(|row| row.name == name && row.concurrency == concurrency).unwrap();
        run_measured(row.prepare(length.parse().unwrap()));
        return ExitCode::SUCCESS;
    }
    let given = |name: &str| arguments.iter().any(|argument| argument == name);
    let rows = ROWS.iter().map(|row| {
        let figures = row.figures()?;
        println!("{}", serde_json::to_string(&figures).unwrap());
        Some(figures)
    });
    let Some(rows) = rows.collect() else {
        println!("SKIPPED: valgrind was not found");
        return ExitCode::SUCCESS;
    };
    let now = Baseline { rows, environment: Environment::here() };
    if given("--write-baseline") {
        now.write();
    }
    if given("--gate") && !passes(&now) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
