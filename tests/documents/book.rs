//! Tests the book in `docs/`: it names every page, its links have targets, its settings can be read, and its Rust
//! compiles.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Debug;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ergon::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The code of `docs/testing.md`, as `build.rs` extracts it from the page.
mod testing_guide {
    include!(concat!(env!("OUT_DIR"), "/testing_guide.rs"));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All files of a folder and of those below it whose name ends so, sorted.
fn files_of(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_of(&path, ending));
        } else if path.extension().is_some_and(|extension| extension == ending) {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// All pages of a folder and of those below it, sorted.
fn pages_of(folder: &Path) -> Vec<PathBuf> {
    files_of(folder, "md")
}

/// The pages of the book, and the pages at the root that link to the book.
fn pages() -> Vec<PathBuf> {
    let mut pages = pages_of(&root().join("docs"));
    assert!(pages.len() > 10, "only {} pages are found", pages.len());
    pages.extend(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(|page| root().join(page)));
    pages
}

fn shown(page: &Path) -> String {
    page.strip_prefix(root()).unwrap_or(page).display().to_string()
}

/// A block of code: the text after its fence, the number of its first line, and its text.
struct Block {
    info: String,
    line: usize,
    text: String,
}

/// Divides a page into its prose and its blocks.
fn parted(page: &str) -> (String, Vec<Block>) {
    let (mut prose, mut blocks) = (String::new(), Vec::new());
    let mut open: Option<Block> = None;
    for (index, line) in page.lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```");
        match (&mut open, fence) {
            (None, Some(info)) => {
                open = Some(Block { info: info.to_owned(), line: index + 2, text: String::new() });
            }
            (None, None) => prose.extend([line, "\n"]),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.text.extend([line, "\n"]),
        }
    }
    assert!(open.is_none(), "a block is never closed");
    (prose, blocks)
}

fn read(page: &Path) -> (String, Vec<Block>) {
    parted(&fs::read_to_string(page).unwrap())
}

/// The targets of the links in a text.
fn links(prose: &str) -> impl Iterator<Item = &str> {
    prose.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0))
}

/// The anchors of a page's headings, as the viewer of the page makes them.
fn anchors(prose: &str) -> Vec<String> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let headings = prose
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')));
    let anchor = |heading: &str| {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let slug: String =
            kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect();
        let count = seen.entry(slug.clone()).or_default();
        *count += 1;
        if *count == 1 { slug } else { format!("{slug}-{}", *count - 1) }
    };
    headings.map(anchor).collect()
}

/// The problem of a link in a page, if there is one.
fn broken(page: &Path, link: &str) -> Option<String> {
    if link.contains("://") {
        return None;
    }
    let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
    let target = if file.is_empty() { page.to_owned() } else { page.parent().unwrap().join(file) };
    if !target.exists() {
        return Some(format!("{}: there is no {file}", shown(page)));
    }
    let anchor = anchor?;
    let found = anchors(&read(&target).0);
    (!found.iter().any(|one| one == anchor))
        .then(|| format!("{}: {} has no heading #{anchor}, only {found:?}", shown(page), shown(&target)))
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut problems = Vec::new();
    for page in pages() {
        let (prose, _) = read(&page);
        problems.extend(links(&prose).filter_map(|link| broken(&page, link)));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn the_table_of_contents_names_every_page() {
    let contents = root().join("docs/README.md");
    let (prose, _) = read(&contents);
    let named: Vec<_> = links(&prose).map(|link| contents.parent().unwrap().join(link)).collect();
    let forgotten: Vec<_> = pages_of(&root().join("docs"))
        .into_iter()
        .filter(|page| *page != contents && !named.contains(page))
        .collect();
    assert!(forgotten.is_empty(), "{forgotten:?}");
}

#[test]
fn all_settings_can_be_read() {
    let mut problems = Vec::new();
    let mut count = 0;
    for page in pages() {
        for block in read(&page).1.iter().filter(|block| block.info == "toml") {
            count += 1;
            if let Err(error) = toml::from_str::<toml::Table>(&block.text) {
                problems.push(format!("{}:{}: {error}", shown(&page), block.line));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(count > 10, "only {count} blocks are found");
}

/// The cells of the first table of settings below a heading, without the two lines of its head.
fn settings<'p>(page: &'p str, heading: &str) -> Vec<Vec<&'p str>> {
    let (_, below) = page.split_once(&format!("\n{heading}\n")).unwrap();
    let table = below.lines().skip_while(|line| !line.starts_with("| key |"));
    let rows = table.take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

/// Compares the table below a heading of a page with a config: the keys are the same, and a default in code is the
/// key's default.
fn agrees<C: DeserializeOwned + Debug>((page, heading): (&str, &str), required: &Value) {
    let page = fs::read_to_string(root().join("docs").join(page)).unwrap();
    let parsed = |value: &Value| serde_json::from_value::<C>(value.clone());
    let with = |key: &str, value: Value| {
        let mut config = required.clone();
        config[key] = value;
        config
    };
    let minimal = format!("{:?}", parsed(required).unwrap());
    let unknown = parsed(&with("no such key", json!(0))).unwrap_err().to_string();
    let known: Vec<_> = unknown.split('`').skip(3).step_by(2).collect();
    let rows = settings(&page, heading);
    let keys: Vec<_> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    assert_eq!(keys, known, "{heading}");
    for (key, row) in keys.iter().zip(&rows) {
        let default = row[2];
        if default == "required" {
            assert!(required.get(key).is_some(), "{heading}: `{key}` is required");
            let mut without = required.clone();
            without.as_object_mut().unwrap().remove(*key);
            assert!(parsed(&without).is_err(), "{heading}: `{key}` is required");
        } else if let Some(toml) = default.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) {
            let table: HashMap<String, Value> = toml::from_str(&format!("it = {toml}")).unwrap();
            let explicit = format!("{:?}", parsed(&with(key, table["it"].clone())).unwrap());
            assert_eq!(explicit, minimal, "{heading}: `{key}` is {toml} by default");
        } else {
            assert!(minimal.contains(&format!("{key}: None")), "{heading}: `{key}` has a value: {minimal}");
        }
    }
}

