//! Tests every policy key of the schema in each place that reads or prints it.

use std::ffi::OsString;

use ergon_schema::sample::{Sample, samples};
use ergon_schema::{CONSUMER, EMPTY_QUEUE, Key, Kind, PRODUCER, Policy, RETRY};
use futures_util::{Stream, stream};
use serde_json::Value;

use super::args::{self, Command};
use super::policies::{toml, written};
use super::project::Project;
use super::tests::{PACKAGE, Ran, ran};
use crate::connector::memory::MemoryConfig;
use crate::policy::{ConsumerPolicy, EmptyQueuePolicy, Flags, Policies, ProducerPolicy, RetryPolicy, Role};
use crate::runner::fake::{fake, price_orders};
use crate::settings::{self, Options};
use crate::task::{Consumer, Producer, Task, TaskConfig};
use crate::transaction::{Result, Transaction};

/// Writes a task whose attribute gives each key the value of its sample.
macro_rules! every_key {
    ({ $($groups:tt)* } $of:ident $($rows:tt)*) => { every_key! { @ { $($groups)* } [] $of $($rows)* } };
    (@ $groups:tt [$($done:tt)*] $of:ident
        $tag:ident $key:ident: ($($kind:tt)*) = $default:expr => $words:tt; $($rest:tt)*) => {
        every_key! { @value $($kind)*; $groups [$($done)*] $key $of $($rest)* }
    };
    (@value number from $least:literal to $most:literal; $($rest:tt)*) => { every_key! { @is 0.5; $($rest)* } };
    (@value number at least $least:literal; $($rest:tt)*) => { every_key! { @is 1.5; $($rest)* } };
    (@value flag; $($rest:tt)*) => { every_key! { @is true; $($rest)* } };
    (@value word Mode; $($rest:tt)*) => { every_key! { @is "batch"; $($rest)* } };
    (@value word OnHandlerFailure; $($rest:tt)*) => { every_key! { @is "reject"; $($rest)* } };
    (@value slot Source; $($rest:tt)*) => { every_key! { @is other; $($rest)* } };
    (@value slot Sink; $($rest:tt)*) => { every_key! { @is dlq; $($rest)* } };
    (@value $(maybe)? count $($rules:ident)* $(, $($bound:ident)+ $limit:literal)*; $($rest:tt)*) => {
        every_key! { @is 7; $($rest)* }
    };
    (@value step; { $retry:tt $empty:tt } [$($done:tt)*] $key:ident $($rest:tt)*) => {
        every_key! { @ { $retry $empty } [$($done)* $key $retry,] $($rest)* }
    };
    (@value group EmptyQueuePolicy $layer:ident $keys:ident;
        { $retry:tt $empty:tt } [$($done:tt)*] $key:ident $($rest:tt)*) => {
        every_key! { @ { $retry $empty } [$($done)* $key $empty,] $($rest)* }
    };
    // The remaining kinds are times.
    (@value $first:ident $($kind:ident)* $(, $rule:ident $(: $why:literal)? $($more:ident)*)*; $($rest:tt)*) => {
        every_key! { @is "3s"; $($rest)* }
    };
    (@is $value:tt; $groups:tt [$($done:tt)*] $key:ident $($rest:tt)*) => {
        every_key! { @ $groups [$($done)* $key = $value,] $($rest)* }
    };
    (@ {} [$($done:tt)*] retry) => { ergon_schema::keys! { empty_queue => every_key { ($($done)*) } } };
    (@ { $retry:tt } [$($done:tt)*] empty_queue) => {
        ergon_schema::keys! { consumer => every_key { $retry ($($done)*) } }
        ergon_schema::keys! { producer => every_key { $retry ($($done)*) } }
    };
    (@ $groups:tt [$($done:tt)*] consumer) => {
        #[ergon::task(connectors(input, other: Source, dlq), consumer($($done)*))]
        struct EveryConsumerKey;
    };
    (@ $groups:tt [$($done:tt)*] producer) => {
        #[ergon::task(connectors(dlq), producer($($done)*))]
        struct EveryProducerKey;
    };
}

ergon_schema::keys! { retry => every_key {} }

impl Consumer for EveryConsumerKey {
    type Payload = String;
    type Output = ();

    async fn process_transaction(&self, _: &Transaction<String>) -> Result<()> {
        Ok(())
    }
}

impl Producer for EveryProducerKey {
    type Payload = String;
    type Output = ();

    fn transactions(&self) -> impl Stream<Item = Result<Transaction<String>>> + Send {
        stream::empty()
    }

    async fn prepare_transaction(&self, _: &Transaction<String>) -> Result<()> {
        Ok(())
    }
}

