//! Describes the problems of the settings: the place, the key, what was expected, and a hint to the fix.

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::sync::Arc;

use super::origin::{Origin, Shows, SourceFile};
use crate::error::{Error, ErrorKind};

/// The replacement of a hidden value.
const HIDDEN: &str = "...";

/// One problem.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) place: Origin,
    /// The key with all its tables, `orders.path`; empty for a whole file.
    pub(crate) path: String,
    pub(crate) what: String,
    /// Hints and notes, one line each.
    pub(crate) hints: Vec<String>,
    /// The visible part of the line.
    shown: Shown,
}

/// The visible part of the line of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// The keys and the invalid value, unless the line looks like a secret.
    Value,
    /// The keys only: the value may be a secret.
    Keys,
    /// Nothing: the place is inside a value.
    Nothing,
}

impl Problem {
    pub(crate) fn new(place: Origin, path: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place, path: path.into(), what: what.into(), hints: Vec::new(), shown: Shown::Value }
    }

    /// Shows the line without its values.
    pub(super) fn without_value(mut self) -> Self {
        self.shown = Shown::Keys;
        self
    }

    /// Hides the line.
    pub(super) fn hidden(mut self) -> Self {
        self.shown = Shown::Nothing;
        self
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
        Self::new(place.clone(), "", "this number is too large")
            .with_hint("whole numbers range from -9223372036854775808 to 9223372036854775807")
    }

    /// The problem of a variable that sets a key below a value without keys.
    pub(super) fn not_a_table(variable: &Origin, existing: &Origin) -> Self {
        let problem = Self::new(variable.clone(), "", "sets a key below a value that is not a table");
        match existing.at() {
            Some(at) => problem.with_hint(format!("note: the value is at {at}")),
            None => problem,
        }
    }

    /// The problem in one line: place, key, message.
    pub(crate) fn headline(&self) -> String {
        let place = self.place.at();
        let path = (!self.path.is_empty()).then_some(self.path.as_str());
        let parts: Vec<&str> = [place.as_deref(), path, Some(&self.what)].into_iter().flatten().collect();
        parts.join(": ")
    }

    /// The lines below the headline: the line of the problem with a caret, and the hints.
    pub(crate) fn details(&self) -> String {
        let mut lines = String::new();
        let shown = match self.shown {
            Shown::Value if is_secret(&self.path) => Shown::Keys,
            shown => shown,
        };
        let snippet = Snippet::of(&self.place, shown);
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
}

/// The line of a problem, with the marked part.
struct Snippet {
    number: String,
    line: String,
    /// The text before the marked part, as tabs and spaces.
    indent: String,
    carets: usize,
}

impl Snippet {
    fn of(place: &Origin, shown: Shown) -> Option<Self> {
        let Origin::Span(file, span) = place else { return None };
        let (number, column) = file.position(span.start);
        match file.shows {
            Shows::Everything => {
                let meant = file.text.get(span.clone()).unwrap_or_default();
                let carets = meant.lines().next().unwrap_or_default().chars().count();
                Some(Self::new(number.to_string(), file.line(number), column - 1, carets))
            }
            _ if shown == Shown::Nothing => None,
            Shows::Names => {
                let start = file.line_start(number);
                let name = file.text.get(start..span.start)?;
                Some(Self::new(number.to_string(), &format!("{name}{HIDDEN}"), name.chars().count(), 1))
            }
            Shows::Keys => Self::without_values(file, span, shown == Shown::Value),
        }
    }

    /// The line of a settings file at which `span` starts, without comments. Each value is hidden, except the invalid value
    /// if it may be shown.
    fn without_values(file: &SourceFile, span: &Range<usize>, show_value: bool) -> Option<Self> {
        let (number, _) = file.position(span.start);
        let start = file.line_start(number);
        let end = start + file.line(number).len();
        let Some(values) = file.values() else { return Self::of_unparsed(file, number, span.start) };
        // Each visible character with its place in the file.
        let mut drawn: Vec<(usize, char)> = Vec::new();
        let literal = |range: Range<usize>| {
            let text = file.text.get(range.clone()).unwrap_or_default();
            text.char_indices().map(move |(offset, character)| (range.start + offset, character))
        };
        let mut at = start;
        for value in values.iter().filter(|value| value.end > start && value.start < end) {
            drawn.extend(literal(at..value.start.max(at)));
            let within = value.start.max(start)..value.end.min(end);
            let text = file.text.get(value.clone()).unwrap_or_default();
            if show_value && value == span && !is_secret(text) {
                drawn.extend(literal(within.clone()));
            } else {
                drawn.extend(HIDDEN.chars().map(|dot| (value.start, dot)));
            }
            at = within.end;
        }
        drawn.extend(literal(at..end).take_while(|(_, character)| *character != '#'));
        let line: String = drawn.iter().map(|(_, character)| character).collect();
        let before = drawn.iter().take_while(|(at, _)| *at < span.start).count();
        let meant = drawn.iter().filter(|(at, _)| span.contains(at)).count();
        Some(Self::new(number.to_string(), line.trim_end(), before, meant))
    }

    /// The line of a file that is not TOML, up to the end of its key. It is shown only if all lines above it are TOML.
    fn of_unparsed(file: &SourceFile, number: usize, at: usize) -> Option<Self> {
        let start = file.line_start(number);
        toml::de::DeTable::parse(file.text.get(..start)?).ok()?;
        let line = file.line(number);
        let before = file.text.get(start..at)?.chars().count();
        if line.trim_start().starts_with('[') && !line.contains(['=', '#']) {
            return Some(Self::new(number.to_string(), line, before, 1));
        }
        let (key, value) = line.split_once('=')?;
        let bare = |character: char| character.is_ascii_alphanumeric() || "_-.\"' \t".contains(character);
        if !key.chars().all(bare) {
            return None;
        }
        let blanks: String = value.chars().take_while(|character| character.is_whitespace()).collect();
        let shown = format!("{key}={blanks}");
        let before = before.min(shown.chars().count());
        Some(Self::new(number.to_string(), &format!("{shown}{HIDDEN}"), before, 1))
    }

    fn new(number: String, line: &str, before: usize, carets: usize) -> Self {
        /// The width after which only the part around the place is shown.
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

/// Returns whether a text names a secret or contains a login.
pub(super) fn is_secret(text: &str) -> bool {
    const WORDS: [&str; 14] = [
        "password",
        "passwd",
        "passphrase",
        "secret",
        "token",
        "api_key",
        "apikey",
        "access_key",
        "private",
        "credential",
        "bearer",
        "cookie",
        "session",
        "signature",
    ];
    /// Words that are part of other words: they count only as whole parts of a name.
    const PARTS: [&str; 10] = ["auth", "dsn", "jwt", "key", "login", "pass", "pin", "pw", "pwd", "salt"];
    let text = text.to_lowercase().replace('-', "_");
    let mut parts = text.split(|character: char| !character.is_alphanumeric());
    let login = text.find('@').is_some_and(|at| text.get(..at).is_some_and(|before| before.contains(':')));
    login || WORDS.iter().any(|word| text.contains(word)) || parts.any(|part| PARTS.contains(&part))
}

/// All problems of the settings: the source of an [`Error`] of the settings.
///
/// `Display` prints each problem with its line, on several lines of plain ASCII.
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
