//! Tests that the glossary explains every term of the architecture, and that the architecture names only files that
//! exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

/// Returns every second piece between two marks: the text that the marks enclose.
fn enclosed<'p>(page: &'p str, mark: &'p str) -> impl Iterator<Item = &'p str> {
    page.split(mark).skip(1).step_by(2)
}

/// Returns the entries of a glossary: its headings of the second level, in lower case.
fn entries(glossary: &str) -> Vec<String> {
    glossary.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_lowercase).collect()
}

/// Returns the bold terms of a page that a glossary has no entry for.
fn unexplained(page: &str, glossary: &str) -> BTreeSet<String> {
    let entries = entries(glossary);
    enclosed(page, "**").map(str::to_lowercase).filter(|term| !entries.contains(term)).collect()
}

/// Returns the paths of all files and folders below a folder; a folder's path ends with a slash.
fn paths(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.push(format!("{}/", path.display()));
            found.extend(paths(&path));
        } else {
            found.push(path.display().to_string());
        }
    }
    found
}

/// Returns the files and folders that a page names in code and that are not among the paths.
fn missing<'p>(page: &'p str, paths: &[String]) -> BTreeSet<&'p str> {
    let is_path = |code: &&str| {
        Path::new(code).extension().is_some_and(|extension| extension == "rs") || code.ends_with('/')
    };
    let named = page.lines().filter(|line| !line.starts_with("```")).flat_map(|line| enclosed(line, "`"));
    let is_missing = |name: &&str| !paths.iter().any(|path| path.ends_with(&format!("/{name}")));
    named.filter(is_path).filter(is_missing).collect()
}

#[test]
fn every_bold_term_of_the_architecture_has_an_entry_in_the_glossary() {
    let (architecture, glossary) = (page("ARCHITECTURE.md"), page("docs/glossary.md"));
    let count = enclosed(&architecture, "**").count();
    assert!(count > 20, "only {count} terms are found");
    assert_eq!(unexplained(&architecture, &glossary), BTreeSet::new());
}

#[test]
fn the_glossary_is_in_alphabetical_order_and_has_each_entry_once() {
    let entries = entries(&page("docs/glossary.md"));
    assert!(entries.len() > 50, "only {} entries are found", entries.len());
    assert!(entries.is_sorted_by(|one, next| one < next), "{entries:?}");
}

#[test]
fn every_file_that_the_architecture_names_exists() {
    let folders = ["ergon", "ergon-macros", "ergon-schema"].map(|crate_| paths(&root().join(crate_)));
    assert_eq!(missing(&page("ARCHITECTURE.md"), &folders.concat()), BTreeSet::new());
}

#[test]
fn a_term_without_an_entry_and_a_file_that_is_gone_are_seen() {
    let glossary = "# Glossary\n\n## Lane\n\nA loop.\n";
    assert_eq!(unexplained("A **Lane** has a **gate**.", glossary), BTreeSet::from(["gate".to_owned()]));
    let paths = ["/ergon/src/lane.rs".to_owned(), "/ergon/src/slots/".to_owned()];
    assert_eq!(missing("`lane.rs`, `slots/`, `Lane::new`, `gone.rs`", &paths), BTreeSet::from(["gone.rs"]));
}
