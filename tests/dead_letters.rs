//! `dead-letters`: what was rejected is shown where it lies, and sent back once; nothing is lost on the way.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use std::fs::File;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use ergon_tests::broker::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A project with five orders, of which the second and the fourth are rejected.
struct Project {
    folder: TempDir,
    /// Of the queues, for each test its own.
    name: String,
}

impl Project {
    fn new() -> Self {
        let name = format!("ergon.test.{}.{:x}", std::process::id(), fastrand::u64(..));
        let url = std::env::var("ERGON_TEST_AMQP_URL").unwrap_or("amqp://127.0.0.1:1".to_owned());
        let project = Self { folder: TempDir::new().unwrap(), name: name.clone() };
        let queue = |table: &str| {
            format!(
                "[{table}]\nurl = \"{url}\"\nqueue = \"{name}.{table}\"\n[{table}.declare.arguments]\nx-expires = 60000\n"
            )
        };
        let files = "[orders]\npath = \"orders.jsonl\"\n[priced]\npath = \"priced.jsonl\"\n\
             [refused]\npath = \"refused.jsonl\"\n[stream]\npath = \"-\"\n[rule]\n";
        project.write("ergon.toml", &format!("{files}{}{}", queue("order_queue"), queue("refused_queue")));
        project.write("orders.jsonl", &orders().concat());
        project
    }

    /// The same, run once: two orders were rejected.
    fn run_once() -> Self {
        let project = Self::new();
        assert_eq!(project.run(&["run", "file-orders"]).status.code(), Some(0));
        project
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_letters"));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ERGON")) {
            command.env_remove(name);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that succeeds; what it says on standard output.
    fn said(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stdout(&output)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let line: Vec<_> = arguments.iter().copied().chain(["--format", "json"]).collect();
        serde_json::from_str(&self.said(&line)).unwrap()
    }

    fn listed(&self, task: &str) -> Vec<(String, u64)> {
        let list = self.json(&["dead-letters", "list", task]);
        let letters = list.as_array().unwrap().iter();
        letters
            .map(|letter| (letter["id"].as_str().unwrap().to_owned(), letter["replays"].as_u64().unwrap()))
            .collect()
    }
}

