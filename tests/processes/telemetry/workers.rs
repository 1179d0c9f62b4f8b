//! Tests the telemetry of several workers: for each way in which a worker ends, the collector has the worker's
//! telemetry and the worker's identity.

use std::collections::BTreeSet;
use std::fs;
use std::process::Output;
use std::time::Duration;

use ergon_tests::otlp::{Attributes, Collector, Seen, Span};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use tokio::time::timeout;

use super::Project;

/// A worker process: its index and its id.
type Worker = (u64, u64);

fn worker(resource: &Attributes) -> Option<Worker> {
    Some((resource.get("ergon.worker.index")?.as_u64()?, resource["process.pid"].as_u64()?))
}

/// The id of the transaction and the worker, of each transaction that was recorded.
fn recorded(seen: &Seen) -> Vec<(Value, Worker)> {
    let id = |span: &Span| span.attributes["ergon.transaction.id"].clone();
    seen.spans_named("transaction").map(|span| (id(span), worker(&span.resource).unwrap())).collect()
}

/// The same, of each line that was written in one.
fn said(seen: &Seen) -> Vec<(Value, Worker)> {
    let lines = seen.logs_saying("on a thread");
    lines.map(|log| (log.attributes["transaction_id"].clone(), worker(&log.resource).unwrap())).collect()
}

/// The number of transactions that each worker counted.
fn counted(seen: &Seen) -> Vec<(Worker, f64)> {
    let series = seen.series("ergon.transactions", &[("task", "threads")]);
    series.map(|series| (worker(&series.resource).unwrap(), series.total())).collect()
}

/// Asserts that spans, lines and metrics agree on each worker, and that there is no other worker.
fn assert_complete(seen: &Seen) {
    let sorted = |mut all: Vec<(Value, Worker)>| {
        all.sort_by_key(|(id, worker)| (id.to_string(), *worker));
        all
    };
    assert_eq!(sorted(recorded(seen)), sorted(said(seen)));
    let workers: BTreeSet<Worker> = recorded(seen).into_iter().map(|(_, worker)| worker).collect();
    for worker in &workers {
        let spans = recorded(seen).iter().filter(|(_, of)| of == worker).count();
        let metric: f64 = counted(seen).iter().filter(|(of, _)| of == worker).map(|(_, total)| *total).sum();
        #[expect(clippy::cast_precision_loss, reason = "no test counts that far")]
        let spans = spans as f64;
        assert_eq!(metric, spans, "{worker:?}: {:#?}", seen.metrics);
    }
}

fn ids(of: &[(Value, Worker)]) -> BTreeSet<String> {
    of.iter().map(|(id, _)| id.to_string()).collect()
}

fn send(pid: u64, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

fn start(project: &Project, collector: &Collector, workers: &str) -> Child {
    let endpoint = collector.endpoint();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", collector.protocol()),
        ("OTEL_BLRP_SCHEDULE_DELAY", "20"),
        // Neither spans nor metrics are sent before the end.
        ("OTEL_BSP_SCHEDULE_DELAY", "600000"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "600000"),
    ];
    project.settings("[tasks.threads.consumer]\nconcurrency = 2\nbatch_size = 4\n");
    project.command(&["run", "threads", "--workers", workers], &variables).spawn().unwrap()
}

async fn end(child: Child) -> Output {
    timeout(Duration::from_secs(60), child.wait_with_output()).await.unwrap().unwrap()
}

fn gated(lines: usize, gates: usize) -> Vec<&'static str> {
    (0..lines).map(|line| if line < gates { "gate" } else { "fine" }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_end_of_a_run_the_collector_has_all_that_each_worker_had() {
    for collector in [Collector::grpc().await, Collector::http().await] {
        let project = Project::new(&gated(60, 0));
        let output = end(start(&project, &collector, "3")).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let seen = collector.seen();
        assert_complete(&seen);
        assert_eq!((recorded(&seen).len(), ids(&recorded(&seen)).len()), (60, 60));
        let workers: BTreeSet<Worker> = recorded(&seen).into_iter().map(|(_, worker)| worker).collect();
        assert_eq!(workers.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 1, 2]);
        for (index, _) in workers {
            assert_eq!(recorded(&seen).iter().filter(|(_, (of, _))| *of == index).count(), 20);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_stopped_sends_what_it_had_and_its_place_is_taken_under_its_index() {
    let (collector, project) = (Collector::grpc().await, Project::new(&gated(20, 4)));
    let child = start(&project, &collector, "2");
    // Two lines of each worker wait at the gate.
    let waiting = collector.until(|seen| said(seen).len() == 4).await;
    let (_, (index, pid)) = said(&waiting)[0].clone();
    send(pid, Signal::TERM);
    fs::write(project.0.path().join("gate"), "").unwrap();
    let output = end(child).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let seen = collector.seen();
    assert_complete(&seen);
    assert_eq!(ids(&recorded(&seen)).len(), 20);
    let pids: BTreeSet<u64> =
        recorded(&seen).into_iter().filter(|(_, (of, _))| *of == index).map(|(_, (_, pid))| pid).collect();
    assert!(pids.len() == 2 && pids.contains(&pid), "{pids:?} of worker {index}, {pid} was stopped");
    let instance = |span: &Span| span.resource["service.instance.id"].to_string();
    let instances: BTreeSet<String> = seen.spans_named("transaction").map(instance).collect();
    assert_eq!(instances.len(), 3, "two processes, and one in the place of one");
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_are_stopped_together_send_what_they_had() {
    let (collector, project) = (Collector::grpc().await, Project::new(&gated(60, 6)));
    let mut child = start(&project, &collector, "3");
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    collector.until(|seen| said(seen).len() == 6).await;
    send(child.id().unwrap().into(), Signal::TERM);
    while !told.next_line().await.unwrap().unwrap().contains("stopping") {}
    fs::write(project.0.path().join("gate"), "").unwrap();
    while told.next_line().await.unwrap().is_some() {}
    assert_eq!(end(child).await.status.code(), Some(143));

    let seen = collector.seen();
    assert_complete(&seen);
    let indexes: BTreeSet<u64> = recorded(&seen).into_iter().map(|(_, (index, _))| index).collect();
    assert_eq!(indexes.into_iter().collect::<Vec<_>>(), [0, 1, 2]);
    assert!((6..60).contains(&recorded(&seen).len()), "nothing more was begun: {}", recorded(&seen).len());
}
