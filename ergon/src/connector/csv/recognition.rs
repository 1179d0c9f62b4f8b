//! Recognizes CSV by the first records of a file. A file with another delimiter, or with a title above its header, is
//! an error before the first fetch. Without this check, the run would start and reject every record.

use super::CsvConfig;
use super::header::Header;
use super::recovery::{Ahead, Bounds, Form, State};
use super::syntax::{Rest, Syntax, line_ends};
use crate::connector::ConnectorError;
use crate::connector::kit::file::{display_path, header_below, refuse_other_kind, trimmed_name};

/// The number of records below the first record that are compared with it.
const SAMPLE: usize = 50;
const DELIMITERS: [(u8, &str); 4] = [(b',', "\",\""), (b';', "\";\""), (b'\t', "\"\\t\""), (b'|', "\"|\"")];

/// One of the first records.
struct Row {
    /// The line on which the record begins.
    line: u64,
    width: usize,
    cells: Vec<String>,
}

impl Row {
    /// Counts the cells that are not blank.
    fn names(&self) -> usize {
        self.cells.iter().filter(|cell| !trimmed_name(cell).is_empty()).count()
    }

    fn has_number(&self) -> bool {
        self.cells.iter().any(|cell| trimmed_name(cell).parse::<f64>().is_ok())
    }

    fn is_comment(&self) -> bool {
        self.cells.first().is_some_and(|cell| cell.starts_with('#'))
    }
}

/// Refuses a file that is not CSV, or not as the config describes.
///
/// # Errors
/// The more likely format, and the setting or step that helps.
pub(super) fn recognize(
    config: &CsvConfig,
    bytes: &[u8],
    header: &Header,
    rest: Rest,
) -> Result<(), ConnectorError> {
    refuse_other_kind(&config.path, bytes, "CSV")?;
    let wrong = |what: String, hint: String| {
        Err(ConnectorError::permanent(format!("{} {what}", display_path(&config.path))).with_hint(hint))
    };
    if is_json(bytes.get(header.begins..).unwrap_or_default()) {
        return wrong("holds JSON, expected CSV".to_owned(), "read it with a `JsonLinesConfig`".to_owned());
    }
    let rows = rows(bytes, header, header.syntax, rest);
    if !header.names_delimiter
        && let Some((other, width)) = other_delimiter(bytes, header, &rows, rest)
    {
        let used = config.delimiter.to_string();
        let found = rows
            .first()
            .map_or("no cells that keep the rules of quoting".to_owned(), |first| counted(first.width));
        let line = rows.first().map_or(header.line, |first| first.line);
        let what =
            format!("has {found} in line {line} with `delimiter = {used:?}`, but {width} with {other}");
        return wrong(what, format!("set `delimiter = {other}`"));
    }
    let Some((first, below)) = rows.split_first() else { return Ok(()) };
    if !config.headers {
        return Ok(());
    }
    let found = counted(first.width);
    if let Some(row) = header_among(&rows) {
        let what = format!("has {found} in line {}, expected the names of the columns", first.line);
        let (line, names) = (row.line, counted(row.width));
        let hint =
            format!("set `header_row = {line}`, where there are {names}; or delete the lines above it");
        return wrong(what, hint);
    }
    let width = below.first().map_or(first.width, |row| row.width);
    if below.len() > 1 && width != first.width && below.iter().all(|row| row.width == width) {
        let (line, records) = (first.line, below.len());
        let what = format!(
            "has {found} in its header (line {line}), but {} in the {records} records below",
            counted(width)
        );
        let hint =
            "name each column; set `header_row` if another line does, or `headers = false` if none does";
        return wrong(what, hint.to_owned());
    }
    Ok(())
}

/// Finds a row that is more likely the header than the first row: the row below comments, or below narrower rows.
fn header_among(rows: &[Row]) -> Option<&Row> {
    let comments = rows.iter().take_while(|row| row.is_comment()).count();
    let (first, second) = (rows.first()?, rows.get(1)?);
    if comments > 1 {
        return rows.get(comments);
    }
    if first.width > 1 && first.names() < 2 {
        // A spreadsheet fills a title up to the width of the table.
        let is_header = |row: &&Row| row.width == first.width && row.names() == row.width;
        let row = rows.iter().skip(1).find(is_header)?;
        return (first.names() == 0 || !row.has_number()).then_some(row);
    }
    // With only one other record, that record is more likely wrong than the header, unless the header is a single text.
    let fits = first.width > 1 && rows.iter().skip(1).any(|row| row.width == first.width);
    if fits || (rows.len() == 2 && first.width > 1) {
        return None;
    }
    let widths: Vec<usize> = rows.iter().map(|row| row.width).collect();
    let row = rows.get(header_below(&widths)?)?;
    // Below a header of one column, a cell with a delimiter in it looks like two.
    if second.width == 1 && row.width == 2 {
        return None;
    }
    (first.width == 1 || (row.names() == row.width && !row.has_number())).then_some(row)
}

/// Finds a delimiter with which all of the first records have the same number of cells, if they have not with the
/// delimiter of the config.
fn other_delimiter(
    bytes: &[u8],
    header: &Header,
    rows_now: &[Row],
    rest: Rest,
) -> Option<(&'static str, usize)> {
    let used = header.syntax.delimiter;
    let first = rows_now.first().map_or(1, |first| first.width);
    let fits = first > 1 && rows_now.iter().skip(1).any(|row| row.width == first);
    if fits || !DELIMITERS.iter().any(|(known, _)| *known == used) {
        return None;
    }
    let others = DELIMITERS.into_iter().filter(|(other, _)| *other != used);
    let splits = others.filter_map(|(other, shown)| {
        let rows = rows(bytes, header, Syntax { delimiter: other, ..header.syntax }, rest);
        let first = rows.first()?;
        let same = rows.iter().all(|row| row.width == first.width);
        (same && first.width > 1 && first.names() == first.width).then_some((shown, first.width))
    });
    splits.max_by_key(|(_, width)| *width)
}

/// Reads the first records that keep the rules of quoting.
fn rows(bytes: &[u8], header: &Header, syntax: Syntax, rest: Rest) -> Vec<Row> {
    let (mut form, mut at, mut rows) = (Form { syntax, columns: None }, header.begins, Vec::new());
    let bounds = Bounds { rest, ahead: Ahead::No };
    while rows.len() <= SAMPLE {
        let after = bytes.get(at..).unwrap_or_default();
        let Ok(Some(found)) = form.find(after, bounds) else { break };
        if found.state == State::Whole {
            let cells = found.scan.cells(syntax, after);
            let cells = cells.map(|cell| String::from_utf8_lossy(&cell).into_owned()).collect();
            let above = bytes.get(header.begins..at + found.begins).unwrap_or_default();
            rows.push(Row { line: header.line + line_ends(above), width: found.scan.len(), cells });
            form.columns.get_or_insert(found.scan.len());
        } else if rows.is_empty() {
            break;
        }
        at += found.next;
    }
    rows
}

/// Returns whether the first line is a JSON object or array, or the first line of one.
fn is_json(bytes: &[u8]) -> bool {
    let line = bytes.trim_ascii_start();
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii_end();
    match line {
        b"[" | b"{" => true,
        [b'[' | b'{', ..] => serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok(),
        _ => false,
    }
}

fn counted(cells: usize) -> String {
    if cells == 1 { "1 cell".to_owned() } else { format!("{cells} cells") }
}