/// A role, its keys, and a task of it whose attribute gives no key.
struct Plain {
    role: Role,
    keys: &'static [Key],
    config: TaskConfig,
}

struct SendOrders;

impl Task for SendOrders {
    const NAME: &'static str = "send-orders";
}

fn plain() -> [Plain; 2] {
    let mut sends = fake::<SendOrders>("every-key-sent", ConsumerPolicy::DEFAULT);
    let policies = Policies { consumer: None, producer: Some(ProducerPolicy::DEFAULT) };
    sends.outline.attribute = policies.clone();
    sends.outline.policies = policies;
    let prices = price_orders("every-key", ConsumerPolicy::DEFAULT);
    [
        Plain { role: Role::Consumer, keys: CONSUMER, config: prices },
        Plain { role: Role::Producer, keys: PRODUCER, config: sends },
    ]
}

impl Plain {
    fn name(&self) -> &'static str {
        self.config.name()
    }

    /// The keys that settings can set.
    fn settable(&self) -> Vec<Sample> {
        let is_slot = |sample: &Sample| matches!(sample.key.kind, Kind::Slot(_));
        samples(self.keys).into_iter().filter(|sample| !is_slot(sample)).collect()
    }

    /// Settings that give the task these values.
    fn toml<'a>(&self, values: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
        let values = values.into_iter().map(|(path, value)| format!("{path} = {value}\n"));
        format!("[tasks.{}.{}]\n{}", self.name(), self.role.as_str(), values.collect::<String>())
    }

    /// The output of `describe` under these settings.
    fn described(&self, toml: &str) -> Value {
        described(&self.config, toml)
    }

    fn ran(&self, toml: &str, options: &[&str]) -> Ran {
        let line: Vec<&str> = ["run", self.name()].into_iter().chain(options.iter().copied()).collect();
        ran(std::slice::from_ref(&self.config), toml, &line)
    }
}

fn described(config: &TaskConfig, toml: &str) -> Value {
    let ran = ran(std::slice::from_ref(config), toml, &["describe", "--format", "json"]);
    assert_eq!(ran.code, 0, "{}", ran.talk);
    serde_json::from_str::<Value>(&ran.data).unwrap()[0].take()
}

/// Each key has the value of its sample, set by a layer.
fn assert_described(described: &Value, role: Role, samples: &[Sample], layer: &str) {
    let role = role.as_str();
    for Sample { path, value, .. } in samples {
        let set = described["layers"][format!("{role}.{path}")].as_str();
        assert!(set.is_some_and(|set| set.starts_with(layer)), "{role}.{path}: {set:?}");
        assert_eq!(described[role][path].to_string(), *value, "{role}.{path}");
    }
}

/// The value of a key in a policy, as in TOML.
fn value_of(policy: &dyn Policy, path: &str) -> Option<String> {
    written(policy).into_iter().find(|written| written.key == path).map(|written| written.value)
}

#[test]
fn the_attribute_sets_every_key() {
    let memory = || MemoryConfig::new("every-key-attribute");
    let consumer = EveryConsumerKey::config(EveryConsumerKeyWiring {
        input: memory(),
        other: memory(),
        dlq: MemoryConfig::new("every-key-letters"),
    });
    let producer = EveryProducerKey::config(EveryProducerKeyWiring { dlq: memory() });
    for (role, keys, config) in [(Role::Consumer, CONSUMER, consumer), (Role::Producer, PRODUCER, producer)] {
        let policy = config.outline.policies.of(role).unwrap();
        for Sample { path, value, .. } in samples(keys) {
            assert_eq!(value_of(policy, &path), Some(value), "{path}");
        }
        assert_described(&described(&config, ""), role, &samples(keys), "#[ergon::task]");
    }
}

#[test]
fn the_settings_set_every_key_and_describe_shows_it() {
    for plain in plain() {
        let samples = plain.settable();
        let default = plain.config.outline.policies.of(plain.role).unwrap();
        for Sample { path, value, .. } in &samples {
            assert_ne!(value_of(default, path).as_ref(), Some(value), "{path}: no sample is the default");
        }
        let toml = plain.toml(samples.iter().map(|sample| (&*sample.path, &*sample.value)));
        assert_described(&plain.described(&toml), plain.role, &samples, "ergon.toml:");
    }
}

