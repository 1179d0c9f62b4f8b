//! Checks the rules of `ergon::main!`: each task is listed once, and each of its slots is wired once.

use quote::ToTokens;

use crate::diagnostics::{Problems, suggestion};
use crate::model::Main;
use crate::parse::{MainInput, MainKey, Slot, Wired};

const KEYS: [&str; 3] = ["settings", "tasks", "crate"];

/// Makes the model; `None` without settings or tasks.
pub(crate) fn main(input: MainInput, problems: &mut Problems) -> Option<Main> {
    check_program(problems);
    let (mut settings, mut tasks, mut ergon) = (None, None, None);
    for key in input.keys {
        match key {
            MainKey::Settings(key, _) if settings.is_some() => twice(&key, problems),
            MainKey::Settings(_, ty) => settings = Some(*ty),
            MainKey::Tasks(key, _) if tasks.is_some() => twice(&key, problems),
            MainKey::Tasks(key, wired) => {
                if wired.is_empty() && problems.is_empty() {
                    problems.at(
                        &key,
                        "a program needs at least one task; write `tasks: [MyTask { input: orders }]`",
                    );
                }
                tasks = Some(wired);
            }
            MainKey::Crate(path) => ergon = Some(path),
            MainKey::Unknown(key) => {
                let near = suggestion(&key.to_string(), KEYS);
                problems.at(&key, format!("`{key}` is not a key of `ergon::main!`; {near}"));
            }
        }
    }
    let here = proc_macro2::Span::call_site();
    if settings.is_none() && problems.is_empty() {
        problems
            .here(here, "`settings` is missing; write `settings: Settings,` with the type of your settings");
    }
    if tasks.is_none() && problems.is_empty() {
        problems.here(here, "`tasks` is missing; write `tasks: [MyTask { input: orders }],`");
    }
    let tasks = tasks?;
    check_tasks(&tasks, problems);
    Some(Main { ergon: ergon.unwrap_or_else(super::ergon), settings: settings?, tasks })
}

/// Checks that the crate is a program, because nothing would call `main` in a library.
fn check_program(problems: &mut Problems) {
    if is_library(std::env::args_os().map(|argument| argument.to_string_lossy().into_owned())) {
        let message = "`ergon::main!` makes a program, but this crate is a library; move it to `src/main.rs`";
        problems.here(proc_macro2::Span::call_site(), message);
    }
}

/// Returns whether these arguments make the compiler build a library. Doc tests are compiled together as a library
/// without a name, but each of them is a program.
fn is_library(arguments: impl Iterator<Item = String>) -> bool {
    let (mut library, mut named, mut previous) = (false, false, String::new());
    for argument in arguments {
        let value = |key: &str| match argument.strip_prefix(key) {
            Some(rest) => rest.strip_prefix('='),
            None => (previous == key).then_some(argument.as_str()),
        };
        library |= value("--crate-type").is_some_and(|kind| kind != "bin");
        named |= value("--crate-name").is_some();
        previous = argument;
    }
    library && named
}

fn twice(key: &syn::Ident, problems: &mut Problems) {
    problems.at(key, format!("`{key}` is given twice; keep one of them"));
}

/// Returns whether an entry is named like a type; a function that makes a config is not.
fn is_type(task: &Wired) -> bool {
    let last = task.path.segments.last().map(|segment| segment.ident.to_string());
    last.is_some_and(|name| name.starts_with(char::is_uppercase))
}

/// Checks that each task is listed once and has its wiring, and that each slot is wired once.
fn check_tasks(tasks: &[Wired], problems: &mut Problems) {
    let mut seen = std::collections::HashSet::new();
    for task in tasks {
        let path = task.path.to_token_stream().to_string().replace(' ', "");
        if !seen.insert(path.clone()) {
            problems.at(
                &task.path,
                format!("`{path}` is listed twice; list it once, and set `concurrency` or `workers` to process more at a time"),
            );
        }
        if task.slots.is_none() && is_type(task) {
            let fields = "with a field of the settings for each slot";
            let message = format!("`{path}` is not wired; write `{path} {{ input: orders }}`, {fields}");
            problems.at(&task.path, message);
        }
        let mut slots = std::collections::HashSet::new();
        for Slot { name, .. } in task.slots.iter().flatten() {
            if !slots.insert(name.to_string()) {
                problems.at(name, format!("`{name}` is wired twice; keep one of them"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(arguments: &str) -> bool {
        is_library(arguments.split(' ').map(str::to_owned))
    }

    #[test]
    fn a_library_is_known_by_the_arguments_of_the_compiler() {
        assert!(library("rustc --crate-name app --edition=2024 src/lib.rs --crate-type lib --emit=metadata"));
        assert!(library(
            "clippy-driver rustc --crate-name app src/lib.rs --crate-type=cdylib --crate-type=rlib"
        ));
        assert!(!library("rustc --crate-name app src/main.rs --crate-type bin"));
        assert!(!library("rustc --crate-name app --edition=2024 src/lib.rs --test"));
        assert!(!library("rustc --edition 2024 --crate-type=lib --out-dir /tmp /tmp/doctest_bundle_2024.rs"));
        assert!(!library("rust-analyzer-proc-macro-srv"));
        assert!(!library(""));
    }
}