#[test]
fn every_setting_of_a_connector_stands_in_its_table_with_its_default() {
    let path = json!({"path": "a"});
    agrees::<MemoryConfig>(("connectors/memory.md", "## Settings"), &json!({"name": "a"}));
    agrees::<JsonLinesConfig>(("connectors/json_lines.md", "## Settings"), &path);
    agrees::<CsvConfig>(("connectors/csv.md", "## Settings"), &path);
    agrees::<ExcelConfig>(("connectors/excel.md", "## Settings"), &path);
    let queue = json!({"path": "a", "queue": "a"});
    agrees::<SqliteConfig>(("connectors/sqlite.md", "## Settings"), &queue);
}

/// Reads the first block of settings below a heading into a config.
fn example<C: DeserializeOwned>((page, heading): (&str, &str), table: &str) -> C {
    let page = fs::read_to_string(root().join("docs").join(page)).unwrap();
    let (_, below) = page.split_once(&format!("\n{heading}\n")).unwrap();
    let block = parted(below.split("\n## ").next().unwrap()).1.into_iter().find(|block| block.info == "toml");
    let mut tables: toml::Table = toml::from_str(&block.unwrap().text).unwrap();
    tables.remove(table).unwrap().try_into().unwrap()
}

#[test]
fn every_example_of_settings_is_read_as_it_is_meant() {
    assert_eq!(example::<MemoryConfig>(("connectors/memory.md", "## Settings"), "orders").name, "orders");
    assert!(!example::<JsonLinesConfig>(("connectors/json_lines.md", "## Settings"), "receipts").append);
    assert_eq!(example::<CsvConfig>(("connectors/csv.md", "## Settings"), "orders").delimiter, ';');
    assert_eq!(
        example::<ExcelConfig>(("connectors/excel.md", "## Settings"), "orders").filter.unwrap().equals,
        json!(false)
    );
    assert_eq!(
        example::<SqliteConfig>(("connectors/sqlite.md", "## Settings"), "orders").lease.as_secs(),
        60
    );
    assert_eq!(
        example::<RabbitMqConfig>(("connectors/rabbitmq.md", "## Settings"), "orders").queue.unwrap(),
        "orders"
    );
}

