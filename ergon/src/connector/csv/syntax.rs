//! Scans records by the rules of quoting: finds the end of a record, its cells, and the place where it breaks the
//! rules. Ergon has its own scanner, because the crate `csv` accepts a record that breaks the rules without an error.

use std::borrow::Cow;

use serde::Deserialize;

/// The rules by which a source reads double quotes.
///
/// ```
/// use ergon::connector::csv::Quote;
/// use ergon::prelude::*;
///
/// let config: CsvConfig = serde_json::from_str(r#"{"path": "a.csv", "quote": "lenient"}"#)?;
/// assert_eq!(config.quote, Quote::Lenient);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quote {
    /// The rules of RFC 4180: a cell is quoted from its first byte to its last, or has no quote. A record that breaks
    /// this rule becomes a delivery that does not decode, with its bytes.
    #[default]
    Strict,
    /// The rules of spreadsheets: text after a closing quote belongs to the cell, and a quote within a cell that does
    /// not begin with a quote is an ordinary character.
    Lenient,
    /// No quoting: a quote is an ordinary character, and each line is a record.
    None,
}

/// The characters that separate and enclose cells.
#[derive(Debug, Clone, Copy)]
pub(super) struct Syntax {
    pub(super) delimiter: u8,
    pub(super) quote: Quote,
    /// The character that, within quotes, makes a quote or itself an ordinary character.
    pub(super) escape: Option<u8>,
}

/// The state of the file after the bytes that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// The next bytes are not read yet.
    More,
    /// The file ends here.
    Nothing,
    /// The file may continue, but a record may not be longer.
    TooMuch,
}

/// One cell: its start and end in the bytes.
#[derive(Debug, Clone, Copy)]
struct Cell {
    start: usize,
    end: usize,
    /// The place of the closing quote; `None` if the cell is not quoted.
    close: Option<usize>,
    /// Whether the cell has doubled or escaped quotes.
    doubled: bool,
}

/// A violation of the rules, and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) what: What,
    /// The place of the byte that breaks the rule.
    pub(super) at: usize,
    /// The start of the cell with the flaw.
    pub(super) cell: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// Text follows a closing quote.
    TextAfterQuote,
    /// A quote is in a cell that does not begin with a quote.
    StrayQuote,
    /// A quote is opened and not closed.
    NeverClosed,
}

/// A quoted cell that continues over the end of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Crossing {
    pub(super) opened: usize,
    /// The start of the first line after the line of the opening quote.
    pub(super) goes_on: usize,
}

/// The result of scanning one record.
#[derive(Debug, Default)]
pub(super) struct Scan {
    cells: Vec<Cell>,
    /// The end of the record's content; for a flawed record, the end of the line with the flaw.
    pub(super) end: usize,
    /// The start of the next line.
    pub(super) next: usize,
    pub(super) flaw: Option<Flaw>,
    /// The cells that continue over a line's end: the first few, and the last.
    pub(super) crossings: Vec<Crossing>,
}

/// The record continues beyond the bytes that are read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfinished;

/// The number of cells that continue over a line's end and are remembered for one record.
const MOST_CROSSINGS: usize = 8;

impl Scan {
    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    /// Moves the places of the cells: they count from this many bytes before.
    pub(super) fn shift(&mut self, by: usize) {
        for cell in &mut self.cells {
            (cell.start, cell.end) = (cell.start + by, cell.end + by);
            cell.close = cell.close.map(|close| close + by);
        }
    }

    /// Returns the cells without their quotes.
    pub(super) fn cells<'b>(
        &self,
        syntax: Syntax,
        bytes: &'b [u8],
    ) -> impl Iterator<Item = Cow<'b, [u8]>> + use<'_, 'b> {
        self.cells.iter().map(move |cell| cell.content(syntax, bytes))
    }
}

impl Cell {
    fn content(self, syntax: Syntax, bytes: &[u8]) -> Cow<'_, [u8]> {
        let part = |from: usize, to: usize| bytes.get(from..to).unwrap_or_default();
        let Some(close) = self.close else { return part(self.start, self.end).into() };
        let inner = part(self.start + 1, close);
        let (is_doubled, after) = (self.doubled, part(close + 1, self.end));
        if !is_doubled && after.is_empty() {
            return inner.into();
        }
        let mut content = if is_doubled { unescaped(syntax, inner) } else { inner.to_vec() };
        content.extend_from_slice(after);
        content.into()
    }
}

impl Syntax {
    /// Scans the record that begins at `from`. A strict scan ends at the first flaw.
    pub(super) fn scan(self, bytes: &[u8], from: usize, rest: Rest) -> Result<Scan, Unfinished> {
        let strict = self.quote != Quote::Lenient;
        Scanner { syntax: self, bytes, rest, strict }.record(from)
    }

