//! Tests the tables of the page: every key of the settings and of the metadata, and every default.

use std::fmt::Debug;
use std::fs;

use ergon::connector::rabbitmq::{
    Binding, DeadLetter, Declare, PublishConfig, RabbitMqConfig, Subscription, Tls,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{read, root};

fn page() -> String {
    read("docs/connectors/rabbitmq.md")
}

/// The cells of the rows below a heading, without the two lines of the table's head.
fn rows<'p>(page: &'p str, heading: &str) -> Vec<Vec<&'p str>> {
    let below = page.split_once(&format!("\n{heading}\n"));
    let (_, below) = below.unwrap_or_else(|| panic!("there is no `{heading}`"));
    let table = below.lines().skip_while(|line| !line.starts_with('|'));
    let rows = table.take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

/// The text between backticks, if the cell has no other text.
fn code(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.strip_suffix('`').filter(|code| !code.contains('`'))
}

/// A value as TOML writes it.
fn value(toml: &str) -> Value {
    let table: Map<String, Value> = toml::from_str(&format!("it = {toml}")).unwrap();
    table["it"].clone()
}

fn parsed<T: DeserializeOwned>(value: &Value) -> Result<T, serde_json::Error> {
    serde_json::from_value(value.clone())
}

/// The keys of a struct, from serde's error for an unknown key.
fn fields<T: DeserializeOwned + Debug>(required: &Value) -> Vec<String> {
    let mut unknown = required.clone();
    unknown["no such key"] = json!(0);
    let error = parsed::<T>(&unknown).unwrap_err().to_string();
    let (_, expected) = error.split_once("expected ").unwrap();
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Compares one table with one struct: the keys are the same, and a default in code is the key's value.
fn agrees<T: DeserializeOwned + Debug>(heading: &str, required: &Value) {
    let page = page();
    let rows = rows(&page, heading);
    let keys: Vec<_> = rows.iter().map(|row| code(row[0]).unwrap()).collect();
    assert_eq!(keys, fields::<T>(required), "{heading}");
    let minimal = format!("{:?}", parsed::<T>(required).unwrap());
    for (key, row) in keys.iter().zip(&rows) {
        assert_eq!(row.len(), 4, "{heading}: {row:?}");
        if row[2] == "required" {
            let mut without = required.clone();
            without.as_object_mut().unwrap().remove(*key);
            assert!(parsed::<T>(&without).is_err(), "{heading}: `{key}` is required");
        } else if let Some(default) = code(row[2]) {
            let mut explicit = required.clone();
            explicit[*key] = value(default);
            let explicit = format!("{:?}", parsed::<T>(&explicit).unwrap());
            assert_eq!(explicit, minimal, "{heading}: `{key}` is {default} by default");
        } else {
            assert!(minimal.contains(&format!("{key}: None")), "{heading}: `{key}` has a value: {minimal}");
        }
    }
}

#[test]
fn every_setting_is_in_the_guide_with_its_default() {
    let none = json!({});
    agrees::<RabbitMqConfig>("### RabbitMqConfig", &none);
    agrees::<Subscription>("### Subscription", &json!({"queue": "q"}));
    agrees::<Declare>("### Declare", &none);
    agrees::<DeadLetter>("### DeadLetter", &none);
    agrees::<Binding>("### Binding", &json!({"exchange": "e"}));
    agrees::<PublishConfig>("### Publish", &none);
    agrees::<Tls>("### Tls", &none);
}

#[test]
fn what_code_makes_is_what_settings_make() {
    let by_settings = parsed::<RabbitMqConfig>(&json!({})).unwrap();
    assert_eq!(format!("{:?}", RabbitMqConfig::default()), format!("{by_settings:?}"));
}

/// The texts of the constants of `connector::rabbitmq::key`.
fn constants() -> Vec<String> {
    let source = read("ergon/src/connector/rabbitmq/mod.rs");
    let lines = source.lines().filter(|line| line.trim_start().starts_with("pub const "));
    lines.map(|line| line.split('"').nth(1).unwrap().to_owned()).collect()
}

#[test]
fn every_key_of_the_metadata_is_in_the_guide() {
    let page = page();
    let keys: Vec<_> = rows(&page, "### Metadata").iter().map(|row| code(row[0]).unwrap()).collect();
    assert_eq!(keys, constants());
}

/// The blocks of a page in a language.
fn blocks<'p>(page: &'p str, language: &str) -> Vec<&'p str> {
    let fence = format!("```{language}\n");
    let after = page.split(fence.as_str()).skip(1);
    after.map(|text| text.split("```").next().unwrap()).collect()
}

#[test]
fn every_settings_file_in_the_guide_can_be_read() {
    let page = page();
    let files = blocks(&page, "toml");
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        let tables: Map<String, Value> = toml::from_str(file).unwrap();
        for (name, table) in &tables {
            parsed::<RabbitMqConfig>(table).unwrap_or_else(|error| panic!("[{name}]: {error}\n{file}"));
        }
    }
}

#[test]
fn links_lead_to_files() {
    let page = page();
    let targets = page.split("](").skip(1).map(|text| text.split(')').next().unwrap());
    let files: Vec<_> = targets.filter(|target| !target.starts_with('#')).collect();
    assert!(!files.is_empty());
    for file in files {
        assert!(fs::exists(root().join("docs/connectors").join(file)).unwrap(), "{file}");
    }
}
