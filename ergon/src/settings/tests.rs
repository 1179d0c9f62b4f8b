//! Tests the errors of wrong settings, word for word.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tempfile::TempDir;

use super::*;
use crate::policy::{ConsumerPolicy, Flag, Flags, Policies, ProducerPolicy};

#[derive(Debug, Deserialize, PartialEq)]
struct Settings {
    orders: Orders,
    #[serde(default)]
    limits: Option<Limits>,
    #[serde(default)]
    rates: BTreeMap<String, f64>,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Orders {
    path: FilePath,
    #[serde(default)]
    header_row: u32,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    columns: Vec<String>,
    password: Option<String>,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Limits {
    max_rows: u64,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    #[default]
    ReadOnly,
    Append,
    Every(u8),
}

/// A path as connectors read it.
#[derive(Debug, PartialEq)]
struct FilePath(PathBuf);

impl<'de> Deserialize<'de> for FilePath {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = FilePath;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a path")
            }
            fn visit_str<E>(self, text: &str) -> Result<FilePath, E> {
                Ok(FilePath(text.into()))
            }
            fn visit_newtype_struct<D: serde::Deserializer<'de>>(self, d: D) -> Result<FilePath, D::Error> {
                d.deserialize_str(self)
            }
        }
        deserializer.deserialize_newtype_struct("$ergon::FilePath", Visitor)
    }
}

/// A working folder with an `ergon.toml`.
struct Place(TempDir, Vec<(&'static str, &'static str)>);

impl Place {
    fn empty() -> Self {
        Self(TempDir::new().unwrap(), Vec::new())
    }

    fn with(toml: &str) -> Self {
        Self::empty().file("ergon.toml", toml)
    }