#[test]
fn a_bad_value_of_any_key_is_blamed_on_the_settings() {
    for plain in plain() {
        for Sample { path, refused, .. } in plain.settable() {
            for (value, rule) in refused {
                let ran = plain.ran(&plain.toml([(&*path, value)]), &[]);
                let column = path.len() + 4;
                let (name, role) = (plain.name(), plain.role.as_str());
                let said =
                    format!("error: ergon.toml:2:{column}: tasks.{name}.{role}.{path}: {rule}, found ");
                assert!(ran.code != 0 && ran.talk.starts_with(&said), "{said}\n{}", ran.talk);
            }
        }
    }
}

#[test]
fn the_settings_set_no_slot() {
    for plain in plain() {
        for Sample { path, value, .. } in samples(plain.keys) {
            if !plain.settable().iter().any(|sample| sample.path == path) {
                let ran = plain.ran(&plain.toml([(&*path, &*value)]), &[]);
                assert!(ran.talk.contains(&format!("unknown key `{path}`")), "{path}: {}", ran.talk);
            }
        }
    }
}

/// The keys with an option, and the option with a value for it, if it takes one.
fn flagged(keys: &'static [Key]) -> impl Iterator<Item = (&'static Key, Vec<String>)> {
    keys.iter().filter_map(|key| {
        let option = key.option?;
        let value = samples(std::slice::from_ref(key)).remove(0).value.replace('"', "");
        let name = format!("--{}", option.name);
        Some((key, if option.sets.is_some() { vec![name] } else { vec![name, value] }))
    })
}

#[derive(serde::Deserialize)]
struct Empty {}

/// The plain tasks under settings and variables.
fn project(toml: &str, environment: Vec<(OsString, OsString)>) -> Project {
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("ergon.toml"), toml).unwrap();
    let options = Options { working_folder: folder.path().to_path_buf(), environment, ..Options::default() };
    let framework = settings::load::<Empty>(&options).unwrap().framework;
    Project::new(framework, plain().map(|plain| plain.config).to_vec()).unwrap()
}

/// The policies of a task under a command line.
fn under(plain: &Plain, line: &[String]) -> Policies {
    let words = ["shop", "run", plain.name()].map(OsString::from);
    let words = words.into_iter().chain(line.iter().map(OsString::from));
    let Command::Run(run) = args::parse(&PACKAGE, words).unwrap().command else { panic!("no `run`") };
    // The change of `--once`.
    let project = project("[tasks.price-orders.consumer]\nstreaming = true\n", Vec::new());
    project.plan(&plain.config, &run.policies.0).policies
}

#[test]
fn a_bad_value_of_any_key_is_blamed_on_its_variable() {
    for plain in plain() {
        for Sample { path, refused, .. } in plain.settable() {
            for (value, rule) in refused {
                let (name, role) = (plain.name(), plain.role.as_str());
                let keys = format!("{name}.{role}.{path}").replace('-', "_").replace('.', "__");
                let variable = format!("ERGON_TASKS__{}", keys.to_uppercase());
                let environment = vec![(variable.clone().into(), value.trim_matches('"').into())];
                let plan = project("", environment).plan(&plain.config, &Flags::default());
                let said = format!("environment variable {variable}: tasks.{name}.{role}.{path}: {rule}");
                let wrong = &plan.wrong[0];
                let found =
                    std::error::Error::source(wrong).map_or_else(|| wrong.to_string(), ToString::to_string);
                assert!(found.starts_with(&said), "{said}\n{found}");
            }
        }
    }
}

#[test]
fn every_option_of_run_sets_its_key() {
    for name in ["concurrency", "batch_size", "streaming", "limit", "timeout"] {
        assert!(Key::find(CONSUMER, name).is_some_and(|key| key.option.is_some()), "{name}");
    }
    for plain in plain() {
        for (key, line) in flagged(plain.keys) {
            let policies = under(&plain, &line);
            let found = value_of(policies.of(plain.role).unwrap(), key.name);
            let sample = samples(std::slice::from_ref(key)).remove(0).value;
            let expected = key.option.and_then(|option| option.sets).map_or(sample, |sets| sets.to_string());
            assert_eq!(found, Some(expected), "{line:?}");
        }
    }
}

#[test]
fn a_bad_value_of_any_option_is_blamed_on_the_option() {
    for plain in plain() {
        for (key, line) in flagged(plain.keys) {
            for (value, rule) in samples(std::slice::from_ref(key)).remove(0).refused {
                let value = value.replace('"', "");
                // The settings give a value too. The option wins, and the error names it.
                let sample = samples(std::slice::from_ref(key)).remove(0).value;
                let ran = plain.ran(&plain.toml([(key.name, &*sample)]), &[&line[0], &value]);
                let (name, role, key) = (plain.name(), plain.role.as_str(), key.name);
                let said = format!("error: {} {value}: tasks.{name}.{role}.{key}: {rule}\n", line[0]);
                assert!(ran.code != 0 && ran.talk.starts_with(&said), "{said}\n{}", ran.talk);
            }
        }
    }
}

