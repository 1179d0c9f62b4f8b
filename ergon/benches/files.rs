//! Copies a file of JSON lines to another, and a CSV file to another: by a bare loop over a buffered reader and
//! writer, and by a task, in one run. The bare loop does the same work to each record: it decodes the record into a
//! struct, changes the struct, and encodes the struct.
//!
//! `cargo bench -p ergon --bench files --features csv` prints a table; `-- --json` prints one JSON line for each row;
//! `-- --only csv --way task --at 64` leaves out all others. Each figure is the median of five interleaved rounds, or
//! of the number of rounds that `--rounds` gives. `--records` sets how many records each file has. `--fsync each`
//! measures the sink with that setting. `--counted` lets every transaction count as quick. Without `--counted`, no
//! transaction would be quick under a tool that counts instructions, such as `valgrind --tool=callgrind`.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark prints and may fail"
)]
#![allow(missing_docs, clippy::cast_precision_loss, clippy::indexing_slicing, reason = "figures for people")]

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ergon::prelude::*;
use ergon::testing;

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    number: String,
    customer: String,
    sku: String,
    quantity: u32,
    price: f64,
    note: Option<String>,
}

impl Order {
    fn numbered(n: usize) -> Self {
        Self {
            number: format!("order-{n:07}"),
            customer: format!("customer {}", n % 977),
            sku: format!("A-{}", n % 89),
            quantity: u32::try_from(n % 17).unwrap(),
            price: (n % 9973) as f64 / 100.0,
            note: n.is_multiple_of(3).then(|| "leave it at the door".to_owned()),
        }
    }

    fn doubled(&self) -> Self {
        Self {
            number: self.number.clone(),
            customer: self.customer.clone(),
            sku: self.sku.clone(),
            quantity: self.quantity * 2,
            price: self.price,
            note: self.note.clone(),
        }
    }
}

#[ergon::task(connectors(input, output), consumer(batch_size = 256))]
struct Double;

impl Consumer for Double {
    type Payload = Order;
    type Output = Order;

    async fn process_transaction(&self, order: &Transaction<Order>) -> Result<Order> {
        Ok(order.payload().doubled())
    }

    async fn handle_process_success(&self, order: &Transaction<Order>, doubled: &Order) -> Result<()> {
        self.output_connector.dispatch(order.derive(doubled)?).await
    }
}

/// Returns the value that follows an option on the command line.
fn given(option: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != option).nth(1)
}

struct Files {
    from: PathBuf,
    to: PathBuf,
    records: usize,
}

fn json_lines_loop(files: &Files, flushes: bool) {
    let mut out = BufWriter::new(File::create(&files.to).unwrap());
    for line in BufReader::new(File::open(&files.from).unwrap()).lines() {
        let order: Order = serde_json::from_str(&line.unwrap()).unwrap();
        serde_json::to_writer(&mut out, &order.doubled()).unwrap();
        out.write_all(b"\n").unwrap();
        if flushes {
            out.flush().unwrap();
        }
    }
    out.flush().unwrap();
}

fn csv_loop(files: &Files, flushes: bool) {
    let mut out = csv::Writer::from_path(&files.to).unwrap();
    for order in csv::Reader::from_path(&files.from).unwrap().deserialize::<Order>() {
        out.serialize(order.unwrap().doubled()).unwrap();
        if flushes {
            out.flush().unwrap();
        }
    }
    out.flush().unwrap();
}

async fn task(config: TaskConfig, files: &Files, concurrency: usize) {
    let config = config.consumer(|policy| policy.concurrency = concurrency);
    let report = testing::run(config).await.unwrap();
    assert_eq!(report.tally.succeeded, files.records as u64);
}

fn json_lines_task(files: &Files) -> TaskConfig {
    let mut output = JsonLinesConfig::new(&*files.to);
    output.fsync = fsync();
    Double::config(DoubleWiring { input: JsonLinesConfig::new(&*files.from), output })
}

fn csv_task(files: &Files) -> TaskConfig {
    let mut output = CsvConfig::new(&*files.to);
    output.fsync = fsync();
    Double::config(DoubleWiring { input: CsvConfig::new(&*files.from), output })
}

