//! Tests whole commands, from the command line to the streams and the exit code, on tasks without an engine.

use std::ffi::OsString;

use super::output::captured::Captured;
use super::*;
use crate::connector::memory::MemoryQueue;
use crate::policy::ConsumerPolicy;
use crate::runner::fake::{fake, price_orders};
use crate::settings;
use crate::task::Task;
use crate::transaction::Transaction;

pub(super) const PACKAGE: Package = Package { name: "shop", version: "1.2.3", manifest_dir: "" };

pub(super) struct BillOrders;

impl Task for BillOrders {
    const NAME: &'static str = "bill-orders";
}

/// Settings without tables of the user.
#[derive(serde::Deserialize)]
struct Nothing {}

/// The result of a command.
pub(super) struct Ran {
    pub(super) code: u8,
    pub(super) data: String,
    pub(super) talk: String,
}

/// Runs a command line on two tasks that fetch from the queue `name`.
pub(super) fn shop(name: &str, toml: &str, line: &[&str]) -> Ran {
    let tasks = vec![
        price_orders(name, ConsumerPolicy::DEFAULT),
        fake::<BillOrders>(&format!("{name}-bills"), ConsumerPolicy::DEFAULT),
    ];
    ran(&tasks, toml, line)
}

pub(super) fn ran(tasks: &[TaskConfig], toml: &str, line: &[&str]) -> Ran {
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("ergon.toml"), toml).unwrap();
    let options = Options { working_folder: folder.path().to_path_buf(), ..Options::default() };
    let captured = Captured::default();
    let arguments = match args::parse(&PACKAGE, ["shop"].iter().chain(line).map(OsString::from)) {
        Ok(arguments) => arguments,
        Err(error) => {
            let exit = not_understood(&error, &captured.output(false));
            return Ran { code: exit.code(), data: captured.data.text(), talk: captured.talk.text() };
        }
    };
    let load = || {
        let loaded = settings::load::<Nothing>(&options)?;
        Ok((loaded.framework, tasks.to_vec()))
    };
    let colour = matches!(arguments.global.color, args::Colour::Always);
    let output = captured.painted(arguments.global.quiet, colour);
    let exit = execute(&PACKAGE, &arguments, &output, &load);
    let place = format!("{}/", folder.path().display());
    let plain = |text: String| text.replace(&place, "");
    Ran { code: exit.code(), data: plain(captured.data.text()), talk: plain(captured.talk.text()) }
}

pub(super) fn fill(queue: &str, numbers: impl IntoIterator<Item = u64>) {
    let numbers = numbers.into_iter();
    let transactions = numbers.map(|number| Transaction::new(format!("n{number}"), &number).unwrap());
    MemoryQueue::named(queue).extend(transactions);
}

#[cfg(not(feature = "health"))]
#[test]
fn an_address_for_a_server_that_was_not_built_in_is_an_error() {
    let ran = shop("no-health", "[runner]\nhealth = \"127.0.0.1:0\"\n", &["run", "price-orders"]);
    let said = "error: ergon.toml:2:10: runner.health: this program was built without the health server\n";
    assert!(ran.code == 2 && ran.talk.starts_with(said), "{}", ran.talk);
    assert!(ran.talk.contains("hint: add the feature `health` to `ergon` in Cargo.toml"), "{}", ran.talk);
}

#[test]
fn list_shows_tasks_and_wiring() {
    let ran = shop("list", "", &["list"]);
    assert_eq!(
        ran.data,
        "\
price-orders (consumer)
  input   memory source
  output  memory sink
  dlq     stubborn sink
bill-orders (consumer)
  input   memory source
  output  memory sink
  dlq     stubborn sink
"
    );
    assert_eq!((ran.code, ran.talk.as_str()), (0, ""));
    let json: serde_json::Value =
        serde_json::from_str(&shop("list", "", &["list", "--format", "json"]).data).unwrap();
    assert_eq!(json[1]["connectors"][0]["kind"], "memory");
}

#[test]
fn run_ends_with_a_summary() {
    fill("run", [2, 4, 5]);
    let ran = shop("run", "", &["run", "price-orders"]);
    assert_eq!(ran.code, 0, "{}", ran.talk);
    for part in [
        "3 transactions processed",
        "2 succeeded",
        "1 was rejected",
        "The source is empty",
        "n5 (business): 5 is odd",
    ] {
        assert!(ran.talk.contains(part), "{part}: {}", ran.talk);
    }
    assert_eq!(ran.data, "");
    assert_eq!(MemoryQueue::named("run").inspect().acked, 3);
}