/// The output of the example for a wrong settings file or a wrong variable.
fn complaint(toml: &str, variables: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ergon.toml"), toml).unwrap();
    let mut list = Command::new(env!("CARGO_BIN_EXE_order_pipeline_example"));
    // The environment of this test is not for the example.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ERGON")) {
        list.env_remove(name);
    }
    list.arg("list").current_dir(folder.path()).envs(variables.iter().copied());
    let output = list.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn what_is_said_of_wrong_settings_is_what_the_guide_shows() {
    let right = fs::read_to_string(root().join("examples/order_pipeline/ergon.toml")).unwrap();
    let misspelt = complaint(&right.replace("\nfilter", "\nfliter"), &[]);
    let no_unit = complaint(&right, &[("ERGON_CRM__HTTP__TIMEOUT", "5")]);
    let one_underscore = complaint(&right, &[("ERGON_WORKBOOK_PATH", "orders.xlsx")]);
    let (_, blocks) = read(&root().join("docs/settings.md"));
    let shown: Vec<_> = blocks.iter().filter(|block| block.info == "text").map(|block| &block.text).collect();
    assert_eq!(shown, [&one_underscore, &misspelt, &no_unit]);
}

/// Pages whose blocks of Rust are not programs, and the test that checks them instead.
const NO_PROGRAMS: [(&str, &str); 3] = [
    ("docs/testing.md", "tests/build.rs"),
    ("docs/expansion.md", "ergon-macros/src/expand/tests.rs"),
    ("docs/getting-started.md", "tests/documents/scaffold/mod.rs"),
];

#[test]
fn every_page_with_rust_is_compiled() {
    let sources =
        ["ergon/src/lib.rs", "tests/src/lib.rs"].map(|path| fs::read_to_string(root().join(path)).unwrap());
    let mut problems = Vec::new();
    for page in pages() {
        let name = shown(&page);
        let (_, blocks) = read(&page);
        let rust = blocks.iter().filter(|block| block.info.split(',').next() == Some("rust"));
        let compiled =
            sources.iter().any(|source| source.contains(&format!("include_str!(\"../../{name}\")")));
        let held = NO_PROGRAMS.iter().find(|(page, _)| *page == name).map(|(_, by)| root().join(by));
        let named =
            held.is_some_and(|by| fs::read_to_string(by).unwrap().contains(name.rsplit('/').next().unwrap()));
        problems.extend(
            rust.filter(|_| !compiled && !named)
                .map(|block| format!("{name}:{}: nobody compiles this", block.line)),
        );
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Python's error for a text that it cannot parse.
fn unparsed(python: &str) -> Option<String> {
    let mut parser = Command::new("python3");
    parser.args(["-c", "import ast, sys; ast.parse(sys.stdin.read())"]);
    let mut parser = parser.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    parser.stdin.take().unwrap().write_all(python.as_bytes()).unwrap();
    let output = parser.wait_with_output().unwrap();
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn all_python_can_be_parsed() {
    if Command::new("python3").arg("--version").output().is_err() {
        println!("NOT TESTED: there is no python3 here");
        return;
    }
    assert!(unparsed("def f(:\n").unwrap().contains("SyntaxError"));
    let (mut count, mut problems) = (0, Vec::new());
    for page in pages() {
        for block in read(&page).1.iter().filter(|block| block.info == "python") {
            count += 1;
            let problem = unparsed(&block.text);
            problems.extend(problem.map(|problem| format!("{}:{}: {problem}", shown(&page), block.line)));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(count > 0, "no block is found");
}

/// The names in a code.
fn words(code: &str) -> impl Iterator<Item = &str> {
    let words = code.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with(|first: char| first.is_alphabetic() || first == '_'))
}

/// The code in the second column of the tables that lead from names of Python to names of Ergon.
fn names_of_ergon(page: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        inside = line == "| Python | Ergon |" || inside && line.starts_with('|');
        if inside {
            let (_, ergon) = line.trim_matches('|').split_once(" | ").unwrap_or_default();
            names.extend(ergon.split('`').skip(1).step_by(2));
        }
    }
    names
}

/// The text of the sources, without comments, tests and the templates of new projects.
fn code() -> String {
    let folders = ["ergon/src", "ergon-macros/src", "ergon-schema/src"]
        .map(|folder| files_of(&root().join(folder), "rs"));
    let mut code = String::new();
    let left_out = ["tests.rs", "fake.rs", "template"];
    for file in folders.concat() {
        if file.iter().any(|part| left_out.iter().any(|name| part == *name)) {
            continue;
        }
        let text = fs::read_to_string(file).unwrap();
        let text = text.split("#[cfg(test)]\nmod ").next().unwrap();
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        code.extend(lines.flat_map(|line| [line, "\n"]));
    }
    code
}

/// Names that are not Ergon's: the reader's own names, and the names of Rust and serde.
const FOREIGN: [&str; 7] = ["ERGON_ORDERS__HOST", "Err", "PriceOrders", "XConfig", "acme_api", "fn", "serde"];

/// The names that do not exist: names that the sources do not contain, and called names that are neither a function nor
/// a field.
fn gone<'n>(names: &[&'n str], code: &str) -> BTreeSet<&'n str> {
    let known: BTreeSet<_> = words(code).collect();
    let declared = |name: &str| {
        // The schema declares a key by its role.
        ["fn ", "pub ", "both ", "consumer ", "producer "].iter().any(|word| {
            let wanted = format!("{word}{name}");
            let mut ends = code.match_indices(&wanted).map(|(at, found)| at + found.len());
            ends.any(|end| code.as_bytes().get(end).is_some_and(|next| b"(<:".contains(next)))
        })
    };
    let unknown = names.iter().flat_map(|name| words(name)).filter(|word| !known.contains(word));
    let called = names.iter().flat_map(|name| {
        let before = name.split('(').rev().skip(1);
        before.filter_map(|before| words(before).last().filter(|word| before.ends_with(word)))
    });
    let undeclared = called.filter(|name| !declared(name));
    unknown.chain(undeclared).filter(|name| !FOREIGN.contains(name)).collect()
}