fn fsync() -> ergon::connector::Fsync {
    match given("--fsync").as_deref() {
        Some("each") => ergon::connector::Fsync::Each,
        Some("never") => ergon::connector::Fsync::Never,
        _ => ergon::connector::Fsync::End,
    }
}

/// Writes the file that is copied.
fn fill(kind: &str, files: &Files) {
    let orders = (0..files.records).map(Order::numbered);
    if kind == "csv" {
        let mut out = csv::Writer::from_path(&files.from).unwrap();
        orders.for_each(|order| out.serialize(order).unwrap());
        out.flush().unwrap();
    } else {
        let mut out = BufWriter::new(File::create(&files.from).unwrap());
        orders.for_each(|order| writeln!(out, "{}", serde_json::to_string(&order).unwrap()).unwrap());
        out.flush().unwrap();
    }
}

/// Copies the file in one way, and checks that the copy has every record. Returns the time that the copy took.
fn copy(runtime: &tokio::runtime::Runtime, (kind, way, at): (&str, &str, usize), files: &Files) -> Duration {
    let _ = std::fs::remove_file(&files.to);
    let began = Instant::now();
    match (kind, way) {
        ("json lines", "bare loop") => json_lines_loop(files, false),
        ("json lines", "loop, a write each") => json_lines_loop(files, true),
        ("csv", "bare loop") => csv_loop(files, false),
        ("csv", "loop, a write each") => csv_loop(files, true),
        ("csv", _) => runtime.block_on(task(csv_task(files), files, at)),
        _ => runtime.block_on(task(json_lines_task(files), files, at)),
    }
    let took = began.elapsed();
    let lines = BufReader::new(File::open(&files.to).unwrap()).lines().count();
    assert_eq!(lines, files.records + usize::from(kind == "csv"), "{kind} {way} {at}");
    took
}

fn main() {
    const WAYS: [(&str, usize); 5] =
        [("bare loop", 1), ("loop, a write each", 1), ("task", 1), ("task", 8), ("task", 64)];
    let number = |option: &str, else_it_is| given(option).and_then(|n| n.parse().ok()).unwrap_or(else_it_is);
    let (records, rounds) = (number("--records", 100_000), number("--rounds", 5));
    let (only, only_way, at) = (given("--only"), given("--way"), given("--at"));
    let json = std::env::args().any(|argument| argument == "--json");
    if std::env::args().any(|argument| argument == "--counted") {
        ergon::__private::set_quick_limit(Duration::MAX);
    }
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for kind in ["json lines", "csv"] {
        if only.as_deref().is_some_and(|only| !kind.contains(only)) {
            continue;
        }
        let at_path = |name: &str| Path::new(folder.path()).join(name);
        let files = Files { from: at_path("from"), to: at_path("to"), records };
        fill(kind, &files);
        let ways = WAYS.iter().filter(|(way, lanes)| {
            only_way.as_deref().is_none_or(|only| only == *way)
                && at.as_deref().is_none_or(|at| at == lanes.to_string())
        });
        let ways: Vec<_> = ways.collect();
        let mut figures: Vec<Vec<f64>> = ways.iter().map(|_| Vec::new()).collect();
        for _ in 0..rounds {
            for ((way, lanes), figures) in ways.iter().zip(&mut figures) {
                let took = copy(&runtime, (kind, way, *lanes), &files);
                figures.push(took.as_secs_f64() * 1e6 / records as f64);
            }
        }
        let medians = figures.iter_mut().map(|figures| {
            figures.sort_by(f64::total_cmp);
            figures[figures.len() / 2]
        });
        let medians: Vec<f64> = medians.collect();
        for ((way, lanes), micros) in ways.iter().zip(&medians) {
            let ratio = micros / medians[0];
            if json {
                println!(
                    "{}",
                    serde_json::json!({"what": kind, "way": way, "concurrency": lanes, "us": micros, "ratio": ratio})
                );
            } else {
                println!("{kind:<12}{way:<20}{lanes:>4}{micros:>10.3} us{ratio:>8.2} x");
            }
        }
    }
}
