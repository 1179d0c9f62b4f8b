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
