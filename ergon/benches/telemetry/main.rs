//! Measures the cost of telemetry: async no-op transactions at concurrency 64, with telemetry off, with metrics, with
//! traces and with logs. Further rows send traces to a collector that accepts everything, and to collectors that fail.
//! The last rows make the same three spans for each transaction by hand, with the OpenTelemetry API.
//!
//! `cargo bench -p ergon --bench telemetry --features opentelemetry` prints a table, and with `-- --json` one JSON line
//! for each row. `-- --rounds 9` takes the median of nine interleaved rounds instead of five. `-- --only collector`
//! runs only `off` and the rows with this word in their names. Each round of each way is a separate process, because
//! the telemetry of a process cannot change.
//!
//! A collector is a separate process. So that its own work does not count, it decodes nothing, and the table has the
//! processor time of the observed process next to the elapsed time.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark prints and may fail"
)]
#![allow(missing_docs, clippy::cast_precision_loss, clippy::indexing_slicing, reason = "figures for people")]

mod collector;
mod engine;
mod hand;

use std::process::Command;

use collector::{Collector, Mood};
use tokio::runtime::Handle;

/// The number of transactions of a pass, and the number of transactions in flight.
const TRANSACTIONS: usize = 200_000;
const CONCURRENCY: usize = 64;
/// The number of passes of a round, large enough for every queue to be full.
const PASSES: usize = 10;

/// A configuration of telemetry.
struct Way {
    name: &'static str,
    /// The configuration that it is compared with.
    beside: &'static str,
    /// Runs one round. Returns microseconds for each transaction.
    run: fn(&Handle) -> f64,
}

const fn way(name: &'static str, beside: &'static str, run: fn(&Handle) -> f64) -> Way {
    Way { name, beside, run }
}

const OFF: &str = "off";
const FEW: &str = "1 %, collector takes all";
const ALL: &str = "all, collector takes all";
const BY_HAND: &str = "by hand: no spans";

const WAYS: &[Way] = &[
    way(OFF, OFF, |_| engine::run()),
    way("metrics", OFF, |_| {
        ergon::__private::observe::measure();
        engine::run()
    }),
    way("traces, none sampled", OFF, |runtime| traced(0.0, runtime)),
    way("traces, 1 % sampled", OFF, |runtime| traced(0.01, runtime)),
    way("traces, all sampled", OFF, |runtime| traced(1.0, runtime)),
    way(FEW, FEW, |_| sent(0.01, Some(Mood::Takes))),
    way("1 %, collector is gone", FEW, |_| sent(0.01, None)),
    way("1 %, collector hangs", FEW, |_| sent(0.01, Some(Mood::Hangs))),
    way("1 %, collector refuses", FEW, |_| sent(0.01, Some(Mood::Refuses))),
    way("1 %, collector takes 1 B/s", FEW, |_| sent(0.01, Some(Mood::Slow))),
    way(ALL, ALL, |_| sent(1.0, Some(Mood::Takes))),
    way("all, collector is gone", ALL, |_| sent(1.0, None)),
    way("all, collector hangs", ALL, |_| sent(1.0, Some(Mood::Hangs))),
    way("all, collector refuses", ALL, |_| sent(1.0, Some(Mood::Refuses))),
    way("all, collector takes 1 B/s", ALL, |_| sent(1.0, Some(Mood::Slow))),
    way("JSON logs, no line", OFF, |_| {
        ergon::__private::observe::log("info", |_| {});
        engine::run()
    }),
    way("JSON logs, a line each", OFF, |_| {
        ergon::__private::observe::log("info", |line| {
            std::hint::black_box(line);
        });
        engine::run_with_a_line()
    }),
    way(BY_HAND, BY_HAND, |_| hand::run(None)),
    way("by hand: none sampled", BY_HAND, |_| hand::run(Some(0.0))),
    way("by hand: 1 % sampled", BY_HAND, |_| hand::run(Some(0.01))),
    way("by hand: all sampled", BY_HAND, |_| hand::run(Some(1.0))),
];

fn traced(ratio: f64, runtime: &Handle) -> f64 {
    ergon::__private::observe::trace(ratio, runtime);
    engine::run()
}

