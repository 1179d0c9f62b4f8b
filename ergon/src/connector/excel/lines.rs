//! The format of the file `.partial`, which holds the rows of an unfinished workbook: a mark and the columns first,
//! then one row on each line.

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
/// The mark identifies the rows that the workbook has. After a crash between writing the workbook and removing the
/// file of rows, the next run must not add the rows a second time. The file of rows has its own mark, which the
/// workbook gets together with the rows.
pub(super) const MARK_PART: &str = "docProps/custom.xml";
pub(super) const MARK_NAME: &str = "Ergon rows";

/// The start of a line with a mark, after the quote.
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

/// A row, and the id of its transaction.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Saved<'a> {
    pub(super) id: Cow<'a, str>,
    pub(super) row: Cow<'a, [Value]>,
}

/// The content of a line.
#[derive(Debug)]
pub(super) enum Line {
    Names(Vec<String>),
    Row(Vec<Value>),
    /// The mark of the rows; see [`MARK_PART`].
    Mark(String),
}

/// The lines of an unfinished workbook, read from the front.
pub(super) struct Lines {
    path: PathBuf,
    split: std::io::Split<BufReader<File>>,
    /// Whether the columns were read.
    named: bool,
}

/// Returns the path of the file that has the rows until the workbook is finished.
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

    /// Returns the cells of the next row.
    pub(super) fn row(&mut self) -> Result<Option<Vec<Value>>, ConnectorError> {
        while let Some((line, _)) = self.next()? {
            if let Line::Row(row) = line {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// Returns the next complete line and its bytes. An incomplete line belongs to a dispatch that never returned.
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