fn orders() -> [String; 5] {
    ["pen", "cup", "mug", "jar", "tin"].map(|sku| {
        let quantity = u32::from(!["cup", "jar"].contains(&sku));
        format!("{{\"sku\":\"{sku}\",\"quantity\":{quantity}}}\n")
    })
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn pairs(of: &[(&str, u64)]) -> Vec<(String, u64)> {
    of.iter().map(|(id, replays)| ((*id).to_owned(), *replays)).collect()
}

const REPLAY: [&str; 3] = ["dead-letters", "replay", "file-orders"];

#[test]
fn letters_are_listed_and_shown_and_stay_where_they_are() {
    let project = Project::run_once();
    let before = project.read("refused.jsonl");
    let output = project.run(&["dead-letters", "list", "file-orders"]);
    assert_eq!(
        stdout(&output),
        "\
id              category  attempts  replays  error
orders.jsonl:2  business         1        0  no cup is ordered
orders.jsonl:4  business         1        0  no jar is ordered
"
    );
    assert_eq!(stderr(&output), "2 letters in `refused` (json-lines)\n");
    let shown = project.json(&["dead-letters", "show", "file-orders"]);
    assert_eq!(shown[1]["payload"], json!({"sku": "jar", "quantity": 0}));
    assert_eq!(shown[1]["metadata"]["ergon-task"], "file-orders");
    let text = project.said(&["dead-letters", "show", "file-orders", "--limit", "1"]);
    assert!(text.starts_with("orders.jsonl:2\n") && text.contains("\"sku\": \"cup\""), "{text}");
    assert_eq!(project.read("refused.jsonl"), before);
    assert!(!project.folder.path().join("refused.jsonl.replayed").exists(), "looking makes no file");
}

#[test]
fn a_letter_goes_back_once_and_its_line_stays() {
    let project = Project::run_once();
    let before = project.read("refused.jsonl");
    let output = project.run(&REPLAY);
    assert_eq!(stdout(&output), "sent back orders.jsonl:2\nsent back orders.jsonl:4\n");
    assert_eq!(stderr(&output), "2 letters went from `refused` (json-lines) back to `input` (json-lines)\n");
    let [_, cup, _, jar, _] = orders();
    assert_eq!(project.read("orders.jsonl"), orders().concat() + &cup + &jar);
    assert_eq!(project.read("refused.jsonl"), before, "what a task may be writing to is never changed");
    assert_eq!(project.listed("file-orders"), []);
    assert_eq!(project.said(&REPLAY), "", "there is nothing left to send back");
    assert_eq!(project.read("orders.jsonl").lines().count(), 7);
}

#[test]
fn what_was_sent_back_and_rejected_again_goes_back_only_when_it_is_said() {
    let project = Project::run_once();
    project.said(&REPLAY);
    let [_, cup, _, jar, _] = orders();
    project.write("orders.jsonl", &format!("{cup}{jar}"));
    project.said(&["run", "file-orders"]);
    assert_eq!(project.listed("file-orders"), pairs(&[("orders.jsonl:1", 1), ("orders.jsonl:2", 1)]));
    let output = project.run(&REPLAY);
    assert!(
        stdout(&output).starts_with("skipped orders.jsonl:1: sent back once before"),
        "{}",
        stdout(&output)
    );
    assert!(stderr(&output).contains("2 letters skipped: `--again`"), "{}", stderr(&output));
    let again = ["dead-letters", "replay", "file-orders", "--again", "--limit", "1"];
    assert_eq!(project.said(&again), "sent back orders.jsonl:1\n");
    assert_eq!(project.read("orders.jsonl"), format!("{cup}{jar}{cup}"));
}

#[test]
fn a_forgiving_task_accepts_what_was_sent_back() {
    let project = Project::run_once();
    project.write("orders.jsonl", "");
    project.said(&REPLAY);
    let mut command = project.command(&["run", "file-orders"]);
    let output = command.env("ERGON_RULE__FORGIVING", "true").output().unwrap();
    assert!(stderr(&output).contains("2 succeeded"), "{}", stderr(&output));
    let skus: Vec<Value> =
        project.read("priced.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(skus.len(), 5);
}

#[test]
fn a_filter_a_limit_and_a_rehearsal_choose() {
    let project = Project::run_once();
    let ids = |more: &[&str]| {
        let line: Vec<_> = ["dead-letters", "list", "file-orders"].iter().chain(more).copied().collect();
        let list = project.json(&line);
        list.as_array().unwrap().iter().map(|letter| letter["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&["--where", "payload.sku=jar"]), ["orders.jsonl:4"]);
    assert_eq!(ids(&["--where", "category=business", "--where", "metadata.line=2"]), ["orders.jsonl:2"]);
    assert_eq!(ids(&["--where", "payload.quantity=0"]).len(), 2);
    assert_eq!(ids(&["--where", "error=no cup"]).len(), 0);
    assert_eq!(ids(&["--limit", "1"]), ["orders.jsonl:2"]);
    let rehearsed = project.json(&["dead-letters", "replay", "file-orders", "--dry-run"]);
    assert_eq!((&rehearsed["dry_run"], rehearsed["replayed"].as_array().unwrap().len()), (&json!(true), 2));
    assert_eq!(project.read("orders.jsonl"), orders().concat());
    let jar = ["dead-letters", "replay", "file-orders", "--where", "payload.sku=jar"];
    assert_eq!(project.said(&jar), "sent back orders.jsonl:4\n");
    assert_eq!(project.listed("file-orders"), pairs(&[("orders.jsonl:2", 0)]));
}

#[test]
fn letters_of_another_task_in_the_same_file_are_left_alone() {
    let project = Project::run_once();
    let mine = project.read("refused.jsonl");
    project.write("refused.jsonl", &mine.replacen("\"file-orders\"", "\"other\"", 1));
    assert_eq!(project.listed("file-orders"), pairs(&[("orders.jsonl:4", 0)]));
}

#[test]
fn after_a_crash_half_way_a_letter_is_sent_again_rather_than_lost() {
    let project = Project::run_once();
    project.said(&REPLAY);
    // The process died while it wrote down that the second one was sent back.
    let noted = project.read("refused.jsonl.replayed");
    let (whole, _) = noted.split_at(noted.len() - 20);
    project.write("refused.jsonl.replayed", whole);
    let again = project.json(&REPLAY);
    assert_eq!(again["replayed"], json!(["orders.jsonl:4"]));
    assert_eq!(project.listed("file-orders"), []);
}

#[test]
fn two_do_not_send_back_at_once() {
    let project = Project::run_once();
    let file = File::create(project.folder.path().join("refused.jsonl.replayed")).unwrap();
    file.lock().unwrap();
    let output = project.run(&REPLAY);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("somebody else sends letters back right now"), "{}", stderr(&output));
    assert_eq!(project.read("orders.jsonl"), orders().concat());
}

#[test]
fn a_line_that_is_no_letter_is_told_and_stays() {
    let project = Project::run_once();
    let mut file = File::options().append(true).open(project.folder.path().join("refused.jsonl")).unwrap();
    file.write_all(b"{\"id\":\"half of a let").unwrap();
    let output = project.run(&REPLAY);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("failed refused.jsonl:3: this is no letter that can be read"));
    assert_eq!(project.read("orders.jsonl").lines().count(), 7, "the others went back");
}

#[test]
fn an_input_that_would_be_emptied_is_only_appended_to() {
    let project = Project::run_once();
    let settings = project.read("ergon.toml").replace("\"orders.jsonl\"", "\"orders.jsonl\"\nappend = false");
    project.write("ergon.toml", &settings);
    project.said(&REPLAY);
    assert_eq!(project.read("orders.jsonl").lines().count(), 7);
}

#[test]
fn what_a_connector_cannot_do_is_said() {
    let project = Project::run_once();
    let refused = |line: &[&str], said: &str| {
        let output = project.run(line);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(stderr(&output).starts_with(&format!("error: {said}\n")), "{}", stderr(&output));
    };
    let stream = ["dead-letters", "replay", "stream-orders"];
    refused(&stream, "connector `input` (json-lines) takes nothing back");
    let loose = ["dead-letters", "list", "loose-orders"];
    refused(&loose, "task `loose-orders` names no connector for what it rejects");
    let typo = project.run(&["dead-letters", "list", "file-order"]);
    assert_eq!(typo.status.code(), Some(2));
    assert!(stderr(&typo).contains("did you mean `file-orders`?"), "{}", stderr(&typo));
}

#[test]
fn a_broker_that_is_not_there_is_told() {
    let project = Project::new();
    let settings = project.read("ergon.toml");
    let lines = settings
        .lines()
        .map(|line| if line.starts_with("url") { "url = \"amqp://127.0.0.1:1\"" } else { line });
    project.write("ergon.toml", &lines.collect::<Vec<_>>().join("\n"));
    for action in ["list", "show", "replay"] {
        let output = project.run(&["dead-letters", action, "queue-orders"]);
        assert_eq!(output.status.code(), Some(1));
        let told = "error: connector `refused` (rabbitmq): nothing listens at amqp://127.0.0.1:1\n = hint: ";
        assert!(stderr(&output).starts_with(told), "{}", stderr(&output));
        assert_eq!(stdout(&output), "", "it is not known that there are none");
    }
}

#[test]
fn no_file_of_letters_is_no_letters() {
    let project = Project::new();
    assert_eq!(project.listed("file-orders"), []);
    assert_eq!(project.said(&REPLAY), "");
}

/// What the rejected orders of a queue are called there.
const IN_QUEUE: [&str; 3] = ["dead-letters", "replay", "queue-orders"];

/// A project whose order queue holds these messages.
async fn queued(ids: &[(&str, u32)]) -> (Project, Client) {
    let project = Project::new();
    let client = Client::connect(&std::env::var("ERGON_TEST_AMQP_URL").unwrap()).await.unwrap();
    // A run declares the queues.
    project.said(&["run", "queue-orders"]);
    for (id, quantity) in ids {
        let body = json!({"sku": id, "quantity": quantity}).to_string();
        client.publish(&project.at("order_queue"), id, body.as_bytes()).await.unwrap();
    }
    (project, client)
}

impl Project {
    fn at(&self, queue: &str) -> String {
        format!("{}.{queue}", self.name)
    }
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
async fn letters_in_a_queue_are_seen_in_their_order_and_stay() {
    let (project, client) = queued(&[("a", 0), ("b", 1), ("c", 0)]).await;
    project.said(&["run", "queue-orders"]);
    for _ in 0..3 {
        assert_eq!(project.listed("queue-orders"), pairs(&[("a", 0), ("c", 0)]));
    }
    assert_eq!(client.ready(&project.at("refused_queue")).await.unwrap(), 2);
    let limited = project.said(&["dead-letters", "list", "queue-orders", "--limit", "1"]);
    assert!(limited.contains("\na ") && !limited.contains("\nc "), "{limited}");
    assert_eq!(client.ready(&project.at("refused_queue")).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
async fn a_letter_in_a_queue_goes_back_once_with_its_id_and_remembers_it() {
    let (project, client) = queued(&[("a", 0), ("c", 0)]).await;
    project.said(&["run", "queue-orders"]);
    let only = ["dead-letters", "replay", "queue-orders", "--where", "id=c"];
    assert_eq!(project.said(&only), "sent back c\n");
    assert_eq!(client.ready(&project.at("order_queue")).await.unwrap(), 1);
    assert_eq!(project.listed("queue-orders"), pairs(&[("a", 0)]));
    // Rejected again, it is known by what it carries.
    project.said(&["run", "queue-orders"]);
    assert_eq!(project.listed("queue-orders"), pairs(&[("a", 0), ("c", 1)]));
    let rest = project.json(&IN_QUEUE);
    assert_eq!((&rest["replayed"], &rest["skipped"]), (&json!(["a"]), &json!(["c"])));
    let again = project.json(&["dead-letters", "replay", "queue-orders", "--again"]);
    assert_eq!(again["replayed"], json!(["c"]));
    assert_eq!(client.ready(&project.at("refused_queue")).await.unwrap(), 0);
    let back = client.drain(&project.at("order_queue")).await.unwrap();
    assert_eq!(back.len(), 2);
    // What was said of the rejection is not carried on.
    let mut command = project.command(&["run", "queue-orders"]);
    assert!(command.env("ERGON_RULE__FORGIVING", "true").output().unwrap().status.success());
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
async fn a_queue_that_takes_no_letter_back_loses_none() {
    let (project, client) = queued(&[("a", 0), ("c", 0)]).await;
    project.said(&["run", "queue-orders"]);
    client.delete(&project.at("order_queue")).await.unwrap();
    let settings = project.read("ergon.toml");
    // The queue is not declared anew: nothing can be sent to it.
    let passive = settings.replacen("queue = ", "passive = true\nqueue = ", 1);
    project.write("ergon.toml", &passive);
    let output = project.run(&IN_QUEUE);
    assert_eq!(output.status.code(), Some(1), "{}{}", stdout(&output), stderr(&output));
    assert_eq!(client.ready(&project.at("refused_queue")).await.unwrap(), 2);
}

/// A quorum queue destroys what was put back more often than its limit says.
#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
async fn letters_in_a_quorum_queue_outlive_more_looks_than_its_limit() {
    let project = Project::new();
    let settings = project.read("ergon.toml");
    let (before, arguments) = settings.split_once("[refused_queue.declare.arguments]").unwrap();
    let quorum =
        "[refused_queue.declare]\nkind = \"quorum\"\n[refused_queue.declare.arguments]\nx-delivery-limit = 2";
    project.write("ergon.toml", &format!("{before}{quorum}{arguments}"));
    project.said(&["run", "queue-orders"]);
    let client = Client::connect(&std::env::var("ERGON_TEST_AMQP_URL").unwrap()).await.unwrap();
    for id in ["a", "b"] {
        let body = json!({"sku": id, "quantity": 0}).to_string();
        client.publish(&project.at("order_queue"), id, body.as_bytes()).await.unwrap();
    }
    project.said(&["run", "queue-orders"]);
    let show = ["dead-letters", "show", "queue-orders"];
    let without_counts = |shown: Value| -> Vec<Value> {
        let own =
            |letter: &Value| json!([letter["id"], letter["payload"], letter["metadata"]["ergon-error"]]);
        shown.as_array().unwrap().iter().map(own).collect()
    };
    let first = without_counts(project.json(&show));
    assert_eq!(first.len(), 2);
    for _ in 0..8 {
        assert_eq!(without_counts(project.json(&show)), first);
    }
    assert_eq!(project.json(&IN_QUEUE)["replayed"], json!(["a", "b"]));
    assert_eq!(client.ready(&project.at("refused_queue")).await.unwrap(), 0);
}

#[test]
fn a_field_that_no_letter_has_is_told_and_matches_nothing() {
    let project = Project::run_once();
    for (condition, told) in [
        ("categry=business", "a letter has no field `categry`; did you mean `category`?"),
        (
            "payload=1",
            "a letter has no field `payload`; there is `id`, `error`, `category`, `attempts`, `replays`, `payload.<key>` and `metadata.<key>`",
        ),
    ] {
        let output = project.run(&["dead-letters", "list", "file-orders", "--where", condition]);
        assert_eq!((output.status.code(), stdout(&output)), (Some(2), String::new()));
        assert!(stderr(&output).contains(told), "{}", stderr(&output));
    }
}

#[test]
fn letters_of_one_payload_go_back_each() {
    let project = Project::new();
    project.write("orders.jsonl", &[orders()[1].as_str(), &orders()[1]].concat());
    assert_eq!(project.run(&["run", "file-orders"]).status.code(), Some(0));
    let rehearsed = project.json(&["dead-letters", "replay", "file-orders", "--dry-run"]);
    let sent = project.json(&REPLAY);
    assert_eq!((&sent["replayed"], &sent["skipped"]), (&rehearsed["replayed"], &json!([])));
    assert_eq!(sent["replayed"], json!(["orders.jsonl:1", "orders.jsonl:2"]));
}
