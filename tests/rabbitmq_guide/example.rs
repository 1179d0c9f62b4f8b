//! `examples/rabbitmq_pipeline` on the broker, as its README says.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use ergon::testing::conformance;
use ergon_tests::broker::Client;
use ergon_tests::until;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::{client, config, own_name, read, root, url};

/// Longer than anything here takes that works.
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

    /// Orders that were refused, each with the reason.
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
    assert!(said.contains("8 processed") && said.contains("8 succeeded"), "{said}");

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
