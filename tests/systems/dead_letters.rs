//! Tests `dead-letters`: it shows rejected transactions in their place, sends each back once, and loses nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use base64::Engine;
use ergon_tests::broker::Client;
use ergon_tests::until;
use lapin::BasicProperties;
use lapin::options::{BasicGetOptions, BasicPublishOptions};
use lapin::types::{AMQPValue, DecimalValue, FieldTable};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The time that the broker may take to requeue the messages of a process that has ended.
const SOON: Duration = Duration::from_secs(20);

/// A project with five orders, of which the second and the fourth are rejected.
struct Project {
    folder: TempDir,
    /// The names of the queues, separate for each test.
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

    /// The same project after one run: two orders were rejected.
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

    /// Runs a command that succeeds, and returns its standard output.
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
    assert_eq!(stderr(&output), "2 dead letters in `refused` (json-lines).\n");
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
    assert_eq!(
        stderr(&output),
        "2 dead letters were sent from `refused` (json-lines) back to `input` (json-lines).\n"
    );
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
    assert!(stderr(&output).contains("2 dead letters were skipped: `--again`"), "{}", stderr(&output));
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
    // The process died while it recorded that the second dead letter was sent back.
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
    assert!(stdout(&output).contains("failed refused.jsonl:3: this dead letter cannot be read"));
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
    refused(&stream, "connector `input` (json-lines) accepts nothing back");
    let loose = ["dead-letters", "list", "loose-orders"];
    refused(&loose, "task `loose-orders` has no dead-letter connector");
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

/// The command that replays the dead letters of the task on the queue.
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

/// Waits until so many messages of a queue are ready. The broker requeues the messages of a process that has ended only
/// after it has noticed that the connection is closed.
async fn ready(client: &Client, queue: &str, count: u32) {
    let what = format!("{count} messages are ready in `{queue}`");
    until(&what, SOON, async || client.ready(queue).await.unwrap() == count).await;
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
async fn letters_in_a_queue_are_seen_in_their_order_and_stay() {
    let (project, client) = queued(&[("a", 0), ("b", 1), ("c", 0)]).await;
    project.said(&["run", "queue-orders"]);
    for _ in 0..3 {
        assert_eq!(project.listed("queue-orders"), pairs(&[("a", 0), ("c", 0)]));
    }
    ready(&client, &project.at("refused_queue"), 2).await;
    let limited = project.said(&["dead-letters", "list", "queue-orders", "--limit", "1"]);
    assert!(limited.contains("\na ") && !limited.contains("\nc "), "{limited}");
    ready(&client, &project.at("refused_queue"), 2).await;
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
async fn a_letter_in_a_queue_goes_back_once_with_its_id_and_remembers_it() {
    let (project, client) = queued(&[("a", 0), ("c", 0)]).await;
    project.said(&["run", "queue-orders"]);
    let only = ["dead-letters", "replay", "queue-orders", "--where", "id=c"];
    assert_eq!(project.said(&only), "sent back c\n");
    ready(&client, &project.at("order_queue"), 1).await;
    assert_eq!(project.listed("queue-orders"), pairs(&[("a", 0)]));
    // After the second rejection, the metadata identifies the transaction.
    project.said(&["run", "queue-orders"]);
    assert_eq!(project.listed("queue-orders"), pairs(&[("a", 0), ("c", 1)]));
    let rest = project.json(&IN_QUEUE);
    assert_eq!((&rest["replayed"], &rest["skipped"]), (&json!(["a"]), &json!(["c"])));
    let again = project.json(&["dead-letters", "replay", "queue-orders", "--again"]);
    assert_eq!(again["replayed"], json!(["c"]));
    ready(&client, &project.at("refused_queue"), 0).await;
    let back = client.drain(&project.at("order_queue")).await.unwrap();
    assert_eq!(back.len(), 2);
    // The metadata of the rejection is removed.
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
    // The queue is not declared again, so nothing can be sent to it.
    let passive = settings.replacen("queue = ", "passive = true\nqueue = ", 1);
    project.write("ergon.toml", &passive);
    let output = project.run(&IN_QUEUE);
    assert_eq!(output.status.code(), Some(1), "{}{}", stdout(&output), stderr(&output));
    ready(&client, &project.at("refused_queue"), 2).await;
}

/// A quorum queue deletes a message that is requeued more often than its delivery limit allows.
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
    ready(&client, &project.at("refused_queue"), 0).await;
}

/// A message in the broker: its properties and its body.
type Raw = (BasicProperties, Vec<u8>);

/// The message of `tests/data/cases/q05-properties.json`, with a header of each type that a sender can write.
fn with_all_properties() -> Raw {
    let case = include_str!("../data/cases/q05-properties.json");
    let case: Value = serde_json::from_str(case).unwrap();
    let (props, text) = (&case[0]["props"], |name: &str| case[0]["props"][name].as_str().unwrap().to_owned());
    let body = case[0]["body_b64"].as_str().unwrap();
    let body = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
    let mut headers = FieldTable::default();
    let nested = FieldTable::from(BTreeMap::from([("small".into(), AMQPValue::ShortShortInt(-3))]));
    let items = vec![AMQPValue::ShortInt(-300), AMQPValue::FieldTable(nested), AMQPValue::Void];
    for (name, value) in [
        ("tenant", AMQPValue::LongString(props["headers"]["tenant"].as_str().unwrap().into())),
        ("flag", AMQPValue::Boolean(true)),
        ("int8", AMQPValue::ShortShortInt(-8)),
        ("uint8", AMQPValue::ShortShortUInt(200)),
        ("int16", AMQPValue::ShortInt(-16)),
        ("uint16", AMQPValue::ShortUInt(60_000)),
        ("int32", AMQPValue::LongInt(-32)),
        ("uint32", AMQPValue::LongUInt(4_000_000_000)),
        ("int64", AMQPValue::LongLongInt(i64::MIN)),
        ("float", AMQPValue::Float(0.1)),
        ("double", AMQPValue::Double(0.1)),
        ("price", AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 1999 })),
        ("at", AMQPValue::Timestamp(1_700_000_000_000)),
        ("digest", AMQPValue::ByteArray(vec![0, 159, 146, 150].into())),
        ("latin1", AMQPValue::LongString(vec![0x4d, 0xfc, 0x6c, 0x6c].into())),
        ("nothing", AMQPValue::Void),
        ("list", AMQPValue::FieldArray(items.into())),
    ] {
        headers.insert(name.into(), value);
    }
    let properties = BasicProperties::default()
        .with_message_id(text("message_id").into())
        .with_content_type(text("content_type").into())
        .with_content_encoding(text("content_encoding").into())
        .with_correlation_id(text("correlation_id").into())
        .with_reply_to(text("reply_to").into())
        .with_type(text("type").into())
        .with_app_id(text("app_id").into())
        .with_priority(5)
        .with_expiration(text("expiration").into())
        .with_timestamp(props["timestamp"].as_u64().unwrap())
        .with_delivery_mode(1)
        .with_user_id("guest".into())
        .with_headers(headers);
    (properties, body)
}

