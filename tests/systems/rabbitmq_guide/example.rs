//! Tests `examples/rabbitmq_pipeline` on the broker, as its README describes it.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use ergon::testing::conformance;
use ergon_tests::broker::Client;
use ergon_tests::otlp::{Collector, Seen, Span};
use ergon_tests::until;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{client, config, own_name, read, root, url};

/// A time limit that is longer than every step that works.
const PATIENCE: Duration = Duration::from_secs(60);

/// The project's own settings, with queues and files of this test.
struct Project {
    folder: TempDir,
    name: String,
}

impl Project {
    fn new() -> Self {
        let project = Self { folder: TempDir::new().unwrap(), name: own_name() };
        let orders = root().join("examples/rabbitmq_pipeline/data/orders.jsonl");
        let settings = read("examples/rabbitmq_pipeline/ergon.toml")
            .replace("amqp://guest:guest@localhost:5672", &url())
            .replace("queue = \"", &format!("queue = \"{}.", project.name))
            .replace("kind = \"quorum\"", "kind = \"quorum\", arguments = { x-expires = 60000 }")
            .replace("data/orders.jsonl", orders.to_str().unwrap());
        std::fs::write(project.folder.path().join("ergon.toml"), settings).unwrap();
        project
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rabbitmq_pipeline_example"));
        command.args(arguments).current_dir(&self.folder).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    fn letters(&self) -> PathBuf {
        self.folder.path().join("out/letters.jsonl")
    }

    fn queue(&self, name: &str) -> String {
        format!("{}.{name}", self.name)
    }

    async fn ready(&self, client: &Client, queue: &str) -> u32 {
        client.ready(&self.queue(queue)).await.unwrap()
    }

    /// The rejected orders, each with its reason.
    async fn refused(&self) -> Vec<Value> {
        let queue = self.queue("orders.refused");
        let queue = config(json!({"url": url(), "queue": queue, "passive": true, "prefetch": 100}));
        let letters = conformance::read(&queue).await.unwrap();
        let refused = letters.iter().map(|letter| {
            let (order, why) = (letter.id(), letter.metadata().text("ergon-error").unwrap());
            json!({"order": order, "reason": why})
        });
        refused.collect()
    }
}

/// The lines of a text, each a JSON document, sorted.
fn lines(text: &str) -> Vec<String> {
    sorted(text.lines().map(|line| serde_json::from_str(line).unwrap()))
}

fn sorted(documents: impl IntoIterator<Item = Value>) -> Vec<String> {
    let mut lines: Vec<_> = documents.into_iter().map(|document| document.to_string()).collect();
    lines.sort();
    lines
}

async fn interrupted(child: Child) -> Output {
    let pid = child.id().and_then(|id| Pid::from_raw(id.try_into().unwrap()));
    kill_process(pid.unwrap(), Signal::INT).unwrap();
    timeout(PATIENCE, child.wait_with_output()).await.expect("it ends").unwrap()
}

#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
#[tokio::test(flavor = "multi_thread")]
async fn the_example_makes_what_it_says() {
    let (project, client) = (Project::new(), client().await);
    let placed = project.command(&["run", "place-orders"]).output().await.unwrap();
    let said = String::from_utf8(placed.stderr).unwrap();
    assert_eq!(placed.status.code(), Some(0), "{said}");
    assert!(said.contains("8 transactions processed") && said.contains("8 succeeded"), "{said}");

    let running = project.command(&["run", "take-orders", "send-invoices"]).spawn().unwrap();
    until("all orders are through", PATIENCE, async || {
        let letters = std::fs::read_to_string(project.letters()).unwrap_or_default();
        letters.lines().count() == 5 && project.ready(&client, "orders.refused").await == 3
    })
    .await;
    let stopped = interrupted(running).await;
    let said = String::from_utf8(stopped.stderr).unwrap();
    assert_eq!(stopped.status.code(), Some(130), "{said}");

    let letters = std::fs::read_to_string(project.letters()).unwrap();
    assert_eq!(lines(&letters), lines(&read("examples/rabbitmq_pipeline/expected/letters.jsonl")));
    let refused = sorted(project.refused().await);
    assert_eq!(refused, lines(&read("examples/rabbitmq_pipeline/expected/refused.jsonl")));
    for queue in ["orders", "invoices", "invoices.unsent"] {
        assert_eq!(project.ready(&client, queue).await, 0, "{queue} is empty");
    }
}

/// The names and processes of a span and of its ancestors, from the outermost.
fn lineage(seen: &Seen, span: &Span) -> Vec<(String, i64)> {
    let all = std::iter::successors(Some(span), |span| seen.parent(span));
    let named = |span: &Span| (span.name.clone(), span.resource["process.pid"].as_i64().unwrap());
    let mut lineage: Vec<_> = all.map(named).collect();
    lineage.reverse();
    lineage
}

#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_one_trace_from_the_file_over_two_queues_to_its_letter() {
    let (project, collector) = (Project::new(), Collector::grpc().await);
    let run = |task: &'static str| {
        let mut command = project.command(&["run", task]);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint());
        command
    };
    assert!(run("place-orders").output().await.unwrap().status.success());
    let running = [run("take-orders").spawn().unwrap(), run("send-invoices").spawn().unwrap()];
    let pids = running.each_ref().map(|child| i64::from(child.id().unwrap()));
    let letter =
        |span: &Span| span.name == "transaction" && span.resource["ergon.task.name"] == "send-invoices";
    collector.until(|seen| seen.spans.iter().filter(|span| letter(span)).count() == 5).await;
    for child in running {
        assert_eq!(interrupted(child).await.status.code(), Some(130));
    }
    // A process sends the rest of its telemetry at its end.
    let seen = collector.seen();
    for span in seen.spans.iter().filter(|span| letter(span)) {
        let lineage = lineage(&seen, span);
        let names: Vec<&str> = lineage.iter().map(|(name, _)| name.as_str()).collect();
        let placed = ["run place-orders", "batch", "transaction"];
        let sent = [["transaction", "success", "dispatch"].as_slice(), &["transaction"]].concat();
        assert!(names.starts_with(&placed) && names.ends_with(&sent), "{names:?}");
        assert_eq!((lineage[lineage.len() - 2].1, lineage[lineage.len() - 1].1), (pids[0], pids[1]));
        assert_eq!(span.attributes["messaging.system"], "rabbitmq");
        assert_eq!(span.attributes["messaging.destination.name"], project.queue("invoices"));
        // In a streaming run, a transaction is part of its sender's trace, and is only linked to its batch.
        let batch = seen
            .spans_named("batch")
            .find(|batch| span.links == [(batch.trace_id.clone(), batch.span_id.clone())]);
        assert!(
            batch.is_some_and(|batch| batch.trace_id != span.trace_id && batch.parent_id.is_none()),
            "{span:?}"
        );
    }
}
