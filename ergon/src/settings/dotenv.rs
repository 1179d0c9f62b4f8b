//! The file `.env`: lines `NAME=value`.

use std::sync::Arc;

use super::problem::Problem;
use super::sources::Setting;
use super::tree::{Origin, SourceFile};

/// Reads the lines `NAME=value`.
pub(super) fn parse(file: &Arc<SourceFile>) -> Result<Vec<Setting>, Problem> {
    let literal = with_literal_dollars(&file.text);
    let variables = dotenvy::from_read_iter(literal.as_bytes());
    variables
        .map(|variable| match variable {
            Ok((name, text)) => {
                let origin = assignment(file, &name);
                Ok(Setting { name, text, origin })
            }
            Err(dotenvy::Error::LineParse(line, _)) => {
                let number = literal.split(line.trim_end()).next().unwrap_or_default().matches('\n').count();
                Err(Problem::new(line_of(file, number), "", "not a line of the form NAME=value")
                    .with_hint("hint: a value with spaces, quotes or # goes in quotes"))
            }
            Err(error) => Err(Problem::new(Origin::File(Arc::clone(file)), "", error.to_string())),
        })
        .collect()
}

/// Where a variable's value stands; the last line that sets it is the one that counts.
fn assignment(file: &Arc<SourceFile>, name: &str) -> Origin {
    let mut start = 0;
    let mut found = None;
    for line in file.text.split_inclusive('\n') {
        let text = line.trim_start();
        let text = text.strip_prefix("export ").map_or(text, str::trim_start);
        if let Some(value) = text.strip_prefix(name).and_then(|rest| rest.trim_start().strip_prefix('=')) {
            let end = start + line.trim_end().len();
            found = Some((start + line.len() - value.len()).min(end)..end);
        }
        start += line.len();
    }
    match found {
        Some(span) => Origin::Span(Arc::clone(file), span),
        None => Origin::File(Arc::clone(file)),
    }
}

/// The line of this number, counted from 0.
fn line_of(file: &Arc<SourceFile>, number: usize) -> Origin {
    let start: usize = file.text.split_inclusive('\n').take(number).map(str::len).sum();
    let line = file.text.lines().nth(number).unwrap_or_default().trim_end();
    Origin::Span(Arc::clone(file), start..start + line.len())
}

/// The text with each `$` made one that stands for itself: a password may hold any character. Only `${NAME}` is
/// replaced, and nothing between single quotes.
fn with_literal_dollars(text: &str) -> String {
    let mut literal = String::with_capacity(text.len());
    let (mut quote, mut comment, mut before) = (None, false, '\n');
    let mut characters = text.chars().peekable();
    while let Some(mut character) = characters.next() {
        match (quote, character) {
            (None, '\n') => comment = false,
            _ if comment => (),
            (None, '#') if before.is_whitespace() => comment = true,
            (None, '\'' | '"') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            (None | Some('"'), '\\') => {
                literal.push(character);
                let Some(escaped) = characters.next() else { break };
                character = escaped;
            }
            (None | Some('"'), '$') if characters.peek() != Some(&'{') => literal.push('\\'),
            _ => (),
        }
        literal.push(character);
        before = character;
    }
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<String> {
        let file = SourceFile::new(".env".as_ref(), text.to_owned());
        parse(&file).unwrap().into_iter().map(|setting| setting.text).collect()
    }

    #[test]
    fn a_dollar_stands_for_itself_unless_it_names_a_variable_in_braces() {
        let text = "A=pa$word\nB=\"pa$$word\" # costs $5\nC='a${A}b$'\nD=${A}!\nE=\\$x\n# it's $1\nF=\"$\"\n";
        assert_eq!(values(text), ["pa$word", "pa$$word", "a${A}b$", "pa$word!", "$x", "$"]);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_shown_as_it_stands() {
        let file = SourceFile::new(".env".as_ref(), "A=$1\nB = $two words\n".to_owned());
        let Origin::Span(_, span) = parse(&file).err().unwrap().place else { panic!("no place") };
        assert_eq!(file.text.get(span), Some("B = $two words"));
    }
}