#[test]
fn run_all_runs_all_and_json_is_one_object() {
    fill("all", [2]);
    fill("all-bills", [4, 6]);
    let ran = shop("all", "", &["run", "--all", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&ran.data).unwrap();
    assert_eq!((&json["processed"], &json["exit_code"]), (&3.into(), &0.into()));
    assert_eq!(json["tasks"].as_array().unwrap().len(), 2);
}

#[test]
fn quiet_says_nothing_when_all_is_well() {
    fill("quiet", [2]);
    let ran = shop("quiet", "", &["run", "price-orders", "--quiet"]);
    assert_eq!((ran.code, ran.talk.as_str(), ran.data.as_str()), (0, "", ""));
}

#[test]
fn a_handler_failure_is_exit_code_1() {
    fill("failure", [13]);
    let ran = shop("failure", "", &["run", "price-orders"]);
    assert_eq!(ran.code, 1);
    assert!(ran.talk.contains("The exception handler failed for 1 transaction."), "{}", ran.talk);
}

#[test]
fn what_cannot_be_opened_is_told_and_nothing_runs() {
    fill("stays-shut", [2]);
    let ran = shop("stays-shut", "", &["run", "--all"]);
    let one = |task: &str| {
        format!("error: task `{task}`: connector `dlq` (stubborn): it stays shut\n = hint: knock twice\n")
    };
    assert_eq!((ran.code, ran.talk), (2, one("price-orders") + &one("bill-orders")));
    assert_eq!(MemoryQueue::named("stays-shut").inspect().waiting, 1);
}

#[test]
fn what_cannot_be_closed_is_exit_code_1() {
    let ran = shop("stays-open", "", &["run", "price-orders"]);
    assert_eq!(ran.code, 1);
    assert!(ran.talk.ends_with("error: connector `dlq` (stubborn): the disk is full\n"), "{}", ran.talk);
}

#[test]
fn what_is_misspelt_gets_a_did_you_mean_and_exit_code_2() {
    let ran = shop("typo", "", &["run", "price-order"]);
    assert_eq!(
        (ran.code, ran.talk.as_str()),
        (2, "error: there is no task `price-order`\n = hint: did you mean `price-orders`?\n")
    );
    for (written, meant) in [("lst", "list"), ("rnu", "run")] {
        let ran = shop("typo", "", &[written]);
        assert_eq!(ran.code, 2);
        assert!(ran.talk.contains(&format!("a similar subcommand exists: '{meant}'")), "{}", ran.talk);
    }
    let ran = shop("typo", "", &["run", "--all", "--limit", "many"]);
    let told =
        "error: invalid value 'many' for '--limit <N>': expected a whole number that is not negative\n";
    assert!(ran.talk.starts_with(told), "{}", ran.talk);
}

#[test]
fn a_run_of_nothing_names_what_there_is() {
    let ran = shop("nothing", "", &["run"]);
    let told =
        "error: no task is named\n = hint: write `run price-orders`, `run bill-orders` or `run --all`\n";
    assert_eq!((ran.code, ran.talk.as_str()), (2, told));
}

#[test]
fn two_tasks_of_one_name_are_refused() {
    let twice = vec![price_orders("a", ConsumerPolicy::DEFAULT), price_orders("b", ConsumerPolicy::DEFAULT)];
    let ran = ran(&twice, "", &["list"]);
    assert_eq!(ran.code, 2);
    assert!(ran.talk.starts_with("error: two tasks have the name `price-orders`\n = hint: "), "{}", ran.talk);
}

#[test]
fn wrong_settings_are_exit_code_2_and_shown_in_their_line() {
    let ran = shop("zero", "[tasks.price-orders.consumer]\nconcurrency = 0\n", &["run", "price-orders"]);
    assert_eq!(
        (ran.code, ran.talk.as_str()),
        (
            2,
            "\
error: ergon.toml:2:15: tasks.price-orders.consumer.concurrency: must be at least 1, found 0
  |
2 | concurrency = 0
  |               ^
"
        )
    );
}

#[test]
fn a_misspelt_log_level_is_told() {
    let ran = shop("level", "[telemetry]\nlevel = 'dbug'\n", &["run", "price-orders"]);
    assert_eq!(
        ran.talk,
        "\
error: ergon.toml:2:9: there is no log level `dbug`
  |
2 | level = 'dbug'
  |         ^^^^^^
  = hint: did you mean `debug`?
"
    );
}

#[test]
fn a_single_transaction_shows_output_and_attempts() {
    let line = ["process-transaction", "price-orders", "consumer", "--payload-json", "21", "--id", "o-1"];
    let ran = shop("single", "", &line);
    let text = "o-1: succeeded\n  process    1 attempt   2.00ms\n  disposition: ack\n42\n";
    assert_eq!((ran.code, ran.data.as_str(), ran.talk.as_str()), (0, text, ""));
}

#[test]
fn a_single_transaction_that_fails_is_exit_code_1() {
    let line =
        ["process-transaction", "price-orders", "--payload-json", "\"x\"", "--format", "json", "--dry-run"];
    let ran = shop("single", "", &line);
    let json: serde_json::Value = serde_json::from_str(&ran.data).unwrap();
    assert_eq!(
        (ran.code, &json["outcome"], &json["error"]["category"]),
        (1, &"failed".into(), &"business".into())
    );
}

#[test]
fn a_payload_that_is_no_json_is_shown_with_a_caret() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("order.json");
    std::fs::write(&file, "{\n  \"id\": nope\n}\n").unwrap();
    let name = file.display().to_string();
    let ran = shop("bad", "", &["process-transaction", "price-orders", "--payload-file", &name]);
    assert_eq!(
        (ran.code, ran.talk.replace(&name, "order.json").as_str()),
        (
            2,
            "\
error: order.json:2:10: the payload is not valid JSON: expected ident
  |
2 |   \"id\": nope
  |          ^
  = hint: a JSON string needs double quotes: '\"text\"'
"
        )
    );
}

