//! Compiles every case, and counts the errors of those that must fail.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// The files of every macro's cases of one kind, in order.
fn cases(kind: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for of_macro in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("cases")).unwrap() {
        let Ok(folder) = fs::read_dir(of_macro.unwrap().path().join(kind)) else { continue };
        files.extend(
            folder
                .map(|file| file.unwrap().path())
                .filter(|path| path.extension().is_some_and(|e| e == "rs")),
        );
    }
    files.sort();
    files
}

/// The N of the case's first line, `// errors: N`.
fn expected(case: &Path) -> usize {
    let text = fs::read_to_string(case).unwrap();
    let first = text.lines().next().unwrap_or_default();
    let count = first.strip_prefix("// errors: ").and_then(|count| count.parse().ok());
    count.unwrap_or_else(|| panic!("{}: the first line must be `// errors: N`", case.display()))
}

fn shown(case: &Path) -> usize {
    let file = case.with_extension("stderr");
    let text = fs::read_to_string(&file).unwrap_or_else(|_| panic!("{} is missing", file.display()));
    text.lines().filter(|line| line.starts_with("error")).count()
}

#[test]
fn every_case_compiles_or_fails_in_the_words_it_should() {
    let ui = trybuild::TestCases::new();
    ui.pass("cases/*/pass/*.rs");
    ui.compile_fail("cases/*/fail/*.rs");
}

#[test]
fn every_failing_case_shows_as_many_errors_as_mistakes() {
    let cases = cases("fail");
    assert!(cases.len() >= 90, "only {} failing cases were found", cases.len());
    let wrong: Vec<_> = cases
        .iter()
        .filter(|case| expected(case) != shown(case))
        .map(|case| format!("{}: {} errors instead of {}", case.display(), shown(case), expected(case)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The guide's mistakes: the case each is taken from, and the lines it shows.
fn quoted() -> Vec<(String, Vec<String>)> {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/language.md");
    let guide = fs::read_to_string(guide).unwrap();
    let quotes = guide.split("<!-- ").skip(1).map(|quote| {
        let (case, rest) = quote.split_once(" -->\n```text\n").unwrap();
        let (shown, _) = rest.split_once("\n```").unwrap();
        (case.to_owned(), shown.lines().map(str::to_owned).collect())
    });
    quotes.collect()
}

#[test]
fn the_guide_shows_the_errors_as_they_are() {
    let quotes = quoted();
    assert_eq!(quotes.len(), 10);
    for (case, shown) in quotes {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases").join(&case).with_extension("stderr");
        let stderr = fs::read_to_string(file).unwrap();
        let mut lines = stderr.lines();
        for line in shown {
            assert!(lines.any(|real| real.trim_end() == line), "{case} does not show: {line}");
        }
    }
}
