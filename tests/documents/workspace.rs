//! Tests the workspace: its tests are built with every feature, and each feature is built once.

use std::collections::BTreeSet;
use std::path::Path;

use toml::Table;

fn manifest(package: &str) -> Table {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(package);
    std::fs::read_to_string(folder.join("Cargo.toml")).unwrap().parse().unwrap()
}

#[test]
fn the_tests_ask_for_every_feature() {
    let ergon = manifest("ergon");
    let mut all: BTreeSet<_> = ergon["features"].as_table().unwrap().keys().map(String::as_str).collect();
    all.remove("default");
    let tests = manifest("tests");
    let asked = tests["dependencies"]["ergon"]["features"].as_array().unwrap();
    let asked: BTreeSet<_> = asked.iter().filter_map(|feature| feature.as_str()).collect();
    assert_eq!(asked, all, "`cargo test --workspace` would leave out the rest");
}

#[test]
fn the_cases_are_compiled_with_the_default_features() {
    let features = |package| manifest(package)["features"]["default"].clone();
    assert_eq!(
        features("ui-tests/plain"),
        features("ergon"),
        "else the words are not those that a user sees"
    );
}
