//! Reads a `.env` file: one `NAME=value` for each variable.
//!
//! Other programs read the same file. An unreadable entry is an error only if a setting reads it. Errors never contain a
//! part of a value: a problem names the variable, the line and the column.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::origin::{Origin, SourceFile};
use super::problem::Problem;
use super::setting::Setting;

/// The hint for a value that needs quotes.
const QUOTES: &str = "hint: put a value with spaces, quotes, # or \\ in single quotes: NAME='...'";

/// The contents of a `.env` file.
#[derive(Debug, Default)]
pub(super) struct Variables {
    pub(super) settings: Vec<Setting>,
    /// The numbers of the lines that do not start with `NAME=`, from 1.
    pub(super) nameless: Vec<usize>,
}

/// Parses all entries. `process` are the variables of the process, which have priority in `${NAME}`.
pub(super) fn parse(file: &Arc<SourceFile>, process: &[Setting]) -> Variables {
    let (text, damaged) = (file.text.as_str(), file.damaged);
    let mut reading = Reading { text, at: 0, damaged, known: HashMap::new(), process };
    let mut variables = Variables::default();
    while let Some(entry) = reading.entry() {
        match entry {
            Entry::Nothing => (),
            Entry::Nameless(at) => variables.nameless.push(file.position(at).0),
            Entry::Value { name, text, span } => {
                let origin = Origin::Span(Arc::clone(file), span);
                variables.settings.push(Setting::new(name, text, origin));
            }
            Entry::Unreadable { name, start, at, why } => {
                let place = |at| Origin::Span(Arc::clone(file), at..at);
                let hint = if why.wants_quotes() { QUOTES } else { why.hint() };
                let problem = Problem::new(place(at), name, why.what()).with_hint(hint).hidden();
                // Another problem of the variable shows its line up to this place, without the value.
                variables.settings.push(Setting::unreadable(name, place(start), problem));
            }
        }
    }
    variables
}

/// One entry of the file.
enum Entry<'a> {
    /// A blank line, or a comment.
    Nothing,
    /// A line that does not start with a name, and its place.
    Nameless(usize),
    Value {
        name: &'a str,
        text: String,
        span: Range<usize>,
    },
    Unreadable {
        name: &'a str,
        /// The start of the value.
        start: usize,
        /// The place of the error.
        at: usize,
        why: Why,
    },
}

/// The reason why an entry is unreadable.
#[derive(Debug, Clone, Copy)]
enum Why {
    NoEqualSign,
    Blank,
    Quote,
    Escape,
    Braces,
    Reference,
    NoText,
}

impl Why {
    fn what(self) -> &'static str {
        match self {
            Self::NoEqualSign => "there is no `=` after the name",
            Self::Blank => "a value without quotes contains a space",
            Self::Quote => "this quote is not closed",
            Self::Escape => "a backslash precedes a character that needs no backslash",
            Self::Braces => "this `${` is not closed or has no name",
            Self::Reference => "this `${NAME}` names an unreadable variable",
            Self::NoText => "this is not UTF-8 text",
        }
    }

    fn wants_quotes(self) -> bool {
        matches!(self, Self::Blank | Self::Quote | Self::Escape)
    }

    fn hint(self) -> &'static str {
        match self {
            Self::NoText => "hint: save the file as UTF-8",
            Self::Reference => "hint: fix the line that sets the variable first",
            Self::Braces => {
                "hint: write ${NAME} or ${NAME:-default}; single quotes keep a value as it is written"
            }
            _ => "hint: write NAME=value",
        }
    }
}

/// A value and the place after it, or the place and reason of an error.
type Read<T> = Result<T, (usize, Why)>;

/// The parser of a file.
struct Reading<'a> {
    text: &'a str,
    at: usize,
    /// Whether replacement characters stand for invalid bytes.
    damaged: bool,
    /// The variables above; none for an unreadable variable.
    known: HashMap<&'a str, Option<String>>,
    process: &'a [Setting],
}