    /// Scans the record that begins at `from` by the rules of [`Quote::Lenient`].
    pub(super) fn scan_leniently(self, bytes: &[u8], from: usize, rest: Rest) -> Result<Scan, Unfinished> {
        Scanner { syntax: self, bytes, rest, strict: false }.record(from)
    }
}

/// Returns the content of a quoted cell without the characters that double or escape its quotes.
fn unescaped(syntax: Syntax, inner: &[u8]) -> Vec<u8> {
    let mut content = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let is_escape = byte != b'"' && Some(byte) == syntax.escape;
        let meant = bytes.next_if(|next| match byte {
            b'"' => *next == b'"',
            _ => is_escape && (*next == b'"' || *next == byte),
        });
        content.push(meant.unwrap_or(byte));
    }
    content
}

struct Scanner<'b> {
    syntax: Syntax,
    bytes: &'b [u8],
    rest: Rest,
    strict: bool,
}

enum Ended {
    Cell(Cell),
    Flaw(Flaw),
}

impl Scanner<'_> {
    fn record(&self, from: usize) -> Result<Scan, Unfinished> {
        let mut scan = Scan::default();
        let mut at = from;
        loop {
            let quoted = self.syntax.quote != Quote::None && self.bytes.get(at) == Some(&b'"');
            let ended = if quoted { self.quoted(at, &mut scan.crossings)? } else { self.plain(at)? };
            let cell = match ended {
                Ended::Cell(cell) => cell,
                Ended::Flaw(flaw) => {
                    scan.flaw = Some(flaw);
                    // A quote that is never closed encloses all lines after it. The search for the next record finds
                    // the lines that do not belong to this record.
                    let line = if flaw.what == What::NeverClosed { self.bytes.len() } else { flaw.at };
                    (scan.end, scan.next) = self.line_end(line)?;
                    return Ok(scan);
                }
            };
            scan.cells.push(cell);
            if self.bytes.get(cell.end) != Some(&self.syntax.delimiter) {
                (scan.end, scan.next) = self.line_end(cell.end)?;
                return Ok(scan);
            }
            at = cell.end + 1;
        }
    }

    fn plain(&self, start: usize) -> Result<Ended, Unfinished> {
        let quote = self.strict && self.syntax.quote != Quote::None;
        let ends = |byte: u8| byte == self.syntax.delimiter || is_line_end(byte) || (quote && byte == b'"');
        let end = self.find(start, ends)?;
        if quote && self.bytes.get(end) == Some(&b'"') {
            return Ok(Ended::Flaw(Flaw { what: What::StrayQuote, at: end, cell: start }));
        }
        Ok(Ended::Cell(Cell { start, end, close: None, doubled: false }))
    }

    fn quoted(&self, start: usize, crossings: &mut Vec<Crossing>) -> Result<Ended, Unfinished> {
        let escape = self.syntax.escape;
        let (mut at, mut doubled, mut crossed) = (start + 1, false, false);
        loop {
            at = self
                .find(at, |byte| byte == b'"' || Some(byte) == escape || (!crossed && is_line_end(byte)))?;
            let Some(byte) = self.bytes.get(at).copied() else {
                return Ok(Ended::Flaw(Flaw { what: What::NeverClosed, at: start, cell: start }));
            };
            let next = self.bytes.get(at + 1).copied();
            if next.is_none() && self.rest == Rest::More {
                return Err(Unfinished);
            }
            if is_line_end(byte) {
                crossed = true;
                at = self.line_end(at)?.1;
                crossings.truncate(MOST_CROSSINGS - 1);
                crossings.push(Crossing { opened: start, goes_on: at });
            } else if next == Some(b'"') || (byte != b'"' && next.is_some() && next == escape) {
                (doubled, at) = (true, at + 2);
            } else if byte != b'"' {
                at += 1;
            } else if next.is_none_or(|next| next == self.syntax.delimiter || is_line_end(next)) {
                return Ok(Ended::Cell(Cell { start, end: at + 1, close: Some(at), doubled }));
            } else if self.strict {
                return Ok(Ended::Flaw(Flaw { what: What::TextAfterQuote, at: at + 1, cell: start }));
            } else {
                let end = self.find(at + 1, |byte| byte == self.syntax.delimiter || is_line_end(byte))?;
                return Ok(Ended::Cell(Cell { start, end, close: Some(at), doubled }));
            }
        }
    }

    /// Finds the first such byte, or the end of the bytes if there is none.
    fn find(&self, from: usize, is: impl Fn(u8) -> bool) -> Result<usize, Unfinished> {
        let rest = self.bytes.get(from..).unwrap_or_default();
        match rest.iter().position(|byte| is(*byte)) {
            Some(place) => Ok(from + place),
            None if self.rest == Rest::More => Err(Unfinished),
            None => Ok(self.bytes.len()),
        }
    }

    fn line_end(&self, at: usize) -> Result<(usize, usize), Unfinished> {
        line_end(self.bytes, at, self.rest)
    }
}

