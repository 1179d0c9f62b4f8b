//! What it costs to be seen: async no-op transactions at concurrency 64, with telemetry off, measured, traced, logged;
//! and the same three spans for each made by hand with the OpenTelemetry API.
//!
//! `cargo bench -p ergon --bench telemetry --features opentelemetry` prints a table; `-- --json` one JSON line for each
//! row; `-- --rounds 9` takes the median of nine interleaved rounds instead of five. Each round of each way is a process
//! of its own, because a process is observed in one way for its whole life.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark prints and may fail"
)]
#![allow(missing_docs, clippy::cast_precision_loss, clippy::indexing_slicing, reason = "figures for people")]

mod engine;
mod hand;

use std::process::Command;

use tokio::runtime::Handle;

/// How many transactions a round has, and how many are in work at once.
const TRANSACTIONS: usize = 200_000;
const CONCURRENCY: usize = 64;

/// A way of being seen; how one round of it is run, in microseconds for each transaction.
type Way = (&'static str, fn(&Handle) -> f64);

const WAYS: [Way; 13] = [
    ("off", |_| engine::run()),
    ("metrics", |_| {
        ergon::__private::observe::measure();
        engine::run()
    }),
    ("traces, none sampled", |runtime| traced(0.0, runtime)),
    ("traces, 1 % sampled", |runtime| traced(0.01, runtime)),
    ("traces, all sampled", |runtime| traced(1.0, runtime)),
    ("1 %, the collector is gone", |_| in_vain(0.01)),
    ("all, the collector is gone", |_| in_vain(1.0)),
    ("JSON logs, no line", |_| {
        ergon::__private::observe::log("info", |_| {});
        engine::run()
    }),
    ("JSON logs, a line each", |_| {
        ergon::__private::observe::log("info", |line| {
            std::hint::black_box(line);
        });
        engine::run_with_a_line()
    }),
    ("by hand: no spans", |_| hand::run(None)),
    ("by hand: none sampled", |_| hand::run(Some(0.0))),
    ("by hand: 1 % sampled", |_| hand::run(Some(0.01))),
    ("by hand: all sampled", |_| hand::run(Some(1.0))),
];

fn traced(ratio: f64, runtime: &Handle) -> f64 {
    ergon::__private::observe::trace(ratio, runtime);
    engine::run()
}

fn in_vain(ratio: f64) -> f64 {
    let _exports = ergon::__private::observe::trace_in_vain(ratio);
    engine::run()
}

/// The value after an argument.
fn given(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

fn main() {
    if let Some(way) = given("--way") {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (_, run) = WAYS.iter().find(|(name, _)| *name == way).unwrap();
        println!("{} {}", run(runtime.handle()), peak());
        return;
    }
    let rounds = given("--rounds").and_then(|rounds| rounds.parse().ok()).unwrap_or(5);
    let mut figures: Vec<Vec<f64>> = WAYS.iter().map(|_| Vec::new()).collect();
    let mut peaks: Vec<Vec<f64>> = WAYS.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (index, (name, _)) in WAYS.iter().enumerate() {
            let (micros, peak) = apart(name);
            figures[index].push(micros);
            peaks[index].push(peak);
        }
    }
    let medians: Vec<f64> = figures.iter_mut().map(|figures| median(figures)).collect();
    let peaks: Vec<f64> = peaks.iter_mut().map(|peaks| median(peaks)).collect();
    let json = std::env::args().any(|argument| argument == "--json");
    if !json {
        println!("{:<28}{:>12}{:>16}{:>12}", "", "us each", "more than off", "peak MiB");
    }
    for (((name, _), micros), peak) in WAYS.iter().zip(&medians).zip(&peaks) {
        let floor = if name.starts_with("by hand") { medians[9] } else { medians[0] };
        let more = micros - floor;
        if json {
            println!("{}", serde_json::json!({"what": name, "us": micros, "more": more, "peak_mib": peak}));
        } else {
            println!("{name:<28}{micros:>12.3}{more:>16.3}{peak:>12.1}");
        }
    }
}

/// One round in a process of its own: microseconds, and the process's peak in MiB.
fn apart(way: &str) -> (f64, f64) {
    let output = Command::new(std::env::current_exe().unwrap()).args(["--way", way]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut figures = text.split_whitespace().filter_map(|figure| figure.parse().ok());
    match (figures.next(), figures.next()) {
        (Some(micros), Some(peak)) => (micros, peak),
        _ => panic!("{text}{}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// The most memory that this process had, in MiB.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or_default() / 1024.0
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
