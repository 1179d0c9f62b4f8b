//! Compares the Excel source with bare `calamine`: both read the same workbook in one run.
//!
//! `cargo bench -p ergon --features excel --bench excel`
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a program for the terminal that may fail at once"
)]

use std::collections::HashMap;
use std::fs::File;
use std::hint::black_box;
use std::io::BufReader;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use calamine::{Data, DataRef, Xlsx};
use ergon::Connector;
use ergon::connector::excel::ExcelConfig;
use ergon::connector::{ConnectorConfig, Context, Disposition, FetchRequest, Source};
use serde::Deserialize;

const ROWS: u32 = 200_000;
const ROUNDS: usize = 5;
const NAMES: [&str; 10] = [
    "Row ID", "Order ID", "Customer", "City", "Category", "Sales", "Quantity", "Discount", "Profit",
    "Returned",
];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(dead_code, reason = "only the decoding matters")]
struct Order {
    #[serde(rename = "Row ID")]
    row: u32,
    #[serde(rename = "Order ID")]
    id: String,
    customer: String,
    city: String,
    category: String,
    sales: f64,
    quantity: u32,
    discount: f64,
    profit: f64,
    returned: bool,
}

/// Reads a workbook, and returns the number of its rows.
type Run = fn(&Path) -> u32;

/// The ways that are compared.
const RUNS: [(&str, Run); 4] = [
    ("calamine, reading only", bare),
    ("calamine, each row a map", bare_map),
    ("ergon, fetched", |path| runtime().block_on(ours(path, false))),
    ("ergon, each row a struct", |path| runtime().block_on(ours(path, true))),
];

fn main() {
    // The benchmark started this process for a single run, to measure the peak of its memory.
    let mut arguments = std::env::args().skip(1);
    if let (Some("--alone"), Some(run), Some(path)) =
        (arguments.next().as_deref(), arguments.next(), arguments.next())
    {
        RUNS[run.parse::<usize>().unwrap()].1(path.as_ref());
        return println!("{}", peak_memory());
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orders.xlsx");
    generate(&path);
    let mut times: [Vec<Duration>; RUNS.len()] = Default::default();
    // The runs are interleaved, so that other work on the machine affects all ways alike.
    for _ in 0..ROUNDS {
        for ((_, run), times) in RUNS.iter().zip(&mut times) {
            times.push(timed(|| run(&path)));
        }
    }
    println!("{ROWS} rows x {} columns, medians of {ROUNDS}", NAMES.len());
    let map = median(&mut times[1]);
    for (number, ((label, _), times)) in RUNS.iter().zip(&mut times).enumerate() {
        let time = median(times);
        let (rate, each) = (f64::from(ROWS) / time.as_secs_f64(), time.as_secs_f64() * 1e6 / f64::from(ROWS));
        let ratio = time.as_secs_f64() / map.as_secs_f64();
        let peak = alone(number, &path);
        println!("{label:<26} {rate:>9.0} rows/s {each:>6.2} µs/row {ratio:>5.2} x map, peak {peak}");
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

fn alone(run: usize, path: &Path) -> String {
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program).arg("--alone").arg(run.to_string()).arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The peak memory of this process, as Linux counts it.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or_else(|| "unknown".to_owned(), |size| size.trim().to_owned())
}

fn timed(run: impl FnOnce() -> u32) -> Duration {
    let start = Instant::now();
    assert_eq!(run(), ROWS);
    start.elapsed()
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn generate(path: &Path) {
    let mut book = rust_xlsxwriter::Workbook::new();
    let sheet = book.add_worksheet();
    sheet.write_row(0, 0, NAMES).unwrap();
    for row in 1..=ROWS {
        sheet.write(row, 0, row).unwrap().write(row, 1, format!("CA-2016-{row}")).unwrap();
        sheet.write(row, 2, format!("Customer {}", row % 800)).unwrap();
        sheet.write(row, 3, format!("City {}", row % 500)).unwrap();
        sheet.write(row, 4, ["Furniture", "Technology", "Office Supplies"][row as usize % 3]).unwrap();
        sheet.write(row, 5, f64::from(row) * 1.37).unwrap().write(row, 6, row % 14).unwrap();
        sheet.write(row, 7, f64::from(row % 8) / 10.0).unwrap();
        sheet.write(row, 8, f64::from(row) * 0.11 - 500.0).unwrap().write(row, 9, row % 9 == 0).unwrap();
    }
    book.save(path).unwrap();
}

fn bare(path: &Path) -> u32 {
    let mut workbook: Xlsx<BufReader<File>> = calamine::open_workbook(path).unwrap();
    let mut cells = workbook.worksheet_cells_reader("Sheet1").unwrap();
    let mut last = 0;
    while let Some(cell) = cells.next_cell().unwrap() {
        last = cell.get_position().0;
        black_box(cell.get_value());
    }
    last
}

fn bare_map(path: &Path) -> u32 {
    let mut workbook: Xlsx<BufReader<File>> = calamine::open_workbook(path).unwrap();
    let mut cells = workbook.worksheet_cells_reader("Sheet1").unwrap();
    let (mut row, mut rows, mut map) = (0, 0, HashMap::with_capacity(NAMES.len()));
    while let Some(cell) = cells.next_cell().unwrap() {
        let (at, column) = cell.get_position();
        if at == 0 {
            continue;
        }
        if at != row && row != 0 {
            rows += 1;
            black_box(std::mem::replace(&mut map, HashMap::with_capacity(NAMES.len())));
        }
        row = at;
        let value = match cell.get_value() {
            DataRef::SharedString(text) => Data::String((*text).to_owned()),
            other => Data::from(other.clone()),
        };
        map.insert(NAMES[column as usize].to_owned(), value);
    }
    black_box(map);
    rows + 1
}

async fn ours(path: &Path, decode: bool) -> u32 {
    let source = ExcelConfig::new(path).build(&Context::new("bench", "orders")).unwrap();
    source.open().await.unwrap();
    let (mut rows, request) = (0, FetchRequest::new(100));
    loop {
        let deliveries = source.fetch(&request).await.unwrap();
        if deliveries.is_empty() {
            source.close().await.unwrap();
            return rows;
        }
        let mut settlements = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            if decode {
                black_box(delivery.transaction().decode::<Order>().unwrap());
            }
            rows += 1;
            settlements.push(delivery.settle(Disposition::Ack));
        }
        source.settle(settlements).await.unwrap();
    }
}
