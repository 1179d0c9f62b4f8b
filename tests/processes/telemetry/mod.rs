//! Tests the spans, log lines and metrics that a real collector receives from a real program.

mod collectors;
mod handed;
mod hostile;
mod workers;

use std::fs;
use std::process::{Output, Stdio};

use ergon_tests::otlp::{Collector, Seen, Series, Span, Status};
use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;

const OBSERVED: &str = env!("CARGO_BIN_EXE_observed");

/// The sources and sinks of the program's tasks. A test with a broker gives the queue's address.
const CONNECTORS: &str = r#"
[lines]
path = "lines.jsonl"
[copies]
path = "copies.jsonl"
envelope = "always"
[handed]
name = "handed"
[queue]
url = "amqp://127.0.0.1"
queue = "observed"
passive = true
"#;

/// A folder to run the program in.
struct Project(TempDir);

impl Project {
    fn new(lines: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lines: Vec<String> = lines.iter().map(|goes| json!({ "goes": goes }).to_string()).collect();
        fs::write(folder.path().join("lines.jsonl"), lines.join("\n")).unwrap();
        let project = Self(folder);
        project.settings("");
        project
    }

    /// Writes the settings, with more tables after them.
    fn settings(&self, more: &str) {
        fs::write(self.0.path().join("ergon.toml"), format!("{CONNECTORS}{more}")).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.path().join(name)).unwrap()
    }

    fn command(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(OBSERVED);
        command.args(arguments).current_dir(&self.0).env_remove("RUST_LOG").stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.envs(variables.iter().copied()).kill_on_drop(true);
        command
    }

    async fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        self.command(arguments, variables).output().await.unwrap()
    }
}

/// A tree of spans as text: name, and what is below it; siblings in the order in which they began.
fn tree(seen: &Seen, span: &Span) -> String {
    let mut children: Vec<&Span> = seen.children(span).collect();
    children.sort_by_key(|child| (child.start, child.end));
    let below: Vec<String> = children.into_iter().map(|child| tree(seen, child)).collect();
    if below.is_empty() { span.name.clone() } else { format!("{}({})", span.name, below.join(" ")) }
}

/// The span of the transaction on this line, from 1.
fn transaction(seen: &Seen, line: usize) -> &Span {
    let id = format!("lines.jsonl:{line}");
    let found = seen.spans_named("transaction").find(|span| span.attributes["ergon.transaction.id"] == id);
    found.unwrap_or_else(|| panic!("no span of {id} in {seen:#?}"))
}

