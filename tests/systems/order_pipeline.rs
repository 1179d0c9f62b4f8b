//! Tests `examples/order_pipeline` as its README describes it: over files, and over a broker.
//!
//! The tests that need a broker run with `ERGON_TEST_AMQP_URL=amqp://guest:guest@127.0.0.1`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use ergon::prelude::*;
use ergon::service::ServiceConfig;
use ergon::service::http::Auth;
use ergon_tests::broker::Client;
use ergon_tests::until;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// A time limit that is longer than every step that works.
const PATIENCE: Duration = Duration::from_secs(60);

/// The numbers of the workbook's lines for the city in the settings, by outcome.
const LINES: usize = 222;
const NOT_INGESTED: usize = 20;
const NOT_ENRICHED: usize = 14;
const BOOKED: usize = LINES - NOT_INGESTED - NOT_ENRICHED;

/// The CRM and ACME, on their own ports. They end when this value is dropped.
struct Systems {
    _process: Child,
    crm: String,
    acme: String,
}

impl Systems {
    async fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_order_pipeline_systems"));
        command.env("CRM_ADDRESS", "127.0.0.1:0").env("ACME_ADDRESS", "127.0.0.1:0");
        let mut process = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut address = async |name: &str| {
            let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
            line.strip_prefix(name).unwrap().trim().to_owned()
        };
        let (crm, acme) = (address("crm").await, address("acme").await);
        Self { _process: process, crm, acme }
    }

    /// The number of orders that ACME has.
    async fn booked(&self) -> usize {
        let auth = Auth::header("X-Acme-Key", "acme-key");
        let acme = HttpConfig::new(&self.acme).with_auth(auth).build().unwrap();
        let (mut booked, mut after) = (0, Some(0));
        while let Some(number) = after {
            let page = acme.get("v1/orders").query("after", number).query("limit", 100);
            let page: Value = page.receive().await.unwrap();
            booked += page["bookings"].as_array().unwrap().len();
            after = page["next"].as_u64();
        }
        booked
    }
}

/// The project with the settings of a file, and its own output folder.
struct Project {
    folder: TempDir,
    systems: Systems,
}

impl Project {
    async fn new(settings: &str, change: impl Fn(String) -> String) -> Self {
        let project = Self { folder: TempDir::new().unwrap(), systems: Systems::start().await };
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/order_pipeline");
        let workbook = example.join("../quickstart/data/superstore.xlsx");
        let settings = std::fs::read_to_string(example.join(settings)).unwrap();
        let settings = settings.replace("../quickstart/data/superstore.xlsx", workbook.to_str().unwrap());
        std::fs::write(project.folder.path().join("ergon.toml"), change(settings)).unwrap();
        project
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_order_pipeline_example"));
        command.args(arguments).current_dir(&self.folder).stdin(Stdio::null()).kill_on_drop(true);
        command.env("ERGON_CRM__HTTP__BASE_URL", &self.systems.crm);
        command.env("ERGON_ACME__CLIENT__HTTP__BASE_URL", format!("{}/v1", self.systems.acme));
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// Runs a task to its end, and returns its output.
    async fn run(&self, task: &str) -> String {
        let done = timeout(PATIENCE, self.command(&["run", task]).output()).await.expect("it ends").unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(0), "{said}");
        assert!(!said.contains("crm-token") && !said.contains("acme-key"), "{said}");
        said
    }

    fn out(&self, name: &str) -> PathBuf {
        self.folder.path().join("out").join(name)
    }