async fn put(client: &Client, queue: &str, (properties, body): &Raw) {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let sent =
        client.channel().basic_publish("".into(), queue.into(), options, body, properties.clone()).await;
    assert!(sent.unwrap().await.unwrap().is_ack());
}

/// Takes the only message of a queue out.
async fn take(client: &Client, queue: &str) -> Raw {
    let got = client.channel().basic_get(queue.into(), BasicGetOptions { no_ack: true }).await.unwrap();
    let message = got.expect("a message").delivery;
    (message.properties, message.data)
}

/// Removes the headers that Ergon adds.
fn own(properties: &BasicProperties) -> BTreeMap<String, AMQPValue> {
    let headers =
        properties.headers().iter().flatten().filter(|(name, _)| !name.as_str().starts_with("ergon-"));
    headers.map(|(name, value)| (name.to_string(), value.clone())).collect()
}

#[track_caller]
fn assert_same((sent, body): &Raw, (came, came_body): &Raw) {
    assert_eq!(body, came_body);
    assert_eq!(own(came), own(sent));
    let bare = |properties: &BasicProperties| properties.clone().with_headers(FieldTable::default());
    assert_eq!(bare(came), bare(sent));
}

/// A body in gzip is not an order, so it is rejected.
#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
async fn a_letter_and_its_redrive_keep_every_property_and_header() {
    let (project, client) = queued(&[]).await;
    let (source, letters) = (project.at("order_queue"), project.at("refused_queue"));
    let sent = with_all_properties();
    put(&client, &source, &sent).await;
    project.said(&["run", "queue-orders"]);
    let letter = take(&client, &letters).await;
    // A dead letter does not expire. The expiry is kept for the redrive.
    assert_eq!(letter.0.expiration().clone(), None);
    let kept = letter.0.headers().as_ref().unwrap().inner().get("ergon-expiration");
    assert_eq!(kept, Some(&AMQPValue::LongString("600000".into())));
    assert_same(&sent, &(letter.0.clone().with_expiration("600000".into()), letter.1.clone()));
    put(&client, &letters, &letter).await;
    let shown = project.json(&["dead-letters", "show", "queue-orders"]);
    let metadata = &shown[0]["metadata"];
    assert_eq!(
        (&metadata["amqp.expiration"], &metadata["amqp.delivery_mode"]),
        (&json!("600000"), &json!(1))
    );
    assert_eq!(metadata["amqp.header_types"]["digest"], "bytes");
    assert_eq!((&metadata["digest"], &metadata["at"]), (&json!("AJ+Slg=="), &json!(1_700_000_000_000_u64)));
    assert_eq!(project.json(&IN_QUEUE)["replayed"], json!(["gz"]));
    assert_same(&sent, &take(&client, &source).await);
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
async fn a_letter_in_a_file_goes_back_into_the_queue_with_every_property_and_header() {
    let (project, client) = queued(&[]).await;
    let source = project.at("order_queue");
    let sent = with_all_properties();
    let (far, body) = with_all_properties();
    let far = (far.with_message_id("far".into()).with_timestamp(1_700_000_000_000), body);
    let wrong = (sent.0.clone().with_message_id("wrong".into()), br#"{"sku":"#.to_vec());
    for message in [&sent, &far, &wrong] {
        put(&client, &source, message).await;
    }
    project.said(&["run", "queue-to-file"]);
    let lines: Vec<Value> =
        project.read("refused.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3, "a time beyond the year 9999 stops no letter: {lines:?}");
    let replay = ["dead-letters", "replay", "queue-to-file"];
    assert_eq!(project.json(&replay)["replayed"], json!(["gz", "far", "wrong"]));
    for message in [&sent, &far, &wrong] {
        assert_same(message, &take(&client, &source).await);
    }
}

/// Milliseconds where seconds belong: the year 55840.
#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
async fn a_time_beyond_the_calendar_stops_no_letter_and_is_kept_raw() {
    let (project, client) = queued(&[]).await;
    let source = project.at("order_queue");
    for (id, seconds) in
        [("millis", 1_700_000_000_000), ("nanos", 1_700_000_000_000_000_000), ("most", u64::MAX)]
    {
        let properties = BasicProperties::default().with_message_id(id.into()).with_timestamp(seconds);
        put(&client, &source, &(properties, br#"{"sku":"cup","quantity":0}"#.to_vec())).await;
    }
    project.said(&["run", "queue-to-file"]);
    let lines: Vec<Value> =
        project.read("refused.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let raw = |line: &Value| line["metadata"]["amqp.timestamp"].as_u64().unwrap();
    assert_eq!(
        lines.iter().map(raw).collect::<Vec<_>>(),
        [1_700_000_000_000, 1_700_000_000_000_000_000, u64::MAX]
    );
    assert_eq!(lines[0]["created_at"], "1700000000000.000000");
    for action in ["list", "show"] {
        for format in ["text", "json"] {
            project.said(&["dead-letters", action, "queue-to-file", "--format", format]);
        }
    }
    let shown = project.json(&["dead-letters", "show", "queue-to-file"]);
    assert_eq!(shown[0]["created_at"], "1700000000000.000000");
    project.said(&["dead-letters", "replay", "queue-to-file"]);
    for seconds in [1_700_000_000_000, 1_700_000_000_000_000_000, u64::MAX] {
        assert_eq!(*take(&client, &source).await.0.timestamp(), Some(seconds));
    }
}

#[test]
fn a_field_that_no_letter_has_is_told_and_matches_nothing() {
    let project = Project::run_once();
    for (condition, told) in [
        ("categry=business", "a dead letter has no field `categry`; did you mean `category`?"),
        (
            "payload=1",
            "a dead letter has no field `payload`; there is `id`, `error`, `category`, `attempts`, `replays`, `payload.<key>` and `metadata.<key>`",
        ),
    ] {
        let output = project.run(&["dead-letters", "list", "file-orders", "--where", condition]);
        assert_eq!((output.status.code(), stdout(&output)), (Some(2), String::new()));
        assert!(stderr(&output).contains(told), "{}", stderr(&output));
    }
}

/// Conditions on fields that some or all dead letters have.
#[test]
fn a_field_of_the_payload_or_the_metadata_that_no_letter_has_is_a_mistake() {
    let project = Project::run_once();
    for action in ["list", "show", "replay"] {
        for (condition, told) in [
            ("payload.skku=cup", "no dead letter has the field `payload.skku`"),
            ("payload.sku.x!=cup", "no dead letter has the field `payload.sku.x`"),
            ("metadata.lin~1", "no dead letter has the field `metadata.lin`"),
        ] {
            let output = project.run(&["dead-letters", action, "file-orders", "--where", condition]);
            assert_eq!((output.status.code(), stdout(&output)), (Some(2), String::new()), "{condition}");
            assert!(stderr(&output).contains(told), "{}", stderr(&output));
        }
    }
    let hinted = project.run(&["dead-letters", "list", "file-orders", "--where", "payload.skku=cup"]);
    assert!(stderr(&hinted).contains("did you mean `payload.sku`?"), "{}", stderr(&hinted));
    assert_eq!(project.listed("file-orders").len(), 2, "nothing went");
    // If there is no dead letter, no dead letter can lack a field.
    project.write("refused.jsonl", "");
    assert_eq!(project.said(&["dead-letters", "list", "file-orders", "--where", "payload.skku=cup"]), "");
}

#[test]
fn letters_are_chosen_by_each_comparison() {
    let project = Project::run_once();
    let chosen = |conditions: &[&str]| -> Vec<String> {
        let conditions = conditions.iter().flat_map(|condition| ["--where", condition]);
        let line: Vec<&str> = ["dead-letters", "list", "file-orders"].into_iter().chain(conditions).collect();
        let list = project.json(&line);
        list.as_array().unwrap().iter().map(|letter| letter["id"].as_str().unwrap().to_owned()).collect()
    };
    let (second, fourth) = ("orders.jsonl:2", "orders.jsonl:4");
    assert_eq!(chosen(&["error~\"cup is ordered\""]), [second]);
    assert_eq!(chosen(&["error ~ 'NO JAR'"]), [fourth]);
    assert_eq!(chosen(&["payload.sku!=cup"]), [fourth]);
    assert_eq!(chosen(&["metadata.line>2"]), [fourth]);
    assert_eq!(chosen(&["metadata.line<10", "payload.quantity<1", "id~:2"]), [second]);
    assert_eq!(chosen(&["attempts>1"]), [""; 0]);
}

/// A project whose orders are in tables. The second and the fourth order are rejected.
struct Tables(Project);

impl Tables {
    fn new() -> Self {
        let project = Project::new();
        let url = "base_url = \"http://127.0.0.1:1\"\n";
        project.write(
            "ergon.toml",
            &format!(
                "[csv]\npath = \"orders.csv\"\n[excel]\npath = \"orders.xlsx\"\n[lines]\npath = \"lines.jsonl\"\n\
                 [taken]\npath = \"taken.jsonl\"\n[refused]\npath = \"refused.jsonl\"\n[rule]\n[crm.http]\n{url}\
                 [vault.http]\n{url}[pages.http]\n{url}[openai]\napi_key = \"k\"\nmodel = \"m\"\n"
            ),
        );
        project.write("orders.csv", "sku,quantity,note\n1001,1,\n1002,0,\n1003,3,x\n1004,0,y\n");
        let mut book = rust_xlsxwriter::Workbook::new();
        let sheet = book.add_worksheet();
        for (column, name) in ["sku", "quantity", "note"].into_iter().enumerate() {
            sheet.write(0, u16::try_from(column).unwrap(), name).unwrap();
        }
        for (row, (sku, quantity)) in [("a", 1), ("b", 0), ("c", 3), ("d", 0)].into_iter().enumerate() {
            let row = u32::try_from(row).unwrap() + 1;
            sheet.write(row, 0, sku).unwrap().write(row, 1, quantity).unwrap();
        }
        book.save(project.folder.path().join("orders.xlsx")).unwrap();
        Self(project)
    }

    fn run(&self, arguments: &[&str], forgiving: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clerk"));
        command.args(arguments).current_dir(self.0.folder.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ERGON")) {
            command.env_remove(name);
        }
        command.env("ERGON_RULE__FORGIVING", forgiving).output().unwrap()
    }

    fn taken(&self) -> Vec<Value> {
        self.0.read("taken.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[test]
fn letters_of_tables_are_replayed_through_the_task() {
    for (task, skus) in [("csv-orders", ["1002", "1004"]), ("excel-orders", ["b", "d"])] {
        let tables = Tables::new();
        assert_eq!(tables.run(&["run", task], "false").status.code(), Some(0));
        assert_eq!(tables.taken().len(), 2);
        let refused = tables.run(&["dead-letters", "replay", task], "true");
        assert_eq!(refused.status.code(), Some(1));
        assert!(stderr(&refused).contains("--process"), "{}", stderr(&refused));
        let dry = tables.run(&["dead-letters", "replay", task, "--process", "--dry-run"], "true");
        assert_eq!(stdout(&dry).matches("would process").count(), 2, "{}", stderr(&dry));
        assert_eq!(tables.taken().len(), 2);
        let one = [
            "dead-letters",
            "replay",
            task,
            "--process",
            "--where",
            "error~\"exported before\"",
            "--limit",
            "1",
        ];
        let output = tables.run(&one, "true");
        assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
        assert!(stdout(&output).starts_with("processed "), "{}", stdout(&output));
        let rest = tables.run(&["dead-letters", "replay", task, "--process", "--format", "json"], "true");
        let rest: Value = serde_json::from_slice(&rest.stdout).unwrap();
        assert_eq!(
            (rest["replayed"].as_array().unwrap().len(), &rest["rejected"]),
            (1, &json!([])),
            "{rest}"
        );
        // The output has the rows of the run, and then the replayed rows, with the types of the task.
        let taken = tables.taken();
        let last: Vec<&Value> = taken.iter().skip(2).collect();
        assert_eq!(last.iter().map(|order| order["sku"].as_str().unwrap()).collect::<Vec<_>>(), skus);
        assert!(last.iter().all(|order| order["quantity"] == 0), "{taken:?}");
        let left = tables.run(&["dead-letters", "list", task], "true");
        assert_eq!(stdout(&left), "");
    }
}

#[test]
fn a_letter_that_the_task_rejects_again_is_a_letter_again_and_is_counted() {
    let tables = Tables::new();
    assert_eq!(tables.run(&["run", "csv-orders"], "false").status.code(), Some(0));
    let replay = ["dead-letters", "replay", "csv-orders", "--process"];
    let output = tables.run(&replay, "false");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stdout(&output).matches("rejected again").count(),
        2,
        "{}{}",
        stdout(&output),
        stderr(&output)
    );
    let listed = || -> Vec<u64> {
        let list = tables.run(&["dead-letters", "list", "csv-orders", "--format", "json"], "false");
        let list: Value = serde_json::from_slice(&list.stdout).unwrap();
        list.as_array().unwrap().iter().map(|letter| letter["replays"].as_u64().unwrap()).collect()
    };
    assert_eq!(listed(), [1, 1]);
    let skipped = tables.run(&replay, "true");
    assert_eq!((skipped.status.code(), stdout(&skipped).matches("skipped").count()), (Some(0), 2));
    let again: Vec<&str> = replay.into_iter().chain(["--again"]).collect();
    assert_eq!(tables.run(&again, "false").status.code(), Some(1), "each goes round once");
    assert_eq!(listed(), [2, 2]);
    assert_eq!(tables.run(&again, "true").status.code(), Some(0));
    assert_eq!((listed().len(), tables.taken().len()), (0, 4));
}

#[test]
fn a_row_that_could_not_be_read_is_not_made_up_by_a_replay() {
    let tables = Tables::new();
    tables.0.write("orders.csv", "sku,quantity,note\n1001,1\n1002,2,x\n");
    assert_eq!(tables.run(&["run", "csv-orders"], "true").status.code(), Some(0));
    let output = tables.run(&["dead-letters", "replay", "csv-orders", "--process"], "true");
    assert_eq!(output.status.code(), Some(1), "{}{}", stdout(&output), stderr(&output));
    assert_eq!(tables.taken().len(), 1);
    let left = tables.run(&["dead-letters", "list", "csv-orders"], "true");
    assert_eq!(stdout(&left).lines().count(), 2, "{}", stdout(&left));
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
