//! Reads the start of a file: its byte order mark, the line `sep=;`, and the record that names the columns.

use super::CsvConfig;
use super::recovery::{Ahead, Bounds, Form, Found, State};
use super::syntax::{Flaw, Rest, Syntax, Unfinished, What, is_line_end, line_end, line_ends};
use crate::connector::ConnectorError;
use crate::connector::kit::file::{display_path, trimmed_name};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The first record of a file, and the lines before it.
pub(super) struct Header {
    /// The syntax, with the delimiter that the file itself names.
    pub(super) syntax: Syntax,
    /// The start of the line that the config names.
    pub(super) begins: usize,
    /// The number of that line, counted from 1.
    pub(super) line: u64,
    /// The first record from that line on, if the file has such a record. Its places count from the start of the file.
    pub(super) first: Option<Found>,
    /// Whether the file names its delimiter.
    pub(super) names_delimiter: bool,
}

impl Header {
    /// Finds the first record; without a header, the first record that is whole.
    pub(super) fn find(
        bytes: &[u8],
        rest: Rest,
        syntax: Syntax,
        config: &CsvConfig,
    ) -> Result<Self, Unfinished> {
        if bytes.len() < BYTE_ORDER_MARK.len() && rest == Rest::More {
            return Err(Unfinished);
        }
        let mut begins = if bytes.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        let (mut syntax, mut line, mut names_delimiter) = (syntax, 1, false);
        let first_line = line_end(bytes, begins, rest);
        if let Ok((end, next)) = first_line
            && let Some(delimiter) = separator(bytes.get(begins..end).unwrap_or_default())
        {
            (syntax.delimiter, names_delimiter) = (delimiter, true);
            (begins, line) = (next, 2);
        }
        while line < u64::from(config.header_row) {
            let next = line_end(bytes, begins, rest)?.1;
            if next == begins {
                break;
            }
            (begins, line) = (next, line + 1);
        }
        let first = first(bytes, begins, rest, Form { syntax, columns: None }, config.headers)?;
        Ok(Self { syntax, begins, line, first, names_delimiter })
    }
}

fn first(
    bytes: &[u8],
    begins: usize,
    rest: Rest,
    form: Form,
    headers: bool,
) -> Result<Option<Found>, Unfinished> {
    let mut from = begins;
    loop {
        let after = bytes.get(from..).unwrap_or_default();
        let Some(mut found) = form.find(after, Bounds { rest, ahead: Ahead::No })? else { return Ok(None) };
        found.shift(from);
        if headers || found.state == State::Whole || found.next == bytes.len() {
            return Ok(Some(found));
        }
        from = found.next;
    }
}

/// Returns the delimiter that a line such as `sep=;` names.
fn separator(line: &[u8]) -> Option<u8> {
    let bare = line.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(line);
    match bare {
        [s, e, p, b'=', delimiter] if [*s, *e, *p].eq_ignore_ascii_case(b"sep") && delimits(*delimiter) => {
            Some(*delimiter)
        }
        _ => None,
    }
}

/// Returns whether a byte can separate cells.
pub(super) fn delimits(byte: u8) -> bool {
    byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r' | 0)
}

/// Reads the names of the columns, without the white space around them.
pub(super) fn names(
    config: &CsvConfig,
    bytes: &[u8],
    header: &Header,
    first: &Found,
) -> Result<Vec<String>, ConnectorError> {
    let wrong = |what: String, hint: &str| {
        ConnectorError::permanent(format!("{} {what}", display_path(&config.path))).with_hint(hint)
    };
    match first.state {
        State::Whole => {}
        State::Damaged(flaw) => {
            let (line, column) = place(bytes, flaw.at, 1);
            let what = format!("{} in its header (line {line}, column {column})", words(flaw));
            let hint =
                "close it or double it; or set `quote` or `escape`, if the file is written another way";
            return Err(wrong(format!("has {what}"), hint));
        }
        State::TooLong => {
            let what = format!("has a header that is longer than max_record = {}", config.max_record);
            return Err(wrong(what, "look for a double quote that is never closed; else raise `max_record`"));
        }
    }
    let mut names: Vec<String> = Vec::with_capacity(first.scan.len());
    for (column, cell) in (1..).zip(first.scan.cells(header.syntax, bytes)) {
        let Ok(cell) = String::from_utf8(cell.into_owned()) else {
            return Err(wrong(
                format!("has a header that is not UTF-8, in column {column}"),
                "save it as UTF-8",
            ));
        };
        let name = trimmed_name(&cell);
        if name.is_empty() {
            let hint =
                "name the column; set `header_row` if another line names the columns, or `headers = false`";
            return Err(wrong(format!("has a column without a name: column {column}"), hint));
        }
        if let Some(earlier) = names.iter().position(|earlier| earlier == name) {
            let what = format!("has two columns named `{name}`: {} and {column}", earlier + 1);
            return Err(wrong(what, "give each column a name of its own, or set `headers = false`"));
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

/// Describes a violation of the rules of quoting, for an error message.
pub(super) const fn words(flaw: Flaw) -> &'static str {
    match flaw.what {
        What::TextAfterQuote => "text after a closing quote",
        What::StrayQuote => "a double quote in a cell that does not begin with one",
        What::NeverClosed => "a double quote that is never closed",
    }
}

/// Returns the line and the column of a byte, both counted from 1. The bytes begin with the given line. Columns are
/// characters.
pub(super) fn place(bytes: &[u8], at: usize, line: u64) -> (u64, u64) {
    let before = bytes.get(..at).unwrap_or_default();
    let begins = before.iter().rposition(|byte| is_line_end(*byte)).map_or(0, |end| end + 1);
    let left = before.get(begins..).unwrap_or_default();
    let left = left.strip_prefix(BYTE_ORDER_MARK).unwrap_or(left);
    let column = String::from_utf8_lossy(left).chars().count() as u64 + 1;
    (line + line_ends(before), column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_the_delimiter() {
        for (line, delimiter) in [
            ("sep=;", Some(b';')),
            ("SEP=|", Some(b'|')),
            ("\"sep=\t\"", Some(b'\t')),
            ("sep=", None),
            ("sep=;;", None),
            ("sep=\"", None),
            ("step=;", None),
        ] {
            assert_eq!(separator(line.as_bytes()), delimiter, "{line:?}");
        }
    }
}