    fn lines(&self, name: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.out(name)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Asserts that each booking is complete and of another order, with consecutive numbers.
fn assert_booked_once_each(bookings: &[Value]) {
    assert_eq!(bookings.len(), BOOKED);
    let references: BTreeSet<_> =
        bookings.iter().map(|booking| booking["order"]["reference"].as_str().unwrap()).collect();
    assert_eq!(references.len(), BOOKED);
    let numbers = bookings.iter().map(|booking| booking["number"].as_u64().unwrap());
    assert_eq!(numbers.collect::<BTreeSet<_>>(), (1..=BOOKED as u64).collect());
    let has = |service: &str| bookings.iter().any(|booking| booking["order"]["service"] == service);
    assert!(has("express") && has("standard"));
}

#[tokio::test(flavor = "multi_thread")]
async fn over_files_each_line_is_booked_or_kept_with_the_reason() {
    let project = Project::new("ergon.toml", |settings| settings).await;
    for task in ["order-ingestion", "order-enrichment", "order-dispatch", "booking-report"] {
        project.run(task).await;
    }
    assert_eq!(project.lines("not_ingested.jsonl").len(), NOT_INGESTED);
    let not_enriched = project.lines("not_enriched.jsonl");
    assert_eq!(not_enriched.len(), NOT_ENRICHED);
    for letter in not_enriched {
        let why = letter["metadata"]["ergon-error"].as_str().unwrap();
        assert!(why.starts_with("the CRM has no customer "), "{why}");
    }
    assert!(project.lines("not_dispatched.jsonl").is_empty());
    let bookings = project.lines("bookings.jsonl");
    assert_booked_once_each(&bookings);
    let cents = |lines: &[Value], path: &str| {
        lines.iter().map(|line| line.pointer(path).unwrap().as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!(cents(&bookings, "/order/cents"), cents(&project.lines("enriched.jsonl"), "/payload/cents"));

    let said = project.run("order-dispatch").await;
    assert!(said.contains(&format!("{BOOKED} succeeded")), "{said}");
    assert_eq!(project.systems.booked().await, BOOKED, "what is dispatched again is known by its key");
}

/// The graph of the project, as arrows from node to node. The node of a task has the name of the task.
async fn drawn(settings: &str) -> Vec<(String, String)> {
    let project = Project::new(settings, |settings| settings).await;
    let mut command = project.command(&["describe", "--format", "dot"]);
    let output = timeout(PATIENCE, command.stdout(Stdio::piped()).output()).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let mut text = String::from_utf8(output.stdout).unwrap();
    for number in 1..=4 {
        let node = format!("task_{number}");
        let line = text.lines().find(|line| line.trim().starts_with(&format!("{node} [")));
        let name = line.unwrap().split('"').nth(1).unwrap().to_owned();
        text = text.replace(&node, &name);
    }
    let arrows = text.lines().filter_map(|line| line.split(" [").next()?.trim().split_once(" -> "));
    arrows.map(|(from, to)| (from.to_owned(), to.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_tasks_are_drawn_as_one_graph() {
    for settings in ["ergon.toml", "ergon.rabbitmq.toml"] {
        let arrows = drawn(settings).await;
        let from = |node: &str| -> BTreeSet<&str> {
            arrows.iter().filter(|(from, _)| from == node).map(|(_, to)| to.as_str()).collect()
        };
        let next = |task: &str| -> Vec<&str> { from(task).into_iter().flat_map(from).collect() };
        assert_eq!(next("order-ingestion"), ["order-enrichment"], "{settings}: {arrows:?}");
        assert_eq!(next("order-enrichment"), ["order-dispatch"], "{settings}: {arrows:?}");
        assert_eq!(next("order-dispatch"), ["booking-report"], "{settings}: {arrows:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_is_down_costs_nothing_but_time() {
    let project = Project::new("ergon.toml", |settings| settings).await;
    project.run("order-ingestion").await;
    let mut down = project.command(&["run", "order-enrichment", "--limit", "1"]);
    // No process listens on this port.
    down.env("ERGON_CRM__HTTP__BASE_URL", "http://127.0.0.1:1");
    let done = timeout(PATIENCE, down.output()).await.unwrap().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(said.contains("1 failed (1 system error)"), "{said}");
    assert_eq!(project.lines("not_enriched.jsonl").len(), 1);
    project.run("order-enrichment").await;
    assert_eq!(project.lines("enriched.jsonl").len(), BOOKED);
}

#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
#[tokio::test(flavor = "multi_thread")]
async fn over_a_broker_each_line_is_booked_or_kept_with_the_reason() {
    let url = std::env::var("ERGON_TEST_AMQP_URL").expect("it was set when the tests were built");
    let name = format!("ergon.test.order.{:x}", fastrand::u64(..));
    let project = Project::new("ergon.rabbitmq.toml", |settings| {
        settings
            .replace("amqp://guest:guest@localhost:5672", &url)
            .replace("queue = \"pipeline", &format!("queue = \"{name}"))
            .replace("kind = \"quorum\"", "kind = \"quorum\", arguments = { x-expires = 60000 }")
    })
    .await;
    project.run("order-ingestion").await;
    let running = project.command(&["run", "order-enrichment", "order-dispatch"]).spawn().unwrap();
    until("all orders are booked", PATIENCE, async || project.systems.booked().await == BOOKED).await;
    let client = Client::connect(&url).await.unwrap();
    let ready = async |queue: &str| client.ready(&format!("{name}.{queue}")).await.unwrap() as usize;
    until("all are settled", PATIENCE, async || ready("not_enriched").await == NOT_ENRICHED).await;
    let pid = running.id().and_then(|id| Pid::from_raw(id.try_into().unwrap()));
    kill_process(pid.unwrap(), Signal::INT).unwrap();
    let stopped = timeout(PATIENCE, running.wait_with_output()).await.expect("it ends").unwrap();
    assert_eq!(stopped.status.code(), Some(130), "{}", String::from_utf8_lossy(&stopped.stderr));

    project.run("booking-report").await;
    assert_booked_once_each(&project.lines("bookings.jsonl"));
    assert_eq!((ready("not_ingested").await, ready("not_dispatched").await), (NOT_INGESTED, 0));
    assert_eq!((ready("orders").await, ready("enriched").await), (0, 0), "nothing was given back");
}
