//! Tests collectors that fail: no transaction is affected, losses are counted and logged, and later telemetry arrives.

use std::fs;
use std::process::Output;
use std::time::Duration;

use ergon_tests::otlp::{Collector, Seen};
use ergon_tests::until;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr};
use tokio::time::{Instant, timeout};

use super::Project;

/// A failure of a collector, and the call that causes it.
type Fault = (&'static str, fn(&mut Collector));

/// The failures of a collector.
const FAULTS: [Fault; 4] = [
    ("is not there", Collector::stop),
    ("answers errors", |collector| collector.refuse()),
    ("never answers", |collector| collector.hang()),
    ("takes a byte a second", |collector| collector.one_byte_a_second()),
];

async fn copied(project: &Project, lines: usize) {
    until("all lines are copied", Duration::from_secs(60), async || {
        fs::read_to_string(project.0.path().join("copies.jsonl"))
            .is_ok_and(|text| text.lines().count() >= lines)
    })
    .await;
}

async fn end(child: Child) -> Output {
    timeout(Duration::from_secs(60), child.wait_with_output()).await.unwrap().unwrap()
}

/// The losses of one signal that the log reports, line by line.
fn lost(told: &str, signal: &str) -> Vec<usize> {
    let of_signal = format!(" signal={signal} ");
    let lines = told.lines().filter(|line| line.contains("telemetry was lost") && line.contains(&of_signal));
    let count = |line: &str| line.split_once("count=").unwrap().1.split(' ').next().unwrap().parse().unwrap();
    lines.map(count).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_fails_costs_no_transaction_and_at_most_two_seconds_at_the_end() {
    const LINES: usize = 2000;
    for (name, fail) in FAULTS {
        let (mut collector, project) = (Collector::grpc().await, Project::new(&vec!["fine"; LINES]));
        let endpoint = collector.endpoint();
        fail(&mut collector);
        let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint), ("OTEL_BSP_MAX_QUEUE_SIZE", "500")];
        let child = project.command(&["--log-level", "warn", "run", "observe"], &variables).spawn().unwrap();
        copied(&project, LINES).await;
        let copied = Instant::now();
        let output = end(child).await;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{name}: {told}");
        assert!(copied.elapsed() < Duration::from_millis(3500), "{name}: {:?}", copied.elapsed());
    }
}

/// Every span and every line that was not accepted is counted. For each signal, one line reports the first loss and one
/// line reports the rest at the end, although the collector fails again and again.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_collector_did_not_take_is_counted_and_told_once_a_minute() {
    const LINES: usize = 500;
    for (name, fail) in FAULTS {
        for mut collector in [Collector::grpc().await, Collector::http().await] {
            let name = format!("{name}, {}", collector.protocol());
            let project = Project::new(&vec!["fine"; LINES]);
            project.settings(
                "[[telemetry.logs]]\nconsole = { stream = \"stderr\" }\n[[telemetry.logs]]\notlp = {}\n",
            );
            let endpoint = collector.endpoint();
            fail(&mut collector);
            let variables = [
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", collector.protocol()),
                // Many calls that all fail: immediately, in a small batch, or because there is no room.
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "20"),
                ("OTEL_BSP_SCHEDULE_DELAY", "5"),
                ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10"),
                ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
                ("OTEL_BLRP_SCHEDULE_DELAY", "5"),
                ("OTEL_METRIC_EXPORT_INTERVAL", "10"),
            ];
            let child = project.command(&["run", "observe"], &variables).spawn().unwrap();
            let output = end(child).await;
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(0), "{name}: {told}");
            assert_eq!(project.read("copies.jsonl").lines().count(), LINES, "{name}");

            let [spans, lines, metrics] =
                ["spans", "\"log lines\"", "metrics"].map(|signal| lost(&told, signal));
            for lost in [&spans, &lines, &metrics] {
                assert!((1..=2).contains(&lost.len()), "{name}: {told}");
            }
            // Four for each transaction, and those of the run, its batches and fetches.
            let least = 4 * LINES + 3;
            let counted: usize = spans.iter().sum();
            assert!((least..=least + 2 * LINES).contains(&counted), "{name}: {counted} spans: {told}");
            let counted: usize = lines.iter().sum();
            assert!(counted >= 2 * LINES, "{name}: {counted} lines: {told}");
            assert!(collector.spans().is_empty() && collector.logs().is_empty(), "{name}");
        }
    }
}

/// A run that takes a while, and its collector.
fn sending(project: &Project, collector: &Collector) -> Child {
    let endpoint = collector.endpoint();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", collector.protocol()),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
        ("OTEL_BSP_SCHEDULE_DELAY", "20"),
    ];
    project.command(&["--log-level", "warn", "run", "observe"], &variables).spawn().unwrap()
}

/// Waits until the log reports lost spans. Returns the rest of the program's output.
async fn until_lost(child: &mut Child) -> Lines<BufReader<ChildStderr>> {
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    let lost = async {
        while !told
            .next_line()
            .await
            .unwrap()
            .unwrap()
            .contains("lost; transactions are not affected signal=spans")
        {}
    };
    timeout(Duration::from_secs(60), lost).await.unwrap();
    told
}

/// Whether the span of a later line has arrived.
fn later(seen: &Seen, line: usize) -> bool {
    let number = |id: &Value| id.as_str().unwrap().rsplit(':').next().unwrap().parse::<usize>().unwrap();
    seen.spans_named("transaction").any(|span| number(&span.attributes["ergon.transaction.id"]) > line)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_recovers_is_sent_to_again() {
    // A collector that was stopped has to be started again.
    for (_, fail) in FAULTS.into_iter().skip(1) {
        for mut collector in [Collector::grpc().await, Collector::http().await] {
            let project = Project::new(&vec!["slowly"; 5000]);
            let mut child = sending(&project, &collector);
            collector.until(|seen| seen.spans_named("transaction").count() > 0).await;
            fail(&mut collector);
            let _told = until_lost(&mut child).await;
            collector.recover();
            let back = project.read("copies.jsonl").lines().count();
            collector.until(|seen| later(seen, back)).await;
            child.start_kill().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_started_again_is_sent_to_again() {
    for mut collector in [Collector::grpc().await, Collector::http().await] {
        let project = Project::new(&vec!["slowly"; 5000]);
        let mut child = sending(&project, &collector);
        collector.until(|seen| seen.spans_named("transaction").count() > 0).await;
        collector.stop();
        collector.forget();
        let _told = until_lost(&mut child).await;
        collector.restart().await;
        let back = project.read("copies.jsonl").lines().count();
        collector.until(|seen| later(seen, back)).await;
        child.start_kill().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_over_within_its_grace_though_the_collector_hangs() {
    let (collector, project) = (Collector::grpc().await, Project::new(&vec!["slowly"; 1000]));
    let endpoint = collector.endpoint();
    collector.hang();
    project.settings("[tasks.observe.consumer]\nshutdown_grace = \"1s\"\n");
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint)];
    let child = project.command(&["--log-level", "warn", "run", "observe"], &variables).spawn().unwrap();
    until("a line is copied", Duration::from_secs(30), async || {
        fs::read_to_string(project.0.path().join("copies.jsonl")).is_ok_and(|text| !text.is_empty())
    })
    .await;
    let told = Instant::now();
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let output = timeout(Duration::from_secs(30), child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(143), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.elapsed() < Duration::from_millis(2500), "{:?}", told.elapsed());
}
