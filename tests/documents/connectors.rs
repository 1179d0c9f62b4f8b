//! Tests that the pages of the connectors have one shape, and that every list of connectors names the connectors that
//! exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use toml::Table;

/// The headings of every connector's page, in this order.
const HEADINGS: [&str; 7] = [
    "A first example",
    "Settings",
    "The source",
    "The sink",
    "Guarantees",
    "Dead letters",
    "When something fails",
];

/// The page about the reader's own connectors.
const WRITING: &str = "writing.md";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The names of the entries of a folder, sorted.
fn names(folder: &str) -> BTreeSet<String> {
    let entries = root().join(folder).read_dir().unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// A connector of the crate, or a row of a table that names one.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Listed {
    /// The cargo feature; none for a connector that needs none.
    feature: Option<String>,
    source: bool,
    sink: bool,
}

/// The modules of the crate that are connectors: those with a config.
fn modules() -> Vec<String> {
    let folder = root().join("ergon/src/connector");
    names("ergon/src/connector")
        .into_iter()
        .filter(|name| folder.join(name).join("config.rs").exists())
        .collect()
}

/// The connectors of the crate: each folder with a config, by the files in it.
fn connectors() -> BTreeSet<Listed> {
    let manifest: Table = read("ergon/Cargo.toml").parse().unwrap();
    let features = manifest["features"].as_table().unwrap();
    let folder = root().join("ergon/src/connector");
    let listed = |name: String| {
        let has = |file: &str| folder.join(&name).join(file).exists();
        let (source, sink) = (has("source.rs"), has("sink.rs"));
        Listed { feature: Some(name).filter(|name| features.contains_key(name)), source, sink }
    };
    modules().into_iter().map(listed).collect()
}

/// The rows of the table of connectors in a page: the one with columns for the feature, the source and the sink.
fn rows(page: &str) -> BTreeSet<Listed> {
    let cells = |line: &str| -> Vec<String> {
        line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let is_head = |line: &&str| {
        let head = cells(line);
        ["feature", "source", "sink"].iter().all(|column| head.iter().any(|cell| cell == column))
    };
    let mut lines = page.lines().skip_while(|line| !is_head(line));
    let head = cells(lines.next().expect("a table of connectors"));
    let column = |name: &str| head.iter().position(|cell| cell == name).unwrap();
    let (feature, source, sink) = (column("feature"), column("source"), column("sink"));
    let listed = |line: &str| {
        let row = cells(line);
        Listed {
            feature: row[feature].split('`').nth(1).map(str::to_owned),
            source: row[source] == "yes",
            sink: row[sink] == "yes",
        }
    };
    lines.skip(1).take_while(|line| line.starts_with('|')).map(listed).collect()
}

#[test]
fn every_list_of_connectors_names_those_that_exist() {
    let connectors = connectors();
    assert!(connectors.len() >= 5, "{connectors:?}");
    for page in ["README.md", "docs/connectors.md"] {
        assert_eq!(rows(&read(page)), connectors, "{page}");
    }
    let crate_page = read("ergon/src/lib.rs");
    let in_crate = crate_page.lines().filter_map(|line| line.strip_prefix("//! | `")?.split('`').next());
    let in_crate: BTreeSet<_> = in_crate.collect();
    let wanted: BTreeSet<_> =
        connectors.iter().filter_map(|connector| connector.feature.as_deref()).collect();
    assert!(wanted.is_subset(&in_crate), "ergon/src/lib.rs: {wanted:?} {in_crate:?}");
}

#[test]
fn every_connector_has_a_page_and_every_page_the_same_headings() {
    let pages: BTreeSet<_> = names("docs/connectors").into_iter().filter(|page| page != WRITING).collect();
    let wanted: BTreeSet<_> = modules().into_iter().map(|name| format!("{name}.md")).collect();
    assert!(wanted.is_subset(&pages), "{wanted:?} {pages:?}");
    let overview = read("docs/connectors.md");
    for page in pages {
        let text = read(&format!("docs/connectors/{page}"));
        let headings: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(headings, HEADINGS, "{page}");
        assert!(
            overview.contains(&format!("](connectors/{page})")),
            "docs/connectors.md has no link to {page}"
        );
    }
}

#[test]
fn a_row_that_is_missing_is_seen() {
    let page =
        "| feature | sink | source |\n|---|---|---|\n| `csv` | yes | no |\n| always there | no | yes |\n\nx";
    let listed =
        |feature: Option<&str>, source, sink| Listed { feature: feature.map(str::to_owned), source, sink };
    assert_eq!(rows(page), [listed(None, true, false), listed(Some("csv"), false, true)].into());
}