#[test]
fn an_option_for_the_consumer_of_a_hybrid_is_not_blamed_for_its_producer() {
    let producer = Some(ProducerPolicy { concurrency: 0, ..ProducerPolicy::DEFAULT });
    let hybrid = Policies { consumer: Some(ConsumerPolicy::DEFAULT), producer };
    let [mut consumer, _] = plain();
    consumer.config.outline.policies = hybrid;
    let ran = consumer.ran("", &["--concurrency", "4"]);
    let said = "error: tasks.price-orders.producer.concurrency: must be at least 1\n";
    assert!(ran.talk.starts_with(said), "{}", ran.talk);
}

#[test]
fn the_error_of_an_impossible_constant_names_every_key_with_a_rule() {
    let note = include_str!("../__private/mod.rs").split("this retry policy is not valid").nth(1).unwrap();
    let note = note.lines().find(|line| line.contains("note = ")).unwrap();
    let has_rule = |key: &Key| matches!(key.kind, Kind::Time { not_below: Some(_), .. });
    for Sample { key, refused, .. } in samples(RETRY) {
        assert!(
            (refused.is_empty() && !has_rule(key)) || note.contains(&format!("`{}`", key.name)),
            "{note}"
        );
    }
}

/// The text of the guide for the values of a key.
fn takes(kind: Kind) -> String {
    match kind {
        Kind::Count { least, most, .. } => match (least, most.filter(|most| most.value < u32::MAX.into())) {
            (Some(least), Some(most)) => format!("count from {} to {}", least.value, most.value),
            (Some(least), None) => format!("count ≥ {}", least.value),
            _ => "count".to_owned(),
        },
        Kind::Number { least, most, .. } if most.is_finite() => format!("number from {least} to {most}"),
        Kind::Number { least, .. } => format!("number ≥ {least}"),
        Kind::Flag => "flag".to_owned(),
        Kind::Time { not_below: Some(other), .. } => format!("time ≥ `{}`", other.value),
        Kind::Time { positive: Some(_), .. } | Kind::Limit { or_none: false } => "time > 0".to_owned(),
        Kind::Time { .. } => "time".to_owned(),
        Kind::Limit { or_none: true } => "time > 0, or `\"none\"`".to_owned(),
        Kind::Word { words, .. } => {
            words.iter().map(|word| format!("`\"{}\"`", word.word)).collect::<Vec<_>>().join(", ")
        }
        Kind::Slot(_) => "connector".to_owned(),
        Kind::Step => "step".to_owned(),
        Kind::Group { .. } => "keys below".to_owned(),
    }
}

/// The rows of the guide for the keys of a policy.
fn rows(policy: &dyn Policy) -> String {
    let values = policy.values();
    let row = |(key, value): (&Key, _)| {
        let default = key.default.map(str::to_owned).or_else(|| Some(format!("`{}`", toml(key, value)?)));
        let meaning = key.meaning.trim_end_matches('.');
        let (first, rest) = meaning.split_at(1);
        let (first, default) = (first.to_lowercase(), default.unwrap_or_default());
        format!("| `{}` | {} | {default} | {first}{rest} |\n", key.name, takes(key.kind))
    };
    policy.keys().iter().zip(&values).map(row).collect()
}

#[test]
fn the_guide_has_the_row_of_every_key() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/language.md");
    let guide = std::fs::read_to_string(path).unwrap();
    let policies: [(&str, &'static [Key], &dyn Policy); 4] = [
        ("### Keys of `consumer(…)`", CONSUMER, &ConsumerPolicy::DEFAULT),
        ("### Keys of `producer(…)`", PRODUCER, &ProducerPolicy::DEFAULT),
        ("### Keys of a step", RETRY, &RetryPolicy::DEFAULT),
        ("### Keys of `empty_queue(…)`", EMPTY_QUEUE, &EmptyQueuePolicy::DEFAULT),
    ];
    let mut right = guide.clone();
    for (heading, keys, policy) in policies {
        assert_eq!(keys.len(), policy.keys().len());
        let (before, section) = right.split_once(heading).unwrap();
        let (text, table) = section.split_once("|---|---|---|---|\n").unwrap();
        let (_, rest) = table.split_once("\n\n").unwrap();
        right = format!("{before}{heading}{text}|---|---|---|---|\n{}\n{rest}", rows(policy));
    }
    if right != guide {
        std::fs::write(path, right).unwrap();
        panic!("the rows of docs/language.md differed from the schema, and have been written again");
    }
}
