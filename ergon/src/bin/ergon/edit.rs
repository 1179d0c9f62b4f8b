//! Adds lines to existing files of a project: a module, the registration of a task, the fields of settings. A line that
//! the file already has is not added again.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::error::CommandError;
use super::files;
use super::name::Name;
use super::template;

/// The start of every marked line.
const MARK: &str = "// ergon:";

/// Lines for a file, and the text that shows that the file has them.
#[derive(Debug)]
pub(crate) struct Addition {
    sign: String,
    lines: String,
}

impl Addition {
    /// A module, with the lines above it. An empty line follows a module with an attribute.
    pub(crate) fn module(module: &str, above: &str) -> Self {
        let gap = if above.is_empty() { "" } else { "\n" };
        let lines = format!("{above}pub(crate) mod {module};\n{gap}");
        Self { sign: format!("mod {module};"), lines }
    }

    /// The registration of a task in `ergon::main!`.
    pub(crate) fn registration(module: &str) -> Self {
        let sign = format!("tasks::{module}::config");
        Self { lines: format!("{sign},\n"), sign }
    }

    /// Fields of the settings, with their documentation.
    pub(crate) fn fields(template: &str, name: &Name) -> Vec<Self> {
        let text = template::of_part(template, name);
        let sign = |lines: &str| {
            let (_, field) = lines.rsplit_once("pub(crate) ")?;
            field.split_once(':').map(|(name, _)| format!("{name}:"))
        };
        let field = |lines: &str| Some(Self { sign: sign(lines)?, lines: lines.to_owned() });
        text.split_inclusive(",\n").filter_map(field).collect()
    }

    /// Tables of `ergon.toml`, each after an empty line.
    pub(crate) fn tables(template: &str, name: &Name) -> Vec<Self> {
        let text = template::of_part(template, name);
        let table = |lines: &str| {
            let sign = lines.lines().next()?.to_owned();
            Some(Self { sign, lines: format!("\n{lines}\n") })
        };
        text.trim().split("\n\n").filter_map(table).collect()
    }

    /// Whether a text has the addition, outside of comments.
    fn is_in(&self, text: &str) -> bool {
        let is_of_word = |letter: Option<char>| letter.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let has = |line: &str| {
            let mut parts = line.split(self.sign.as_str()).peekable();
            let mut found = false;
            while let (Some(before), Some(after)) = (parts.next(), parts.peek()) {
                found |= !is_of_word(before.chars().next_back()) && !is_of_word(after.chars().next());
            }
            found
        };
        text.lines().any(|line| !line.trim_start().starts_with(['/', '#']) && has(line))
    }
}

/// A change of a file.
#[derive(Debug)]
pub(crate) struct Edit {
    path: String,
    file: PathBuf,
    /// The added lines; empty if the file has all of them.
    lines: String,
    /// The new text of the file; none if the marked line is missing.
    changed: Option<String>,
}

impl Edit {
    /// Adds lines above the marked line of a file, with its indentation.
    pub(crate) fn above_mark(path: &str, file: PathBuf, text: &str, additions: &[Addition]) -> Self {
        let lines = missing(text, additions);
        let changed = marked(text).map(|(before, indent, after)| {
            let lines = indented(&lines, indent);
            // Modules are in alphabetical order, as the formatter sorts them.
            let module = |line: &str| line.trim_end().trim_end_matches(';').to_owned();
            let later = |line: &&str| line.starts_with("pub(crate) mod ") && module(line) > module(&lines);
            let neighbours = before.split_inclusive('\n').rev();
            let is_module = lines.starts_with("pub(crate) mod ");
            let pushed: usize = neighbours.take_while(|line| is_module && later(line)).map(str::len).sum();
            let (before, pushed) = before.split_at_checked(before.len() - pushed).unwrap_or((before, ""));
            format!("{before}{lines}{pushed}{after}")
        });
        Self { path: path.to_owned(), file, lines, changed }
    }