impl<'a> Reading<'a> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    /// Consumes characters while they are of this kind.
    fn while_is(&mut self, kind: impl Fn(char) -> bool) -> &'a str {
        let start = self.at;
        while self.peek().is_some_and(&kind) {
            self.next();
        }
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        self.while_is(is_blank);
    }

    fn skip_line(&mut self) {
        self.while_is(|character| character != '\n');
        self.next();
    }

    /// Reads the next entry; `None` at the end.
    fn entry(&mut self) -> Option<Entry<'a>> {
        self.peek()?;
        self.skip_blanks();
        let start = self.at;
        if matches!(self.peek(), None | Some('\n' | '#')) {
            self.skip_line();
            return Some(Entry::Nothing);
        }
        let is_of_name = |character: char| !character.is_whitespace() && character != '=';
        let mut name = self.while_is(is_of_name);
        self.skip_blanks();
        // `export` may be the name of a variable.
        if name == "export" && self.peek() != Some('=') {
            name = self.while_is(is_of_name);
            self.skip_blanks();
        }
        match self.peek() {
            Some('=') if !name.is_empty() && !is_misspelt(name) => {
                self.next();
                Some(self.assignment(name))
            }
            after => {
                let at = self.at;
                self.skip_line();
                Some(match after {
                    Some('=') => Entry::Nameless(start),
                    _ if is_ours(name) => Entry::Unreadable { name, start: at, at, why: Why::NoEqualSign },
                    // A name without a value is valid in other programs, and sets nothing here.
                    None | Some('\n' | '#') if name.chars().all(is_of_reference) => Entry::Nothing,
                    _ => Entry::Nameless(start),
                })
            }
        }
    }

    /// Parses the value after `NAME=`.
    fn assignment(&mut self, name: &'a str) -> Entry<'a> {
        let line_end = self.text.get(self.at..).and_then(|rest| rest.find('\n')).map(|end| self.at + end);
        let value_start = self.at;
        self.skip_blanks();
        let start = self.at;
        let read = match self.peek() {
            // A `#` starts a comment only after a space.
            Some('#') if start > value_start => Ok((String::new(), start)),
            _ => self.value(),
        };
        match read {
            Ok((text, _)) if self.damaged && text.contains(char::REPLACEMENT_CHARACTER) => {
                self.skip_line();
                self.known.insert(name, None);
                Entry::Unreadable { name, start, at: start, why: Why::NoText }
            }
            Ok((text, end)) => {
                self.skip_line();
                self.known.insert(name, Some(text.clone()));
                Entry::Value { name, text, span: start..end }
            }
            Err((at, why)) => {
                // An unclosed quote must not hide the lines below.
                if matches!(why, Why::Quote | Why::Braces) {
                    self.at = line_end.unwrap_or(self.text.len());
                }
                self.skip_line();
                self.known.insert(name, None);
                Entry::Unreadable { name, start, at, why }
            }
        }
    }

    /// Parses a value up to the end of its line, or over several lines within quotes. Returns the place of its end too.
    fn value(&mut self) -> Read<(String, usize)> {
        let mut text = String::new();
        // An invalid value is still parsed to its end, to find the start of the next entry.
        let mut wrong = None;
        // The open quote, and its place.
        let mut open: Option<(usize, char)> = None;
        loop {
            let at = self.at;
            match (self.peek(), open) {
                (None | Some('\n'), None) => return wrong.map_or(Ok((text, at)), Err),
                (None, Some((quote, _))) => return Err((quote, Why::Quote)),
                // A missing quote must not make a setting part of another variable.
                (Some('\n'), Some((quote, _))) if self.sets_ours_below() => return Err((quote, Why::Quote)),
                (Some(quote), Some((_, opened))) if quote == opened => open = None,
                (Some(quote @ ('\'' | '"')), None) => open = Some((at, quote)),
                (Some('\\'), None | Some((_, '"'))) => {
                    self.next();
                    match self.peek() {
                        Some('n') => text.push('\n'),
                        Some(escaped @ ('\\' | '\'' | '"' | '$' | ' ')) => text.push(escaped),
                        _ => {
                            wrong = wrong.or(Some((at, Why::Escape)));
                            continue;
                        }
                    }
                }
                (Some('$'), None | Some((_, '"'))) if self.begins_reference() => {
                    match self.reference() {
                        Ok(value) => text.push_str(&value),
                        Err((at, Why::Reference)) => wrong = wrong.or(Some((at, Why::Reference))),
                        Err(unclosed) => return Err(unclosed),
                    }
                    continue;
                }
                (Some(blank), None) if is_blank(blank) => {
                    self.skip_blanks();
                    return match (self.peek(), wrong) {
                        (_, Some(wrong)) => Err(wrong),
                        (None | Some('\n' | '#'), None) => Ok((text, at)),
                        (Some(_), None) => Err((at, Why::Blank)),
                    };
                }
                (Some(character), _) => text.push(character),
            }
            self.next();
        }
    }

    /// Whether the next line sets a variable of this framework.
    fn sets_ours_below(&self) -> bool {
        let below = self.text.get(self.at..).unwrap_or_default().trim_start();
        let below = below.strip_prefix("export ").map_or(below, str::trim_start);
        below.split_once('=').is_some_and(|(name, _)| is_ours(name) && name.chars().all(is_of_reference))
    }

    fn begins_reference(&self) -> bool {
        self.text.get(self.at..).is_some_and(|rest| rest.starts_with("${"))
    }

    /// Parses `${NAME}`, `${NAME:-default}` and similar references. Returns their value.
    fn reference(&mut self) -> Read<String> {
        let start = self.at;
        let unclosed = (start, Why::Braces);
        self.next();
        self.next();
        let name = self.while_is(is_of_reference);
        if name.is_empty() {
            return Err(unclosed);
        }
        let unless_empty = self.peek() == Some(':');
        if unless_empty {
            self.next();
        }
        let operator = self.next();
        let other = match operator {
            Some('}') if !unless_empty => None,
            Some('-' | '+') => Some(self.default_text(unclosed)?),
            _ => return Err(unclosed),
        };
        let value = self.look_up(name).map_err(|why| (start, why))?;
        let value = value.filter(|value| !(unless_empty && value.is_empty()));
        Ok(match (operator, value) {
            (Some('+'), Some(_)) | (Some('-'), None) => other.unwrap_or_default(),
            (Some('+'), None) => String::new(),
            (_, value) => value.unwrap_or_default(),
        })
    }

    /// Parses the rest of a reference up to its brace. It may contain references.
    fn default_text(&mut self, unclosed: (usize, Why)) -> Read<String> {
        let mut text = String::new();
        loop {
            match self.peek() {
                None | Some('\n') => return Err(unclosed),
                Some('}') => {
                    self.next();
                    return Ok(text);
                }
                Some('$') if self.begins_reference() => {
                    text.push_str(&self.reference()?);
                }
                Some(character) => {
                    text.push(character);
                    self.next();
                }
            }
        }
    }

    /// The value of a variable, from the process or else from the entries above.
    fn look_up(&self, name: &str) -> Result<Option<String>, Why> {
        if let Some(setting) = self.process.iter().rfind(|setting| setting.name == name) {
            return if setting.problem.is_none() {
                Ok(Some(setting.text.clone()))
            } else {
                Err(Why::Reference)
            };
        }
        match self.known.get(name) {
            None => Ok(None),
            Some(Some(text)) => Ok(Some(text.clone())),
            Some(None) => Err(Why::Reference),
        }
    }
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r')
}

