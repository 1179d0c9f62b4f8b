//! Compiles every case, and counts the errors of those that must fail.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

mod compiler;
mod words;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::{env, fs, thread};

use compiler::package;
use tempfile::TempDir;
use words::words;

/// The files of every macro's cases of one kind, from the folder of this package, in order.
fn cases(kind: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for of_macro in fs::read_dir(package().join("cases")).unwrap() {
        let folder = of_macro.unwrap().path().join(kind);
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        let paths = entries
            .map(|file| file.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "rs"));
        files.extend(paths.map(|path| path.strip_prefix(package()).unwrap().to_owned()));
    }
    files.sort();
    files
}

/// The N of the case's first line, `// errors: N`.
fn expected(case: &Path) -> usize {
    let text = fs::read_to_string(package().join(case)).unwrap();
    let first = text.lines().next().unwrap_or_default();
    let count = first.strip_prefix("// errors: ").and_then(|count| count.parse().ok());
    count.unwrap_or_else(|| panic!("{}: the first line must be `// errors: N`", case.display()))
}

fn shown(case: &Path) -> usize {
    let file = package().join(case).with_extension("stderr");
    let text = fs::read_to_string(&file).unwrap_or_else(|_| panic!("{} is missing", file.display()));
    text.lines().filter(|line| line.starts_with("error")).count()
}

/// Tests all cases, as many at the same time as there are processors. Returns the problems, in the order of the cases.
fn wrong(cases: &[PathBuf], try_one: impl Fn(&Path) -> Result<(), String> + Sync) -> Vec<String> {
    let left = Mutex::new(cases.iter());
    let next = || left.lock().unwrap().next();
    let some = || {
        let mut wrong = Vec::new();
        while let Some(case) = next() {
            wrong.extend(try_one(case).err().map(|what| (case, what)));
        }
        wrong
    };
    let count = thread::available_parallelism().map_or(1, usize::from);
    let mut wrong: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(some)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    wrong.sort();
    wrong.into_iter().map(|(case, what)| format!("{}: {what}", case.display())).collect()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Compiles a case and runs its program.
fn pass(case: &Path, folder: &Path) -> Result<(), String> {
    let (program, compiled) = compiler::build(case, folder);
    if !compiled.status.success() {
        return Err(format!("does not compile\n{}", stderr(&compiled)));
    }
    let run = Command::new(&program).output().unwrap();
    fs::remove_file(program).unwrap();
    if run.status.success() { Ok(()) } else { Err(format!("{}\n{}", run.status, stderr(&run))) }
}

/// Compiles a case, which must fail with the expected output next to it.
fn fail(case: &Path, folder: &Path) -> Result<(), String> {
    let compiled = compiler::check(case, folder);
    if compiled.status.success() {
        return Err(format!("compiles\n{}", stderr(&compiled)));
    }
    let file = package().join(case).with_extension("stderr");
    let expected = fs::read_to_string(&file).unwrap_or_default();
    let words = words(&stderr(&compiled), case);
    if words == expected {
        return Ok(());
    }
    if overwrites() {
        fs::write(file, words).unwrap();
        return Ok(());
    }
    Err(format!("fails in other words\n── expected\n{expected}── the compiler's\n{words}"))
}

/// Whether the output of the compiler replaces the expected output. The variable is that of `trybuild`.
fn overwrites() -> bool {
    env::var_os("TRYBUILD").is_some_and(|value| value == "overwrite")
}

#[test]
fn every_case_compiles_or_fails_in_the_words_it_should() {
    let folder = TempDir::new().unwrap();
    let mut wrong_cases = wrong(&cases("pass"), |case| pass(case, folder.path()));
    wrong_cases.extend(wrong(&cases("fail"), |case| fail(case, folder.path())));
    assert!(
        wrong_cases.is_empty(),
        "{}\n{} cases are wrong; `TRYBUILD=overwrite` writes the compiler's words over the expected ones",
        wrong_cases.join("\n"),
        wrong_cases.len()
    );
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

/// The guide's mistakes: the case of each mistake, and the lines that the guide shows.
fn quoted() -> Vec<(String, Vec<String>)> {
    let guide = package().join("../docs/language.md");
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
        let file = package().join("cases").join(&case).with_extension("stderr");
        let stderr = fs::read_to_string(file).unwrap();
        let mut lines = stderr.lines();
        for line in shown {
            assert!(lines.any(|real| real.trim_end() == line), "{case} does not show: {line}");
        }
    }
}
