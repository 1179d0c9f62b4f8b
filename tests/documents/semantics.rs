//! Tests that the page on the engine's semantics names existing tests for every rule.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The rules of a page with their tests: the rows of its tables whose second column is headed `Tests`.
fn rules(page: &str) -> Vec<(&str, Vec<&str>)> {
    let mut rules = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        if line == "| Rule | Tests |" {
            inside = true;
        } else if !line.starts_with('|') {
            inside = false;
        } else if inside && line != "|---|---|" {
            let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            let [rule, tests] = cells.as_slice() else { panic!("not a rule and its tests: {line}") };
            rules.push((*rule, tests.split('`').skip(1).step_by(2).collect()));
        }
    }
    rules
}

/// The problem of a named test, if there is one.
fn problem(test: &str) -> Option<String> {
    let Some((file, name)) = test.split_once("::") else { return Some(format!("`{test}` is no test")) };
    let Ok(code) = std::fs::read_to_string(root().join(file)) else {
        return Some(format!("there is no file {file}"));
    };
    (!code.contains(&format!("fn {name}("))).then(|| format!("{file} has no test `{name}`"))
}

#[test]
fn every_rule_names_tests_that_exist() {
    let page = std::fs::read_to_string(root().join("docs/semantics.md")).unwrap();
    let rules = rules(&page);
    assert!(rules.len() > 50, "only {} rules are found", rules.len());
    let untested =
        rules.iter().filter(|(_, tests)| tests.is_empty()).map(|(rule, _)| format!("no test: {rule}"));
    let gone = rules.iter().flat_map(|(_, tests)| tests).filter_map(|test| problem(test));
    let problems: Vec<_> = untested.chain(gone).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn a_test_that_is_gone_is_seen() {
    assert_eq!(problem("tests/documents/semantics.rs::a_test_that_is_gone_is_seen"), None);
    assert_eq!(
        problem("tests/documents/semantics.rs::gone").unwrap(),
        "tests/documents/semantics.rs has no test `gone`"
    );
    assert_eq!(problem("tests/gone.rs::gone").unwrap(), "there is no file tests/gone.rs");
    let page =
        "| Rule | Tests |\n|---|---|\n| One. | `a::b`, `c::d` |\n| Two. | |\n\n| Limit | Bounds |\n| a | b |";
    assert_eq!(rules(page), [("One.", vec!["a::b", "c::d"]), ("Two.", vec![])]);
}