#[test]
fn every_name_that_a_name_of_python_leads_to_exists() {
    let page = fs::read_to_string(root().join("docs/migrating.md")).unwrap();
    let (names, code) = (names_of_ergon(&page), code());
    assert!(names.len() > 80, "only {} are found", names.len());
    assert_eq!(gone(&names, &code), BTreeSet::new());
    let made_up =
        "| Python | Ergon |\n|---|---|\n| `a` | `Nowhere::dispatch(known.known(x))` |\n\n| `b` | `c` |";
    let there = "pub fn dispatch(x) { let known = x; }";
    assert_eq!(gone(&names_of_ergon(made_up), there), BTreeSet::from(["Nowhere", "known"]));
}

#[test]
fn no_block_is_left_out_of_the_tests() {
    let ignored = |block: &Block| block.info.split(',').any(|word| word.trim() == "ignore");
    let left_out: Vec<_> = pages()
        .iter()
        .flat_map(|page| {
            read(page)
                .1
                .into_iter()
                .filter(ignored)
                .map(move |block| format!("{}:{}", shown(page), block.line))
        })
        .collect();
    assert!(left_out.is_empty(), "{left_out:?}");
}

#[test]
fn a_link_that_leads_nowhere_is_seen() {
    let page = root().join("docs/README.md");
    assert_eq!(broken(&page, "language.md#errors"), None);
    assert_eq!(broken(&page, "connectors/rabbitmq.md#tls-1"), None);
    assert_eq!(broken(&page, "gone.md").unwrap(), "docs/README.md: there is no gone.md");
    assert!(broken(&page, "language.md#gone").unwrap().contains("has no heading #gone"));
}

#[test]
fn prose_and_blocks_are_told_apart() {
    let (prose, blocks) = parted("a [b](c)\n```toml\n# no heading\nx = 1\n```\n# D, `e`!\n");
    assert_eq!(links(&prose).collect::<Vec<_>>(), ["c"]);
    assert_eq!(anchors(&prose), ["d-e"]);
    assert_eq!((blocks.len(), blocks[0].info.as_str(), blocks[0].line), (1, "toml", 3));
    assert_eq!(blocks[0].text, "# no heading\nx = 1\n");
}
