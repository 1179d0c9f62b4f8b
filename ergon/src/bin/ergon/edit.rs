//! Additions to files of a project: what is there already is not added again.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::error::CommandError;
use super::files;
use super::name::Name;
use super::template;

/// What every marked line begins with.
const MARK: &str = "// ergon:";

/// Lines for a file, and the words by which it is known that they are there.
#[derive(Debug)]
pub(crate) struct Addition {
    sign: String,
    lines: String,
}

impl Addition {
    /// A module, with what stands above it; an attribute sets it apart from the next.
    pub(crate) fn module(module: &str, above: &str) -> Self {
        let gap = if above.is_empty() { "" } else { "\n" };
        let lines = format!("{above}pub(crate) mod {module};\n{gap}");
        Self { sign: format!("mod {module};"), lines }
    }

    /// A task in `ergon::main!`.
    pub(crate) fn registration(module: &str) -> Self {
        let sign = format!("tasks::{module}::config");
        Self { lines: format!("{sign},\n"), sign }
    }

    /// Fields of the settings, each with its documentation.
    pub(crate) fn fields(template: &str, name: &Name) -> Vec<Self> {
        let text = template::of_part(template, name);
        let sign = |lines: &str| {
            let (_, field) = lines.rsplit_once("pub(crate) ")?;
            field.split_once(':').map(|(name, _)| format!("{name}:"))
        };
        let field = |lines: &str| Some(Self { sign: sign(lines)?, lines: lines.to_owned() });
        text.split_inclusive(",\n").filter_map(field).collect()
    }

    /// Tables of `ergon.toml`, a blank line before each.
    pub(crate) fn tables(template: &str, name: &Name) -> Vec<Self> {
        let text = template::of_part(template, name);
        let table = |lines: &str| {
            let sign = lines.lines().next()?.to_owned();
            Some(Self { sign, lines: format!("\n{lines}\n") })
        };
        text.trim().split("\n\n").filter_map(table).collect()
    }

    /// Says whether a text has it, outside of comments.
    fn is_in(&self, text: &str) -> bool {
        let goes_on = |letter: Option<char>| letter.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let stands = |line: &str| {
            let mut parts = line.split(self.sign.as_str()).peekable();
            let mut found = false;
            while let (Some(before), Some(after)) = (parts.next(), parts.peek()) {
                found |= !goes_on(before.chars().next_back()) && !goes_on(after.chars().next());
            }
            found
        };
        text.lines().any(|line| !line.trim_start().starts_with(['/', '#']) && stands(line))
    }
}

/// A change of a file.
#[derive(Debug)]
pub(crate) struct Edit {
    path: String,
    file: PathBuf,
    /// What is added; nothing if all is there.
    lines: String,
    /// The file as it becomes; none if the line that says where is gone.
    changed: Option<String>,
}

impl Edit {
    /// Puts lines above a file's marked line, as far in as that line is.
    pub(crate) fn above_mark(path: &str, file: PathBuf, text: &str, additions: &[Addition]) -> Self {
        let lines = missing(text, additions);
        let changed = marked(text).map(|(before, indent, after)| {
            let lines = indented(&lines, indent);
            // A module stands among its neighbours in the order of the alphabet, as the formatter wants it.
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

    /// Puts lines at a file's end.
    pub(crate) fn at_end(path: &str, file: PathBuf, text: &str, additions: &[Addition]) -> Self {
        let lines = missing(text, additions);
        let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        let changed = Some(format!("{text}{gap}{lines}"));
        Self { path: path.to_owned(), file, lines, changed }
    }

    /// Leaves a file as it is.
    pub(crate) fn kept(path: &str) -> Self {
        Self { path: path.to_owned(), file: PathBuf::new(), lines: String::new(), changed: None }
    }

    /// Makes the change, and says so in `text`; what is left to do goes to `by_hand`.
    pub(crate) fn make(&self, text: &mut String, by_hand: &mut String) -> Result<(), CommandError> {
        let Self { path, file, lines, changed } = self;
        // Writing to a String cannot fail, here and below.
        if lines.is_empty() {
            let _ = writeln!(text, "kept     {path}: it is there already");
            return Ok(());
        }
        let Some(changed) = changed else {
            let lines = indented(lines, "    ");
            let _ = write!(by_hand, "\n{path} has no line that begins with `{MARK}`; add by hand:\n{lines}");
            return Ok(());
        };
        files::replace(file, changed)?;
        let _ = writeln!(text, "changed  {path}");
        Ok(())
    }
}

/// The lines of what a text does not have.
fn missing(text: &str, additions: &[Addition]) -> String {
    let missing = additions.iter().filter(|addition| !addition.is_in(text));
    missing.map(|addition| addition.lines.as_str()).collect()
}

/// What stands before a file's marked line, how far in that line is, and the rest from it on.
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

/// Lines as far in as their neighbours; those that are further in already stay.
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