/// Sends spans to a collector or, without a collector, to a port on which no process listens.
fn sent(ratio: f64, mood: Option<Mood>) -> f64 {
    let collector = mood.map(Collector::start);
    let url = collector.as_ref().map_or("http://127.0.0.1:1", |collector| &collector.url);
    let _exports = ergon::__private::observe::trace_to(url, ratio);
    engine::run()
}

/// The value after an argument.
fn given(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

/// The figures of one configuration: elapsed time and processor time for each transaction in microseconds, and the peak
/// memory in MiB.
#[derive(Debug, Clone, Copy)]
struct Figures {
    passed: f64,
    worked: f64,
    peak: f64,
}

fn main() {
    if let Some(mood) = given("--collector") {
        collector::be(&mood);
    }
    if let Some(name) = given("--way") {
        return one(&name);
    }
    let rounds = given("--rounds").and_then(|rounds| rounds.parse().ok()).unwrap_or(5);
    let only = given("--only").unwrap_or_default();
    let chosen: Vec<&Way> = WAYS.iter().filter(|way| way.name == OFF || way.name.contains(&only)).collect();
    let mut figures: Vec<Vec<Figures>> = chosen.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (way, figures) in chosen.iter().zip(&mut figures) {
            figures.push(apart(way.name));
        }
    }
    let medians: Vec<Figures> = figures.iter().map(|rounds| median(rounds)).collect();
    let json = std::env::args().any(|argument| argument == "--json");
    if !json {
        let of = ["us each", "more", "ratio", "worked", "ratio", "peak MiB", "more"];
        print!("{:<28}", "");
        for what in of {
            print!("{what:>10}");
        }
        println!();
    }
    for (way, own) in chosen.iter().zip(&medians) {
        let of = |name| chosen.iter().position(|way| way.name == name).map_or(own, |index| &medians[index]);
        row(way.name, own, of(way.beside), of(OFF), json);
    }
}

fn row(name: &str, own: &Figures, beside: &Figures, off: &Figures, json: bool) {
    let Figures { passed, worked, peak } = *own;
    // The rows that are made by hand have their own floor and memory.
    let off = if name.starts_with("by hand") { beside } else { off };
    let (more, ratio) = (passed - off.passed, passed / beside.passed);
    let (worked_ratio, more_peak) = (worked / beside.worked, peak - off.peak);
    if json {
        let row = serde_json::json!({
            "what": name, "us": passed, "more": more, "ratio": ratio, "worked_us": worked,
            "worked_ratio": worked_ratio, "peak_mib": peak, "more_mib": more_peak
        });
        println!("{row}");
    } else {
        print!("{name:<28}{passed:>10.3}{more:>10.3}{ratio:>10.3}{worked:>10.3}{worked_ratio:>10.3}");
        println!("{peak:>10.1}{more_peak:>10.1}");
    }
}

/// Runs one round of a configuration in this process.
fn one(name: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let way = WAYS.iter().find(|way| way.name == name).unwrap();
    let passed = (way.run)(runtime.handle());
    println!("{passed} {} {}", worked(), peak());
}

/// Runs one round in a separate process.
fn apart(way: &str) -> Figures {
    let output = Command::new(std::env::current_exe().unwrap()).args(["--way", way]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let figures: Vec<f64> = text.split_whitespace().filter_map(|figure| figure.parse().ok()).collect();
    match figures[..] {
        [passed, worked, peak] => Figures { passed, worked, peak },
        _ => panic!("{text}{}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// The processor time that this process has used, in microseconds for each transaction of the passes; including the
/// time to fill the queue.
fn worked() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
    // A tick is 10 ms.
    ticks.sum::<f64>() * 1e4 / (TRANSACTIONS * PASSES) as f64
}

/// The peak memory of this process, in MiB.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or_default() / 1024.0
}

/// The median of each figure.
fn median(rounds: &[Figures]) -> Figures {
    let of = |figure: fn(&Figures) -> f64| {
        let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    Figures { passed: of(|f| f.passed), worked: of(|f| f.worked), peak: of(|f| f.peak) }
}
