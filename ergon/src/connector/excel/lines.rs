//! The lines of an unfinished workbook: a mark and its columns first, then a row on each.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::connector::ConnectorError;
use crate::connector::kit::file::file_error;

/// The part of a workbook that holds the mark, and its name there. Programs that save the workbook keep it.
///
/// The mark says which rows the workbook has: a crash after the workbook was written and before the file of rows was
/// removed must not add them twice. The file of rows has a mark of its own, which the workbook gets with the rows.
pub(super) const MARK_PART: &str = "docProps/custom.xml";
pub(super) const MARK_NAME: &str = "Ergon rows";

/// What a line with a mark begins with, behind the quote.
const MARK: &str = "rows:";

/// Makes a mark that no other file of rows has.
pub(super) fn new_mark() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// The mark as a line of the file of rows.
pub(super) fn mark_line(mark: &str) -> String {
    format!("\"{MARK}{mark}\"")
}

fn mark_of(line: &[u8]) -> Option<String> {
    let text: String = serde_json::from_slice(line).ok()?;
    text.strip_prefix(MARK).map(str::to_owned)
}

/// A row, and the transaction that it was made of.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Saved<'a> {
    pub(super) id: Cow<'a, str>,
    pub(super) row: Cow<'a, [Value]>,
}

/// What a line says.
#[derive(Debug)]
pub(super) enum Line {
    Names(Vec<String>),
    Row(Vec<Value>),
    /// Which rows the workbook has when it has these; see [`MARK_PART`].
    Mark(String),
}

/// The lines of an unfinished workbook, read from the front.
pub(super) struct Lines {
    path: PathBuf,
    split: std::io::Split<BufReader<File>>,
    /// The columns were read.
    named: bool,
}

/// Where the rows of a workbook stand until it is finished.
pub(super) fn beside(workbook: &Path) -> PathBuf {
    let mut path = workbook.as_os_str().to_owned();
    path.push(".partial");
    path.into()
}

impl Lines {
    pub(super) fn open(path: &Path) -> Result<Self, ConnectorError> {
        let file = File::open(path).map_err(|error| file_error("read", path, error))?;
        Ok(Self { path: path.to_owned(), split: BufReader::new(file).split(b'\n'), named: false })
    }

    /// The cells of the next row.
    pub(super) fn row(&mut self) -> Result<Option<Vec<Value>>, ConnectorError> {
        while let Some((line, _)) = self.next()? {
            if let Line::Row(row) = line {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// The next line that is whole, and its bytes: half a line is of a dispatch that never returned.
    pub(super) fn next(&mut self) -> Result<Option<(Line, Vec<u8>)>, ConnectorError> {
        for bytes in &mut self.split {
            let bytes = bytes.map_err(|error| file_error("read", &self.path, error))?;
            if let Some(line) = parse(&bytes, self.named) {
                self.named |= matches!(line, Line::Names(_));
                return Ok(Some((line, bytes)));
            }
        }
        Ok(None)
    }
}

fn parse(bytes: &[u8], named: bool) -> Option<Line> {
    match bytes.first()? {
        b'{' => {
            let saved = serde_json::from_slice::<Saved<'_>>(bytes).ok()?;
            Some(Line::Row(saved.row.into_owned()))
        }
        b'[' if named => serde_json::from_slice(bytes).ok().map(Line::Row),
        b'[' => serde_json::from_slice(bytes).ok().map(Line::Names),
        b'"' => mark_of(bytes).map(Line::Mark),
        _ => None,
    }
}

pub(super) fn json<T: Serialize + ?Sized>(value: &T, line: &mut Vec<u8>) -> Result<(), ConnectorError> {
    serde_json::to_writer(line, value)
        .map_err(|error| ConnectorError::permanent("the row cannot be written").with_source(error))
}