/// Finds the end of the line at `at`, without and with its line end.
pub(super) fn line_end(bytes: &[u8], at: usize, rest: Rest) -> Result<(usize, usize), Unfinished> {
    let after = bytes.get(at..).unwrap_or_default().iter().position(|byte| is_line_end(*byte));
    let end = after.map_or(bytes.len(), |place| at + place);
    match (bytes.get(end), bytes.get(end + 1)) {
        (None, _) | (Some(b'\r'), None) if rest == Rest::More => Err(Unfinished),
        (Some(b'\r'), Some(b'\n')) => Ok((end, end + 2)),
        (Some(_), _) => Ok((end, end + 1)),
        (None, _) => Ok((end, end)),
    }
}

/// Returns whether a byte ends a line: a line feed, a carriage return, or both together.
pub(super) fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// Counts the lines that end within the bytes.
pub(super) fn line_ends(bytes: &[u8]) -> u64 {
    let count = |end: u8| bytes.iter().map(|byte| usize::from(*byte == end)).sum::<usize>();
    let (feeds, returns) = (count(b'\n'), count(b'\r'));
    let both = if returns == 0 { 0 } else { bytes.windows(2).filter(|pair| *pair == b"\r\n").count() };
    (feeds + returns - both) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STRICT: Syntax = Syntax { delimiter: b',', quote: Quote::Strict, escape: None };

    fn cells(syntax: Syntax, text: &str) -> Vec<String> {
        let scan = syntax.scan(text.as_bytes(), 0, Rest::Nothing).unwrap();
        assert_eq!(scan.flaw, None, "{text:?}");
        scan.cells(syntax, text.as_bytes())
            .map(|cell| String::from_utf8(cell.into_owned()).unwrap())
            .collect()
    }

    #[test]
    fn what_is_not_whole_is_unfinished() {
        for text in ["", "a", "a,", "a\r", "\"a", "\"a\"", "\"a\n", "\"a\r", "\"a\"\"", "\"a\" b"] {
            assert!(STRICT.scan(text.as_bytes(), 0, Rest::More).is_err(), "{text:?}");
            assert!(STRICT.scan(text.as_bytes(), 0, Rest::Nothing).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn an_escape_keeps_every_character_that_it_does_not_escape() {
        let syntax = Syntax { escape: Some(b'\\'), ..STRICT };
        assert_eq!(
            cells(syntax, r#""a \"b\" \\ \n C:\x","c ""d""",\e"#),
            [r#"a "b" \ \n C:\x"#, "c \"d\"", "\\e"]
        );
        assert_eq!(cells(syntax, r#""\\","\"""#), ["\\", "\""]);
        assert_eq!(cells(syntax, "\"a\\\\\\\"\""), ["a\\\""]);
    }

    #[test]
    fn without_quotes_a_quote_is_a_character() {
        assert_eq!(cells(Syntax { quote: Quote::None, ..STRICT }, "\"a,b\",5\"\n"), ["\"a", "b\"", "5\""]);
    }

    fn records() -> impl Strategy<Value = Vec<Vec<String>>> {
        let cell = "[ab \",;\r\nü]{0,5}";
        prop::collection::vec(prop::collection::vec(cell, 2..5), 1..6)
    }

    proptest! {
        /// What the library writes is read as it was; what it reads leniently is read alike.
        #[test]
        fn the_scanner_agrees_with_the_library(records in records(), noise in "[ab\",\n\r]{0,30}") {
            let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
            for record in &records {
                writer.write_record(record).unwrap();
            }
            let written = writer.into_inner().unwrap();
            let read = |syntax: Syntax, bytes: &[u8]| {
                let (mut at, mut found) = (0, Vec::new());
                loop {
                    while bytes.get(at).copied().is_some_and(is_line_end) {
                        at += 1;
                    }
                    if at == bytes.len() {
                        return found;
                    }
                    let scan = syntax.scan(bytes, at, Rest::Nothing).unwrap();
                    if scan.flaw.is_some() {
                        return found;
                    }
                    found.push(scan.cells(syntax, bytes).map(|cell| String::from_utf8(cell.into_owned()).unwrap()).collect::<Vec<_>>());
                    at = scan.next;
                }
            };
            prop_assert_eq!(&read(STRICT, &written), &records);

            let lenient = Syntax { quote: Quote::Lenient, ..STRICT };
            let ours = read(lenient, noise.as_bytes());
            let mut library = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(noise.as_bytes());
            let theirs = library.records().map(|record| record.unwrap().iter().map(str::to_owned).collect::<Vec<_>>());
            // The library takes a quote that is never closed for a cell; here it is a flaw.
            for (ours, theirs) in ours.iter().zip(theirs) {
                prop_assert_eq!(ours, &theirs);
            }
        }
    }
}