#[tokio::test]
async fn each_way_a_transaction_can_go_has_its_tree_of_spans() {
    let ways = ["well", "on-the-second-attempt", "wrong", "too-long", "panics"];
    let (collector, project) = (Collector::grpc().await, Project::new(&ways));
    let endpoint = collector.endpoint();
    let output = project.run(&["run", "observe"], &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen = collector.seen();

    let trees = (1..=5).map(|line| tree(&seen, transaction(&seen, line))).collect::<Vec<_>>();
    let expected = [
        "transaction(process(lookup) success(dispatch))",
        "transaction(process(attempt attempt) success(dispatch))",
        "transaction(process exception)",
        "transaction(process(attempt attempt) exception)",
        "transaction(process(attempt attempt) exception)",
    ];
    assert_eq!(trees, expected, "{seen:#?}");
}

#[tokio::test]
async fn a_finite_run_is_one_trace_of_run_batch_and_transactions() {
    let (collector, project) = (Collector::http().await, Project::new(&["fine", "fine", "wrong"]));
    let endpoint = collector.endpoint();
    let variables =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")];
    project.settings(
        "[telemetry]\nservice_name = \"shop\"\n[tasks.observe.consumer]\nbatch_size = 2\nconcurrency = 2\n",
    );
    let output = project.run(&["run", "observe"], &variables).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen = collector.seen();

    let run = seen.spans_named("run observe").next().unwrap();
    assert_eq!((&run.parent_id, &run.status), (&None, &Status::Unset));
    assert!(seen.spans.iter().all(|span| span.trace_id == run.trace_id));
    assert!(seen.children(run).all(|child| child.name == "batch"));
    let fetched: i64 = seen
        .spans_named("batch")
        .filter_map(|batch| batch.attributes["messaging.batch.message_count"].as_i64())
        .sum();
    assert_eq!(fetched, 3);
    for batch in seen.spans_named("batch") {
        let mut names: Vec<&str> = seen.children(batch).map(|child| &*child.name).collect();
        names.sort_unstable();
        assert_eq!(names.first(), Some(&"fetch"));
        assert!(names[1..].iter().all(|name| *name == "transaction"), "{names:?}");
    }
    for span in &seen.spans {
        let parent = seen.parent(span);
        assert!(span.start <= span.end, "{span:?}");
        assert!(
            parent.is_none_or(|parent| parent.start <= span.start && span.end <= parent.end),
            "{span:?} in {parent:?}"
        );
    }
    let resource = &run.resource;
    let known = ["service.name", "ergon.task.name", "process.pid", "host.name", "service.instance.id"];
    let missing: Vec<_> = known.iter().filter(|key| !resource.contains_key(**key)).collect();
    assert!(missing.is_empty(), "{missing:?} in {resource:?}");
    assert_eq!(resource["service.name"], "shop");
}

#[tokio::test]
async fn a_failure_is_in_the_status_the_attributes_and_an_event() {
    let ways = ["well", "on-the-second-attempt", "wrong", "too-long", "panics"];
    let (collector, project) = (Collector::grpc().await, Project::new(&ways));
    let endpoint = collector.endpoint();
    project.run(&["run", "observe"], &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]).await;
    let seen = collector.seen();

    let told = |line| {
        let span = transaction(&seen, line);
        let text = |key: &str| {
            span.attributes.get(key).map_or("-", |value| value.as_str().unwrap_or("?")).to_owned()
        };
        (text("ergon.outcome"), text("ergon.disposition"), text("ergon.category"), text("error.type"))
    };
    let went = |outcome: &str, category: &str| {
        (outcome.to_owned(), "ack".to_owned(), category.to_owned(), category.to_owned())
    };
    let all: Vec<_> = (1..=5).map(told).collect();
    let expected = [
        went("succeeded", "-"),
        went("succeeded", "-"),
        went("handled", "business"),
        went("handled", "timeout"),
        went("handled", "system"),
    ];
    assert_eq!(all, expected);

    let wrong = transaction(&seen, 3);
    assert_eq!(wrong.status, Status::Error("there is no such article".to_owned()));
    assert_eq!(wrong.events[0].name, "exception");
    assert_eq!(wrong.events[0].attributes["exception.message"], "there is no such article");
    assert_eq!(wrong.kind, "CONSUMER");
    let Status::Error(why) = &transaction(&seen, 5).status else { panic!("a panic is an error") };
    assert!(why.contains("the cupboard was bare"), "{why}");

    let retried = transaction(&seen, 2);
    let process = seen.children(retried).find(|step| step.name == "process").unwrap();
    let attempts: Vec<_> = seen
        .children(process)
        .map(|attempt| (attempt.attributes["ergon.attempt"].clone(), attempt.status.clone()))
        .collect();
    let first = Status::Error("the warehouse did not answer".to_owned());
    assert_eq!(attempts, [(Value::from(1), first), (Value::from(2), Status::Unset)]);
    assert_eq!((&process.status, &retried.status), (&Status::Unset, &Status::Unset));
    let lookup = seen.spans_named("lookup").next().unwrap();
    assert_eq!(lookup.attributes["customer"], "c-1");
}