#[test]
fn a_payload_that_ends_too_early_is_shown_at_its_end() {
    let ran = shop("bad", "", &["process-transaction", "price-orders", "--payload-json", "{\"id\": 7"]);
    assert_eq!(
        ran.talk.lines().take(4).collect::<Vec<_>>(),
        [
            "error: --payload-json:1:9: the payload is not valid JSON: EOF while parsing an object",
            "  |",
            "1 | {\"id\": 7",
            "  |         ^"
        ]
    );
}

#[test]
fn a_missing_payload_is_told() {
    let ran = shop("none", "", &["process-transaction", "price-orders", "consumer"]);
    assert_eq!(
        (ran.code, ran.talk.as_str()),
        (
            2,
            "error: there is no payload\n = hint: pass it with `--payload-json`, `--payload-file`, or `-` for standard \
             input\n"
        )
    );
}

#[test]
fn describe_shows_the_policy_in_force() {
    let toml = "[tasks.price-orders.consumer]\nconcurrency = 8\n[tasks.price-orders.consumer.process]\nbackoff = '1s'\n";
    let ran = shop("describe", toml, &["describe"]);
    let text = ran.data.split("bill-orders").next().unwrap();
    for part in
        ["input   memory (source, fetched from): describe\n", "concurrency = 8", "process.backoff = \"1s\""]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let json = shop("describe", toml, &["describe", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json.data).unwrap();
    assert_eq!(json[0]["consumer"]["concurrency"], 8);
    assert_eq!(json[0]["consumer"]["from"], "input");
    let places: Vec<_> = (0..3).map(|at| &json[0]["connectors"][at]["place"]).collect();
    assert_eq!(places, [&"describe".into(), &"describe-out".into(), &serde_json::Value::Null]);
}

#[test]
fn describe_draws_the_wiring() {
    let mermaid = shop("draw", "", &["describe", "--format", "mermaid"]).data;
    assert!(mermaid.starts_with("flowchart LR\n  task_1[\"price-orders\"]\n"), "{mermaid}");
    assert!(mermaid.contains("  place_1 -->|\"input\"| task_1\n"), "{mermaid}");
    let dot = shop("draw", "", &["describe", "--format", "dot"]).data;
    assert!(dot.contains("  task_1 -> place_2 [label=\"output\"];\n"), "{dot}");
    let wrong = shop("draw", "", &["list", "--format", "dot"]);
    assert_eq!(wrong.code, 2);
}

#[test]
fn help_and_version_are_data() {
    let version = shop("version", "", &["--version"]);
    assert_eq!((version.code, version.data.as_str()), (0, "shop 1.2.3\n"));
    let help = shop("help", "", &["--help"]);
    assert!(help.data.contains("process-transaction"), "{}", help.data);
}