    fn file(self, name: &str, text: &str) -> Self {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn variable(mut self, name: &'static str, value: &'static str) -> Self {
        self.1.push((name, value));
        self
    }

    fn options(&self) -> Options {
        let environment = self.1.iter().map(|(name, value)| (name.into(), value.into())).collect();
        Options { working_folder: self.0.path().to_path_buf(), environment, ..Options::default() }
    }

    fn load(&self) -> Result<Loaded<Settings>, Error> {
        load(&self.options())
    }

    fn settings(&self) -> Settings {
        self.load().unwrap_or_else(|error| panic!("{}", shown(&error))).settings
    }

    /// The error as the user sees it, without the name of the folder.
    fn error(&self) -> String {
        self.say(&self.load().expect_err("the settings are wrong"))
    }

    fn say(&self, error: &Error) -> String {
        shown(error).replace(&format!("{}/", self.0.path().display()), "")
    }
}

fn shown(error: &Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// `--concurrency 0`.
fn no_concurrency() -> Flags {
    let written = "--concurrency 0".to_owned();
    Flags::new(vec![Flag { key: "concurrency", value: 0.into(), written }]).unwrap()
}

fn policy_error(place: &Place, flags: &Flags) -> String {
    let loaded = place.load().unwrap_or_else(|error| panic!("{}", shown(&error)));
    let base = Policies { consumer: Some(ConsumerPolicy::DEFAULT), producer: None };
    let policy = loaded.framework.policies("price-orders", &base, flags);
    policy.expect_err("the policy is wrong").iter().map(|error| place.say(error)).collect()
}

const GOOD: &str = "[orders]\npath = 'orders.csv'\n";

#[test]
fn a_misspelt_key_is_shown_with_what_was_meant() {
    let place = Place::with("[orders]\npth = 'orders.csv'\n");
    assert_eq!(
        place.error(),
        "\
ergon.toml:2:1: orders: unknown key `pth`
  |
2 | pth = ...
  | ^^^
  = hint: did you mean `path`?
"
    );
}

#[test]
fn every_unknown_key_of_a_table_is_shown() {
    let error = Place::with("[orders]\npath = 'a'\ncolour = 1\nheader-rows = 2\n").error();
    assert_eq!(
        error,
        "\
ergon.toml:3:1: orders: unknown key `colour`
  |
3 | colour = ...
  | ^^^^^^
  = hint: there is `path`, `header_row`, `mode`, `columns` and `password`
ergon.toml:4:1: orders: unknown key `header-rows`
  |
4 | header-rows = ...
  | ^^^^^^^^^^^
  = hint: did you mean `header_row`?
"
    );
}

#[test]
fn a_value_of_the_wrong_type_is_shown_in_its_line() {
    let error = Place::with("[orders]\npath = 'a'\nheader_row = \"first\"\n").error();
    assert_eq!(
        error,
        "\
ergon.toml:3:14: orders.header_row: expected a whole number from 0 to 4294967295, found \"first\"
  |
3 | header_row = \"first\"
  |              ^^^^^^^
"
    );
}

#[test]
fn a_number_where_text_belongs_is_told_to_be_quoted() {
    let error = Place::with("[orders]\npath = 'a'\ncolumns = [\"id\", 7]\n").error();
    assert_eq!(
        error,
        "\
ergon.toml:3:18: orders.columns[1]: expected text, found 7
  |
3 | columns = [..., 7]
  |                 ^
  = hint: put it in quotes: \"7\"
"
    );
}

#[test]
fn a_missing_key_is_shown_at_its_table_with_what_to_write() {
    let error = Place::with("# orders\n[orders]\nheader_row = 1\n").error();
    assert_eq!(
        error,
        "\
ergon.toml:2:1: orders.path: the table [orders] has no key `path`
  |
2 | [orders]
  | ^^^^^^^^
  = hint: write `path = \"path/of/the/file\"` below [orders], or set ERGON_ORDERS__PATH
"
    );
}

#[test]
fn a_missing_table_is_named_with_its_keys() {
    let error = Place::with("[telemetry]\nlevel = 'debug'\n").error();
    assert_eq!(
        error,
        "\
ergon.toml: orders: there is no table [orders]
 = hint: write [orders] with its keys below it: `path`, `header_row`, `mode`, `columns` and `password`
"
    );
}

#[test]
fn without_a_file_the_places_that_were_searched_are_named() {
    let mut options = Place::empty().options();
    options.working_folder = PathBuf::from("no-such-folder");
    options.package_folder = Some(PathBuf::from("no-such-package"));
    let error = load::<Settings>(&options).unwrap_err();
    assert_eq!(
        shown(&error),
        "\
orders: there is no table [orders], because there is no ergon.toml
 = hint: write [orders] with its keys below it: `path`, `header_row`, `mode`, `columns` and `password`
 = note: looked for no-such-folder/ergon.toml and no-such-package/ergon.toml; --config names another file
"
    );
}

#[test]
fn a_wrong_value_from_the_environment_is_blamed_on_its_variable() {
    let place =
        Place::with("[orders]\npath = 'a'\nheader_row = 1\n").variable("ERGON_ORDERS__HEADER_ROW", "first");
    assert_eq!(
        place.error(),
        "\
environment variable ERGON_ORDERS__HEADER_ROW: orders.header_row: expected a whole number from 0 to 4294967295
 = note: it replaces the value at ergon.toml:3:14
"
    );
}

#[test]
fn a_wrong_value_in_the_env_file_is_shown_in_its_line() {
    let place = Place::with(GOOD).file(".env", "# local\nexport ERGON_ORDERS__HEADER_ROW=first\n");
    assert_eq!(
        place.error(),
        "\
.env:2:33: orders.header_row: expected a whole number from 0 to 4294967295
  |
2 | export ERGON_ORDERS__HEADER_ROW=...
  |                                 ^
"
    );
}

#[test]
fn a_misspelt_variable_is_found() {
    let place = Place::with(GOOD).variable("ERGON_ORDRES__PATH", "b.csv");
    assert_eq!(
        place.error(),
        "\
environment variable ERGON_ORDRES__PATH: unknown key `ordres`
 = hint: did you mean `orders`?
"
    );
}

#[test]
fn an_unknown_table_is_found() {
    let error = Place::with("[orders]\npath = 'a'\n\n[telemtry]\nlevel = 'debug'\n").error();
    assert_eq!(
        error,
        "\
ergon.toml:4:2: unknown key `telemtry`
  |
4 | [telemtry]
  |  ^^^^^^^^
  = hint: did you mean `telemetry`?
"
    );
}

#[test]
fn the_keys_of_the_framework_are_checked_too() {
    let error = Place::with("[orders]\npath = 'a'\n[tasks.price-orders.consumer]\nconcurency = 4\n").error();
    assert_eq!(
        error,
        "\
ergon.toml:4:1: tasks.price-orders.consumer: unknown key `concurency`
  |
4 | concurency = ...
  | ^^^^^^^^^^
  = hint: did you mean `concurrency`?
"
    );
}

#[test]
fn the_table_of_a_task_that_does_not_exist_is_found() {
    let place = Place::with("[orders]\npath = 'a'\n[tasks.price-order.consumer]\nconcurrency = 4\n");
    let policies = Policies { consumer: Some(ConsumerPolicy::DEFAULT), producer: None };
    let error = place.load().unwrap().framework.check_tasks(&[("price-orders", &policies)]).unwrap_err();
    assert_eq!(
        place.say(&error),
        "\
ergon.toml:3:8: tasks.price-order: there is no task `price-order`
  |
3 | [tasks.price-order.consumer]
  |        ^^^^^^^^^^^
  = hint: did you mean `price-orders`?
"
    );
}

#[test]
fn a_policy_of_a_role_that_the_task_does_not_have_is_refused() {
    let place = Place::with(
        "[orders]\npath = 'a'\n[tasks.price-orders.producer]\nconcurrency = 4\n[tasks.price-orders.consumer]\n",
    );
    let framework = place.load().unwrap().framework;
    let (consumer, producer) = (Some(ConsumerPolicy::DEFAULT), Some(ProducerPolicy::DEFAULT));
    let told = |consumer: Option<ConsumerPolicy>, producer: Option<ProducerPolicy>| {
        framework.check_tasks(&[("price-orders", &Policies { consumer, producer })])
    };
    told(consumer.clone(), producer.clone()).unwrap();
    assert_eq!(
        place.say(&told(consumer, None).unwrap_err()),
        "\
ergon.toml:3:21: tasks.price-orders.producer: the task does not produce
  |
3 | [tasks.price-orders.producer]
  |                     ^^^^^^^^
  = hint: the policies of this task belong under `consumer`
"
    );
    let error = place.say(&told(None, producer).unwrap_err());
    assert!(error.contains("tasks.price-orders.consumer: the task does not consume\n"), "{error}");
}

#[test]
fn a_policy_that_cannot_be_obeyed_is_shown_where_it_was_set() {
    let place = Place::with("[orders]\npath = 'a'\n\n[tasks.price-orders.consumer]\nconcurrency = 0\n");
    assert_eq!(
        policy_error(&place, &Flags::default()),
        "\
ergon.toml:5:15: tasks.price-orders.consumer.concurrency: must be at least 1, found 0
  |
5 | concurrency = 0
  |               ^
"
    );
}

#[test]
fn every_value_that_breaks_a_rule_is_told() {
    let toml = "[orders]\npath = 'a'\n[tasks.price-orders.consumer]\nbatch_size = 0\n\
                process = { max_attempts = 0, jitter = 2.0 }\n";
    let place = Place::with(toml).variable("ERGON_TASKS__PRICE_ORDERS__CONSUMER__EMPTY_QUEUE__BACKOFF", "0s");
    let told = policy_error(&place, &no_concurrency());
    let told: Vec<_> = told.lines().filter(|line| line.contains(": tasks.")).collect();
    let expected = [
        "--concurrency 0: tasks.price-orders.consumer.concurrency: must be at least 1",
        "ergon.toml:4:14: tasks.price-orders.consumer.batch_size: must be at least 1, found 0",
        "environment variable ERGON_TASKS__PRICE_ORDERS__CONSUMER__EMPTY_QUEUE__BACKOFF: \
         tasks.price-orders.consumer.empty_queue.backoff: must be longer than 0s; otherwise the source is polled \
         without a pause",
        "ergon.toml:5:28: tasks.price-orders.consumer.process.max_attempts: must be at least 1, found 0",
        "ergon.toml:5:40: tasks.price-orders.consumer.process.jitter: must be from 0 to 1, found 2",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_policy_set_by_a_variable_is_blamed_on_it() {
    let place = Place::with(GOOD).variable("ERGON_TASKS__PRICE_ORDERS__CONSUMER__CONCURRENCY", "0");
    let error = policy_error(&place, &Flags::default());
    assert_eq!(
        error.lines().next().unwrap(),
        "environment variable ERGON_TASKS__PRICE_ORDERS__CONSUMER__CONCURRENCY: \
         tasks.price-orders.consumer.concurrency: must be at least 1"
    );
}

#[test]
fn a_policy_set_on_the_command_line_is_blamed_on_its_option() {
    let place = Place::with("[orders]\npath = 'a'\n[tasks.price-orders.consumer]\nconcurrency = 3\n");
    let error = policy_error(&place, &no_concurrency());
    assert_eq!(error, "--concurrency 0: tasks.price-orders.consumer.concurrency: must be at least 1\n");
}

#[test]
fn a_backoff_above_the_cap_of_the_task_is_shown_at_its_table() {
    let toml = "[orders]\npath = 'a'\n[tasks.price-orders.consumer.empty_queue]\nbackoff = '9s'\n";
    let error = policy_error(&Place::with(toml), &Flags::default());
    assert_eq!(
        error,
        "\
ergon.toml:3:1: tasks.price-orders.consumer.empty_queue.backoff_cap: must not be smaller than `backoff`
  |
3 | [tasks.price-orders.consumer.empty_queue]
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
"
    );
}

#[test]
fn a_bad_duration_shows_good_ones() {
    let error =
        Place::with("[orders]\npath = 'a'\n[tasks.price-orders.consumer]\ntimeout = 'an hour'\n").error();
    assert_eq!(
        error,
        "\
ergon.toml:4:11: tasks.price-orders.consumer.timeout: expected a duration such as \"500ms\", \"30s\" or \"1h\", \
found \"an hour\"
  |
4 | timeout = 'an hour'
  |           ^^^^^^^^^
"
    );
}

#[derive(Debug, Deserialize)]
struct Paced {
    crm: Pace,
}

#[derive(Debug, Deserialize)]
struct Pace {
    pause: Duration,
    at_most: Option<Duration>,
}

#[test]
fn a_duration_of_the_standard_library_is_read_as_people_write_it() {
    let place = Place::with("[crm]\npause = '1m 30s'\n").variable("ERGON_CRM__AT_MOST", "250ms");
    let Paced { crm } = load(&place.options()).unwrap().settings;
    assert_eq!((crm.pause, crm.at_most), (Duration::from_secs(90), Some(Duration::from_millis(250))));
    let place = Place::with("[crm]\npause = { secs = 1, nanos = 5 }\n");
    let Paced { crm } = load(&place.options()).unwrap().settings;
    assert_eq!(crm.pause, Duration::new(1, 5));
}

#[test]
fn a_duration_of_the_standard_library_shows_how_it_is_written() {
    let error = |toml: &str| {
        let place = Place::with(toml);
        place.say(&load::<Paced>(&place.options()).expect_err("it is wrong"))
    };
    assert_eq!(
        error("[crm]\npause = 5\n"),
        "\
ergon.toml:2:9: crm.pause: expected a duration such as \"500ms\", \"30s\" or \"1h\", found 5
  |
2 | pause = 5
  |         ^
"
    );
    let missing = error("[crm]\nat_most = '5s'\n");
    assert!(missing.contains("write `pause = \"30s\"` (a duration) below [crm]"), "{missing}");
}

#[test]
fn an_unknown_choice_shows_all_there_are() {
    let error = Place::with("[orders]\npath = 'a'\nmode = 'apend'\n").error();
    assert_eq!(
        error,
        "\
ergon.toml:3:8: orders.mode: expected \"read-only\", \"append\" or \"every\", found \"apend\"
  |
3 | mode = 'apend'
  |        ^^^^^^^
  = hint: did you mean \"append\"?
"
    );
}

#[test]
fn a_task_has_at_least_one_worker() {
    let error = Place::with("[orders]\npath = 'a'\n[tasks.price-orders]\nworkers = 0\n").error();
    assert_eq!(
        error,
        "\
ergon.toml:4:11: tasks.price-orders.workers: expected at least 1, found 0
  |
4 | workers = 0
  |           ^
"
    );
}

#[test]
fn a_file_that_is_named_and_not_there_is_an_error() {
    let mut options = Place::with(GOOD).options();
    options.working_folder = PathBuf::from("/no-such-folder");
    options.config = Some(PathBuf::from("production.toml"));
    let error = load::<Settings>(&options).unwrap_err();
    assert_eq!(
        shown(&error),
        "\
--config production.toml: there is no such file
 = note: looked for /no-such-folder/production.toml
"
    );
}

#[test]
fn a_file_that_a_variable_names_is_blamed_on_it() {
    let place = Place::with(GOOD).variable("ERGON_CONFIG", "production.toml");
    let error = place.error();
    let told = "environment variable ERGON_CONFIG: there is no such file\n";
    assert!(error.starts_with(told) && !error.contains("production.toml"), "{error}");
}

#[test]
fn a_file_that_the_variables_file_names_is_taken_and_blamed_on_it() {
    let place = Place::with("").file("other.toml", GOOD).file(".env", "ERGON_CONFIG=other.toml\n");
    assert!(place.settings().orders.path.0.ends_with("orders.csv"), "of other.toml");
    let error = Place::with(GOOD).file(".env", "ERGON_CONFIG=gone.toml\n").error();
    assert!(error.starts_with(".env:1:14: there is no such file\n"), "{error}");
    let own = Place::with("").file("other.toml", GOOD).file(".env", "ERGON_CONFIG=gone.toml\n");
    assert!(own.variable("ERGON_CONFIG", "other.toml").load().is_ok(), "the environment wins");
}

#[test]
fn a_line_of_another_program_ends_no_command() {
    let lines = "this is no variable\nMOTD=it's two words\nPORT=\nKEY=\"---\nx\n---\"\n[ -f x ] && y\n";
    let place = Place::with(GOOD).file(".env", &format!("A=1\n{lines}ERGON_ORDERS__HEADER_ROW=7\n"));
    let loaded = place.load().unwrap_or_else(|error| panic!("{}", shown(&error)));
    assert_eq!(loaded.settings.orders.header_row, 7);
    let ignored = loaded.framework.ignored;
    assert_eq!(ignored.len(), 1, "{ignored:?}");
    assert!(ignored[0].ends_with(".env: lines 2 and 8 are ignored: expected NAME=value"), "{ignored:?}");
}

#[test]
fn a_line_of_ours_that_cannot_be_read_is_an_error_where_its_value_is_asked_for() {
    let place = |line: &str| Place::with(GOOD).file(".env", line);
    assert_eq!(
        place("A=1\nERGON_ORDERS__MODE=S3cr3t pw\n").error(),
        "\
.env:2:26: ERGON_ORDERS__MODE: a value without quotes contains a space
 = hint: put a value with spaces, quotes, # or \\ in single quotes: NAME='...'
"
    );
    for line in ["ERGON_MOTD=two words", "ERGON_PORT='", "OTEL_SERVICE_NAME=two words", "RUST_LOG=a b"] {
        assert!(place(line).load().is_ok(), "{line}");
    }
    for line in [
        "ERGON_ORDERS=two words",
        "ERGON_LIMITS__MAX_ROWS",
        "ERGON_LOG='",
        "ERGON_CONFIG=a b",
        "ERGON_X__Y=a b",
    ] {
        assert!(place(line).error().contains(line.split('=').next().unwrap()), "{line}");
    }
    let by_process = place("ERGON_ORDERS__HEADER_ROW=a b").variable("ERGON_ORDERS__HEADER_ROW", "3");
    assert_eq!(by_process.settings().orders.header_row, 3);
}

#[test]
fn a_variable_without_a_setting_whose_value_cannot_be_read_shows_no_part_of_it() {
    for value in ["S3cr3t\"x y", "S3cr3t pw", "\"S3cr3t\nS3cr3t=\\q\""] {
        let said = Place::with(GOOD).file(".env", &format!("ERGON_ORDERS__TOKEN={value}\n")).error();
        assert!(said.contains(".env:1:21: orders: unknown key `token`"), "{said}");
        assert!(said.contains("ERGON_ORDERS__TOKEN=...") && !said.contains("S3cr3t"), "{said}");
    }
}

#[test]
fn one_underscore_where_two_belong_is_told_with_the_name_that_was_meant() {
    let place = Place::with(GOOD).variable("ERGON_ORDERS_PATH", "b.csv");
    assert_eq!(
        place.error(),
        "\
environment variable ERGON_ORDERS_PATH: there is no key `orders_path`
 = hint: two underscores separate keys: did you mean ERGON_ORDERS__PATH?
"
    );
    let place = Place::with(GOOD).file(".env", "ERGON_ORDERS_HEADER_ROW=1\n");
    let error = place.variable("ERGON_RUNNER_HEALTH", "127.0.0.1:1").error();
    assert_eq!(error.matches("did you mean").count(), 2, "{error}");
    assert!(
        error.contains("ERGON_ORDERS__HEADER_ROW?") && error.contains("ERGON_RUNNER__HEALTH?"),
        "{error}"
    );
}

#[test]
fn a_syntax_error_is_shown_in_its_line() {
    let error = Place::with("[orders]\npath = orders.csv\n").error();
    assert_eq!(
        error,
        "\
ergon.toml:2:8: not valid TOML: string values must be quoted, expected literal string
  |
2 | path = ...
  |        ^
"
    );
}

#[test]
fn a_secret_is_never_shown() {
    let place = Place::with("[orders]\npath = 'a'\npassword = 'hunter2'\nheader_row = 1\n");
    let place = place.variable("ERGON_ORDERS__PASSWORD__X", "hunter3");
    let error = place.error();
    assert!(!error.contains("hunter"), "{error}");
    let error = Place::with("[orders]\npath = 'a'\npassword = 1234\n").error();
    assert_eq!(
        error,
        "\
ergon.toml:3:12: orders.password: expected text
  |
3 | password = ...
  |            ^^^
"
    );
    let error = Place::with("[orders]\npath = 'a'\npasword = 'hunter2'\n").error();
    assert!(error.contains("3 | pasword = ...\n") && error.contains("did you mean `password`?"), "{error}");
    let error = Place::with("[orders]\npath = 'a'\nheader_row = 'amqp://me:hunter2@host'\n").error();
    assert!(!error.contains("hunter"), "{error}");
}

#[test]
fn later_sources_win_and_text_becomes_what_is_asked_for() {
    let place = Place::with("rates = { eur = 1.5 }\n[orders]\npath = 'a'\nheader_row = 1\n")
        .file(".env", "ERGON_ORDERS__HEADER_ROW=2\nERGON_LIMITS__MAX_ROWS=9\nERGON_RATES__USD=2\n")
        .variable("ERGON_ORDERS__HEADER_ROW", "3")
        .variable("ergon_orders__mode", "append")
        .variable("ERGON_ORDERS__COLUMNS", "['id', \"sku\"]")
        .variable("ERGON_PORT", "tcp://10.0.0.1:80");
    let settings = place.settings();
    assert_eq!((settings.orders.header_row, settings.limits), (3, Some(Limits { max_rows: 9 })));
    assert_eq!(settings.orders.mode, Mode::ReadOnly, "only upper case names are ours");
    assert_eq!(settings.orders.columns, ["id", "sku"]);
    assert_eq!(settings.rates.into_iter().collect::<Vec<_>>(), [("eur".into(), 1.5), ("usd".into(), 2.0)]);
}

#[test]
fn a_variable_can_be_a_whole_table_and_another_a_key_in_it() {
    let place = Place::with(GOOD)
        .variable("ERGON_ORDERS", "{ path = 'b', header_row = 4, mode = { every = 7 } }")
        .variable("ERGON_ORDERS__HEADER_ROW", "5");
    let orders = place.settings().orders;
    assert_eq!((orders.header_row, orders.mode), (5, Mode::Every(7)));
}

#[test]
fn a_variable_over_a_number_is_a_number_to_a_reader_that_does_not_say() {
    #[derive(Deserialize)]
    struct Mail {
        #[serde(flatten)]
        kind: Kind,
    }
    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(tag = "kind")]
    enum Kind {
        Smtp { port: u16, user: String },
    }
    let toml = "kind = 'Smtp'\nport = 25\nuser = 'a'\n";
    let place = Place::with(toml).variable("ERGON_PORT", "587").variable("ERGON_USER", "7");
    let mail = load::<Mail>(&place.options()).unwrap_or_else(|error| panic!("{}", shown(&error)));
    assert_eq!(mail.settings.kind, Kind::Smtp { port: 587, user: "7".into() });
}

#[test]
fn relative_paths_are_relative_to_the_file_they_stand_in() {
    let place = Place::empty().file("conf/other.toml", GOOD);
    let mut options = place.options();
    options.config = Some(PathBuf::from("conf/other.toml"));
    let path = |options: &Options| load::<Settings>(options).unwrap().settings.orders.path.0;
    assert_eq!(path(&options), place.0.path().join("conf/orders.csv"));
    options.environment.push(("ERGON_ORDERS__PATH".into(), "here.csv".into()));
    assert_eq!(path(&options), Path::new("here.csv"));
}

#[test]
fn a_dash_stays_a_dash() {
    assert_eq!(Place::with("[orders]\npath = '-'\n").settings().orders.path.0, Path::new("-"));
}

#[test]
fn the_package_folder_comes_after_the_working_folder() {
    let place = Place::empty().file("package/ergon.toml", GOOD);
    let options = Options { package_folder: Some(place.0.path().join("package")), ..place.options() };
    let orders = load::<Settings>(&options).unwrap().settings.orders;
    assert_eq!(orders.path.0, place.0.path().join("package/orders.csv"));
}

#[test]
fn a_program_without_settings_refuses_every_table() {
    #[derive(Debug, Deserialize)]
    struct Nothing;
    let place = Place::with("[orders]\n");
    let error = load::<Nothing>(&place.options()).unwrap_err();
    assert_eq!(place.say(&error).lines().next().unwrap(), "ergon.toml:1:2: unknown key `orders`");
    assert!(load::<Nothing>(&Place::empty().options()).is_ok());
}

#[test]
fn of_a_long_line_the_part_around_the_place_is_shown() {
    let columns = "'c', ".repeat(60);
    let error = Place::with(&format!("[orders]\npath = 'a'\ncolumns = [{columns}7]\n")).error();
    let lines: Vec<&str> = error.lines().collect();
    assert!(lines.iter().skip(1).all(|line| line.len() <= 110), "{error}");
    let caret = lines[3].find('^').unwrap();
    assert_eq!(lines[2].as_bytes()[caret], b'7', "{error}");
}