#[tokio::test]
async fn the_outbound_transactions_of_a_hybrid_are_part_of_the_inbound_one() {
    let (collector, project) = (Collector::grpc().await, Project::new(&["fine"]));
    let endpoint = collector.endpoint();
    project.run(&["run", "relay"], &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]).await;
    let seen = collector.seen();
    let outbound = "transaction(prepare success(dispatch))";
    let expected = format!("transaction(process {outbound} {outbound} success)");
    assert_eq!(tree(&seen, transaction(&seen, 1)), expected);
}

#[tokio::test]
async fn every_line_of_a_transaction_carries_its_ids_wherever_it_is_written() {
    let (collector, project) = (Collector::grpc().await, Project::new(&["well", "panics"]));
    let endpoint = collector.endpoint();
    let handlers = ["console = {}", "file = { path = \"logs/app.jsonl\" }", "otlp = {}"];
    project.settings(&handlers.map(|handler| format!("[[telemetry.logs]]\n{handler}\n")).concat());
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint)];
    let output = project.run(&["run", "observe", "threads"], &variables).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen = collector.seen();

    let lines = project.read("logs/app.jsonl");
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said = |message: &str| lines.iter().find(|line| line["message"] == message).unwrap();
    for message in ["begun", "looked up", "beside it", "on a thread"] {
        let line = said(message);
        assert_eq!(
            (&line["transaction_id"], &line["step"], &line["attempt"]),
            (&"lines.jsonl:1".into(), &"process".into(), &1.into()),
            "{line}"
        );
        let record = seen.logs_saying(message).next().unwrap();
        assert_eq!(record.trace_id.as_deref(), line["trace_id"].as_str(), "{message}");
        assert_eq!(record.span_id.as_deref(), line["span_id"].as_str(), "{message}");
        assert_eq!(record.attributes["transaction_id"], "lines.jsonl:1");
        let span = seen.spans.iter().find(|span| Some(&*span.span_id) == line["span_id"].as_str()).unwrap();
        assert_eq!(span.name, if message == "looked up" { "lookup" } else { "process" });
        assert_eq!(Some(&*span.trace_id), line["trace_id"].as_str());
    }
    let failed = said("transaction failed");
    let mut spans = seen.spans_with("ergon.transaction.id", "lines.jsonl:2");
    let span = spans.find(|span| span.attributes["ergon.task.name"] == "observe").unwrap();
    assert_eq!((&failed["step"], &failed["attempt"]), (&"process".into(), &2.into()), "{failed}");
    assert_eq!(
        (failed["trace_id"].as_str(), failed["span_id"].as_str()),
        (Some(&*span.trace_id), Some(&*span.span_id)),
        "{failed}"
    );
}

#[tokio::test]
async fn what_is_not_sampled_leaves_no_span_and_its_trace_goes_on_all_the_same() {
    let (collector, project) = (Collector::grpc().await, Project::new(&["well"]));
    let endpoint = collector.endpoint();
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint), ("OTEL_TRACES_SAMPLER", "always_off")];
    project.run(&["run", "observe"], &variables).await;
    let seen = collector.seen();
    assert!(seen.spans.is_empty(), "{:?}", seen.spans);
    let record = seen.logs_saying("looked up").next().unwrap();
    let copy: Value = serde_json::from_str(project.read("copies.jsonl").trim()).unwrap();
    let traceparent = copy["metadata"]["traceparent"].as_str().unwrap();
    assert_eq!(traceparent.split('-').nth(1), record.trace_id.as_deref());
    assert!(traceparent.ends_with("-00"), "{traceparent}");
}

#[tokio::test]
async fn each_signal_can_be_switched_off_and_the_others_come() {
    let switches = ["OTEL_TRACES_ENABLED", "OTEL_METRICS_ENABLED", "OTEL_LOGS_ENABLED"];
    for off in switches {
        for collector in [Collector::grpc().await, Collector::http().await] {
            let project = Project::new(&["well"]);
            let endpoint = collector.endpoint();
            let variables = [
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", collector.protocol()),
                (off, "false"),
            ];
            let output = project.run(&["run", "observe"], &variables).await;
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let seen = collector.seen();
            let came = [!seen.spans.is_empty(), !seen.metrics.is_empty(), !seen.logs.is_empty()];
            assert_eq!(came, switches.map(|switch| switch != off), "{off}: {seen:#?}");
        }
    }
}

