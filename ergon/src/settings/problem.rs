//! What is wrong with the settings, said so that it can be mended: what, where, what was expected, what helps.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use super::tree::{Origin, SourceFile};
use crate::error::{Error, ErrorKind};

/// One thing that is wrong.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) place: Origin,
    /// The key with all tables above it, `orders.path`; empty for a file as a whole.
    pub(crate) path: String,
    pub(crate) what: String,
    /// What helps, or is good to know; each becomes a line of its own.
    pub(crate) hints: Vec<String>,
}

impl Problem {
    pub(crate) fn new(place: Origin, path: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place, path: path.into(), what: what.into(), hints: Vec::new() }
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    pub(super) fn syntax(file: &Arc<SourceFile>, error: &toml::de::Error) -> Self {
        let span = error.span().unwrap_or(0..0);
        Self::new(Origin::Span(Arc::clone(file), span), "", format!("not valid TOML: {}", error.message()))
    }

    pub(super) fn number_out_of_range(place: &Origin) -> Self {
        Self::new(place.clone(), "", "this number is too large to be read")
            .with_hint("whole numbers go from -9223372036854775808 to 9223372036854775807")
    }

    /// A variable names a key below something that has no keys.
    pub(super) fn not_a_table(variable: &Origin, existing: &Origin) -> Self {
        let problem = Self::new(variable.clone(), "", "names a key of a value that is no table");
        match existing.at() {
            Some(at) => problem.with_hint(format!("note: the value stands at {at}")),
            None => problem,
        }
    }

    /// The problem in one line: where, which key, what.
    pub(crate) fn headline(&self) -> String {
        let place = self.place.at();
        let path = (!self.path.is_empty()).then_some(self.path.as_str());
        let parts: Vec<&str> = [place.as_deref(), path, Some(&self.what)].into_iter().flatten().collect();
        parts.join(": ")
    }

    /// The lines below the headline: the line at fault with a caret under it, and the hints.
    pub(crate) fn details(&self) -> String {
        let mut lines = String::new();
        let snippet = Snippet::of(&self.place).filter(|snippet| !self.is_about_a_secret(&snippet.line));
        let width = snippet.as_ref().map_or(0, |snippet| snippet.number.len());
        if let Some(snippet) = snippet {
            snippet.draw(&mut lines);
        }
        for hint in &self.hints {
            // Writing to a String cannot fail.
            let _ = writeln!(lines, "{:width$} = {hint}", "");
        }
        lines
    }

    /// Says whether the line could show a secret: by its own words, by the key, or by the key that was meant.
    fn is_about_a_secret(&self, line: &str) -> bool {
        let meant = self.hints.iter().filter(|hint| hint.contains("did you mean"));
        is_secret(line) || is_secret(&self.path) || meant.into_iter().any(|hint| is_secret(hint))
    }
}

impl Origin {
    /// The place in a few words: `ergon.toml:12:15`, `environment variable ERGON_ORDERS__PATH`, `--concurrency 0`.
    pub(crate) fn at(&self) -> Option<String> {
        match self {
            Self::Nowhere => None,
            Self::File(file) => Some(file.name.clone()),
            Self::Span(file, span) => {
                let (line, column) = file.position(span.start);
                Some(format!("{}:{line}:{column}", file.name))
            }
            Self::Variable(variable) => Some(format!("environment variable {}", variable.name)),
            Self::Flag(flag) => Some(flag.clone()),
        }
    }
}

/// The line a problem stands in, and which part of it is meant.
struct Snippet {
    number: String,
    line: String,
    /// What stands before the part that is meant, tabs kept, anything else a space.
    indent: String,
    carets: usize,
}

impl Snippet {
    fn of(place: &Origin) -> Option<Self> {
        match place {
            Origin::Span(file, span) => {
                let (line, column) = file.position(span.start);
                let text = file.line(line);
                let meant = file.text.get(span.clone()).unwrap_or_default();
                let carets = meant.lines().next().unwrap_or_default().chars().count();
                Some(Self::new(line.to_string(), text, column - 1, carets))
            }
            Origin::Variable(variable) => {
                let text = format!("{}={}", variable.name, variable.value);
                let before = variable.name.chars().count() + 1;
                Some(Self::new(" ".to_owned(), &text, before, variable.value.chars().count()))
            }
            Origin::Nowhere | Origin::File(_) | Origin::Flag(_) => None,
        }
    }

    fn new(number: String, line: &str, before: usize, carets: usize) -> Self {
        /// Of a longer line, only the part around the place is shown.
        const WIDTH: usize = 100;
        let skipped = if before + carets > WIDTH { before.saturating_sub(WIDTH / 2) } else { 0 };
        let shown = |c: char| if c.is_control() && c != '\t' { ' ' } else { c };
        let line: String = line.chars().skip(skipped).take(WIDTH).map(shown).collect();
        let before = before - skipped;
        let indent = line.chars().take(before).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        Self { number, line, indent, carets: carets.clamp(1, (WIDTH - before).max(1)) }
    }

    fn draw(&self, lines: &mut String) {
        let Self { number, line, indent, carets } = self;
        let blank = " ".repeat(number.len());
        let carets = "^".repeat(*carets);
        // Writing to a String cannot fail.
        let _ = write!(lines, "{blank} |\n{number} | {line}\n{blank} | {indent}{carets}\n");
    }
}

/// Says whether text names, or a URL holds, something that must not be shown.
pub(super) fn is_secret(text: &str) -> bool {
    const WORDS: [&str; 7] = ["password", "passwd", "secret", "token", "api_key", "apikey", "credential"];
    let text = text.to_lowercase().replace('-', "_");
    let login = text
        .split("://")
        .skip(1)
        .any(|rest| rest.split(['/', ' ', '"']).next().unwrap_or_default().contains('@'));
    login || WORDS.iter().any(|word| text.contains(word))
}

/// All that is wrong with the settings; the cause below an [`Error`] of the settings.
///
/// `Display` shows each problem with its line, in several lines of plain ASCII.
#[derive(Debug, Clone)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in self.iter() {
            writeln!(f, "{}", problem.headline())?;
            f.write_str(&problem.details())?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        vec![problem].into()
    }
}

impl From<Vec<Problem>> for Error {
    fn from(problems: Vec<Problem>) -> Self {
        let message = match problems.as_slice() {
            [only] => only.headline(),
            all => format!("{} problems in the settings", all.len()),
        };
        Self::new(ErrorKind::Settings, message).with_source(Problems(problems))
    }
}