/// Whether a character can be part of a name in `${NAME}`.
fn is_of_reference(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '.')
}

/// Whether the framework reads a variable.
fn is_ours(name: &str) -> bool {
    name.starts_with("ERGON_")
}

/// Whether a name looks like a misspelt variable of the framework.
fn is_misspelt(name: &str) -> bool {
    name.contains("ERGON") && !(is_ours(name) && name.chars().all(is_of_reference))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Variables {
        parse(&SourceFile::variables(".env".as_ref(), text.to_owned(), false), &[])
    }

    /// The values that can be read.
    fn values(text: &str) -> Vec<String> {
        let settings = read(text).settings.into_iter();
        settings.filter(|setting| setting.problem.is_none()).map(|setting| setting.text).collect()
    }

    /// The problems of the unreadable entries.
    fn unreadable(text: &str) -> Vec<String> {
        let problems = read(text).settings.into_iter().filter_map(|setting| setting.problem);
        problems.map(|problem| problem.headline()).collect()
    }

    #[test]
    fn a_dollar_stands_for_itself_unless_it_names_a_variable_in_braces() {
        let text = "A=pa$word\nB=\"pa$$word\" # costs $5\nC='a${A}b$'\nD=${A}!\nE=\\$x\n# it's $1\nF=\"$\"\n";
        assert_eq!(values(text), ["pa$word", "pa$$word", "a${A}b$", "pa$word!", "$x", "$"]);
    }

    #[test]
    fn a_reference_may_have_a_default() {
        let text = "A=a\nE=\nB=${A:-b}\nC=${X:-b c}\nD=\"${E:-${X:-${A}}} ${E-x}\"\nF=${X-}${A:+y}${E:+z}\n";
        assert_eq!(values(text), ["a", "", "a", "b c", "a ", "y"]);
        let process = [Setting::new("A", "of the process".to_owned(), Origin::Nowhere)];
        let file = SourceFile::variables(".env".as_ref(), "A=a\nB=${A}".to_owned(), false);
        assert_eq!(parse(&file, &process).settings[1].text, "of the process");
    }

    #[test]
    fn quotes_escapes_comments_and_blanks_are_read() {
        let text = "export A = a b\nexport B = 'a # b' # c\r\nC=\"a\nb\"'c'd\n D=a#b\nE= # c\nF=#f\nexport=x\nG=\"\\\"\\n\"";
        assert_eq!(values(text), ["a # b", "a\nbcd", "a#b", "", "#f", "x", "\"\n"]);
    }

    #[test]
    fn an_entry_that_cannot_be_read_is_named_with_line_and_column() {
        let text = "ERGON_A=x y\nERGON_B='x\nERGON_C=\"\\q\"\nERGON_D=${x\nERGON_E\nERGON_F=${ERGON_A}\nERGON_G=ok\n";
        assert_eq!(
            unreadable(text),
            [
                ".env:1:10: ERGON_A: a value without quotes contains a space",
                ".env:2:9: ERGON_B: this quote is not closed",
                ".env:3:10: ERGON_C: a backslash precedes a character that needs no backslash",
                ".env:4:9: ERGON_D: this `${` is not closed or has no name",
                ".env:5:8: ERGON_E: there is no `=` after the name",
                ".env:6:9: ERGON_F: this `${NAME}` names an unreadable variable",
            ]
        );
        assert_eq!(values(text), ["ok"]);
    }

    #[test]
    fn a_quote_that_is_not_closed_takes_no_setting_with_it() {
        let text = "MOTD=it's\nERGON_A=a'b'\nKEY=\"---\nx==\n---\"\nexport ERGON_B=b\n";
        assert_eq!(values(text), ["ab", "---\nx==\n---", "b"]);
    }

    #[test]
    fn lines_without_a_name_are_counted() {
        let text = "A=1\nthis is no variable\nPASSED_ON\nset -a\nmy-key=x\nERGON-A=1\n=x\n";
        assert_eq!(read(text).nameless, [2, 4, 6, 7]);
    }

    #[test]
    fn only_the_value_that_is_no_text_cannot_be_read() {
        let file = SourceFile::variables(".env".as_ref(), "A=\u{fffd}\nB=b".to_owned(), true);
        let settings = parse(&file, &[]).settings;
        assert!(settings[0].problem.is_some() && settings[1].text == "b");
    }
}