#[tokio::test]
async fn nothing_is_sent_and_nothing_is_said_without_a_collector() {
    let project = Project::new(&["well"]);
    let output = project.run(&["run", "observe"], &[]).await;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !told.contains("telemetry"), "{told}");
}

#[tokio::test]
async fn the_metrics_of_a_run_add_up_to_its_summary() {
    let ways = ["well", "on-the-second-attempt", "wrong", "too-long", "panics"];
    for delta in [false, true] {
        let (collector, project) = (Collector::grpc().await, Project::new(&ways));
        let endpoint = collector.endpoint();
        let preference =
            ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", if delta { "delta" } else { "cumulative" });
        let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint), preference];
        project.run(&["run", "observe"], &variables).await;
        let seen = collector.seen();
        let totals = [
            ("ergon.transactions", vec![("task", "observe"), ("outcome", "succeeded")], 2.0),
            ("ergon.transactions", vec![("task", "observe")], 5.0),
            ("ergon.retries", vec![("task", "observe"), ("category", "timeout")], 1.0),
            ("ergon.retries", vec![("task", "observe"), ("category", "system")], 2.0),
            ("ergon.timeouts", vec![("task", "observe"), ("step", "process")], 2.0),
            ("ergon.attempts", vec![("step", "process")], 8.0),
            ("ergon.settlements", vec![("disposition", "ack")], 5.0),
        ];
        for (name, labels, total) in totals {
            assert_eq!(
                seen.total(name, &labels),
                total,
                "{name} {labels:?}, delta: {delta}: {:#?}",
                seen.metrics
            );
        }
        let timed: u64 = seen.series("ergon.transaction.duration", &[]).map(Series::count).sum();
        assert_eq!(timed, 5, "{:#?}", seen.metrics);
    }
}

#[tokio::test]
async fn a_payload_stands_in_a_line_only_when_the_settings_say_so() {
    let project = Project::new(&["panics"]);
    let told = |output: Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let quiet = told(project.run(&["run", "observe"], &[]).await);
    assert!(quiet.contains("transaction failed") && !quiet.contains("payload"), "{quiet}");
    project.settings("[telemetry]\nlog_payloads = true\n");
    let loud = told(project.run(&["run", "observe"], &[]).await);
    assert!(loud.contains(r#"payload="{\"goes\":\"panics\"}""#), "{loud}");
}

#[tokio::test]
async fn what_comes_with_a_trace_goes_on_with_it_and_does_what_its_sender_decided() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    for sampled in ["01", "00"] {
        let (collector, project) = (Collector::grpc().await, Project::new(&[]));
        let endpoint = collector.endpoint();
        let sent = format!("traceparent=00-{TRACE}-00f067aa0ba902b7-{sampled}");
        let payload =
            ["process-transaction", "observe", "--payload-json", r#"{"goes":"fine"}"#, "--metadata", &sent];
        let output = project.run(&payload, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let seen = collector.seen();
        let transactions: Vec<_> = seen.spans_named("transaction").collect();
        let copy: Value = serde_json::from_str(project.read("copies.jsonl").trim()).unwrap();
        let passed_on = copy["metadata"]["traceparent"].as_str().unwrap();
        assert!(passed_on.contains(TRACE) && passed_on.ends_with(sampled), "{passed_on}");
        match sampled {
            "01" => {
                assert_eq!(transactions[0].trace_id, TRACE);
                assert_eq!(transactions[0].parent_id.as_deref(), Some("00f067aa0ba902b7"));
            }
            _ => assert!(seen.spans.is_empty(), "{:?}", seen.spans),
        }
    }
}