    /// Adds lines at the end of a file.
    pub(crate) fn at_end(path: &str, file: PathBuf, text: &str, additions: &[Addition]) -> Self {
        let lines = missing(text, additions);
        let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        let changed = Some(format!("{text}{gap}{lines}"));
        Self { path: path.to_owned(), file, lines, changed }
    }

    /// Keeps a file unchanged.
    pub(crate) fn kept(path: &str) -> Self {
        Self { path: path.to_owned(), file: PathBuf::new(), lines: String::new(), changed: None }
    }

    /// Makes the change and reports it in `text`. Lines that the user has to add go to `by_hand`.
    pub(crate) fn make(&self, text: &mut String, by_hand: &mut String) -> Result<(), CommandError> {
        let Self { path, file, lines, changed } = self;
        // Writing to a String cannot fail, here and below.
        if lines.is_empty() {
            let _ = writeln!(text, "kept     {path}: no change is needed");
            return Ok(());
        }
        let Some(changed) = changed else {
            let lines = indented(lines, "    ");
            let _ =
                write!(by_hand, "\n{path} has no line that starts with `{MARK}`; add these lines:\n{lines}");
            return Ok(());
        };
        files::replace(file, changed)?;
        let _ = writeln!(text, "changed  {path}");
        Ok(())
    }
}

/// The lines of the additions that a text does not have.
fn missing(text: &str, additions: &[Addition]) -> String {
    let missing = additions.iter().filter(|addition| !addition.is_in(text));
    missing.map(|addition| addition.lines.as_str()).collect()
}

/// The text before the marked line of a file, the indentation of that line, and the text from it on.
fn marked(text: &str) -> Option<(&str, &str, &str)> {
    let mut before = 0;
    for line in text.split_inclusive('\n') {
        let content = line.trim_start();
        if content.starts_with(MARK) {
            let (above, rest) = text.split_at_checked(before)?;
            let (indent, _) = line.split_at_checked(line.len() - content.len())?;
            return Some((above, indent, rest));
        }
        before += line.len();
    }
    None
}

/// Indents lines like their neighbours. Lines with an indentation keep it.
fn indented(lines: &str, indent: &str) -> String {
    let line = |line: &str| if line.starts_with(' ') { line.to_owned() } else { format!("{indent}{line}") };
    lines.split_inclusive('\n').map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_known_by_whole_words_outside_of_comments() {
        let bill = Addition::registration("bill");
        for there in
            ["    tasks::bill::config,\n", "tasks: [tasks::bill::config]", "crate::tasks::bill::config,"]
        {
            assert!(bill.is_in(there), "{there}");
        }
        for other in ["tasks::bill::config_of_2026,", "// tasks::bill::config,", "subtasks::bill::config", ""]
        {
            assert!(!bill.is_in(other), "{other}");
        }
    }

    #[test]
    fn of_fields_and_tables_only_the_missing_ones_are_added() {
        let name = Name::new("bill", "task").unwrap();
        let fields = Addition::fields(template::TASK_SETTINGS, &name);
        let tables = Addition::tables(template::TASK_TABLES, &name);
        assert_eq!((fields.len(), tables.len()), (3, 3));
        let all: String = tables.iter().map(|table| table.lines.as_str()).collect();
        assert_eq!(all, template::of_part(template::TASK_TABLES, &name));

        let left = missing("[bill_input]\npath = \"-\"\n# [bill_output]\n", &tables);
        assert!(left.starts_with("\n[bill_output]\n") && left.contains("[bill_refused]"), "{left}");
        assert!(!left.contains("[bill_input]"), "{left}");
        let left = missing("    bill_output: CsvConfig,\n    pub bill_refused: JsonLinesConfig,\n", &fields);
        assert_eq!(left.matches("pub(crate) ").count(), 1, "{left}");
        assert!(left.contains("bill_input: JsonLinesConfig,\n"), "{left}");
    }
}
