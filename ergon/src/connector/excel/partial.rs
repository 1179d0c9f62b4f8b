//! The rows of a workbook that is not finished: a file of JSON lines beside it, so that a crash loses none.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::connector::ConnectorError;
use crate::connector::file::{AppendFile, Batch, Fsync, Mode, cannot, cells, in_order};
use crate::transaction::Transaction;

/// How many rows a sheet may have, its header among them.
const MOST_ROWS: u32 = 1_048_576;
const MOST_COLUMNS: usize = 16_384;
/// How many UTF-16 units Excel lets a cell hold.
const LONGEST_TEXT: usize = 32_767;

/// Rows that wait for the workbook's end.
#[derive(Debug)]
pub(super) struct Partial {
    path: PathBuf,
    file: AppendFile,
    /// Known from the first transaction on.
    names: Option<Arc<[String]>>,
    /// How many rows there are.
    rows: u64,
    /// How many there may be.
    room: u64,
}

/// The rows of an unfinished workbook, read from the front.
pub(super) struct Lines {
    path: PathBuf,
    lines: std::io::Split<BufReader<File>>,
}

impl Partial {
    /// Opens the file beside a workbook; rows of a run that did not come to its end are kept.
    pub(super) fn open(workbook: &Path, header_row: u32) -> Result<Self, ConnectorError> {
        let mut path = workbook.as_os_str().to_owned();
        path.push(".partial");
        let path = PathBuf::from(path);
        let mode = Mode { create: true, append: true, fsync: Fsync::End };
        let file = AppendFile::open(&path, mode)?;
        let (mut names, mut rows) = (None, 0);
        let mut lines = Lines::open(&path)?;
        if let Some(first) = lines.names()? {
            names = Some(first.into());
            while lines.row()?.is_some() {
                rows += 1;
            }
            tracing::info!(file = %path.display(), rows, "rows of an unfinished run are taken over");
        }
        Ok(Self { path, file, names, rows, room: u64::from(MOST_ROWS.saturating_sub(header_row)) })
    }

    /// Adds the transactions that fit the columns, and says which do not.
    pub(super) fn append(&mut self, transactions: &[Transaction]) -> Result<(), ConnectorError> {
        let mut batch = Batch::default();
        for transaction in transactions {
            let full = self.rows + batch.lines() as u64 >= self.room;
            batch.add(|line| if full { Err(self.full()) } else { json(&self.row(transaction)?, line) });
        }
        // Of a write that failed, what is in the file may be less; then the sheet is full a little early.
        self.rows += batch.lines() as u64;
        self.file.append(batch)
    }

    fn full(&self) -> ConnectorError {
        ConnectorError::permanent(format!("the sheet is full: it has room for {} rows", self.room))
            .with_hint("write to a file of JSON lines or CSV")
    }

    fn row(&mut self, transaction: &Transaction) -> Result<Vec<Value>, ConnectorError> {
        let cells = cells(transaction)?;
        for (name, value) in &cells {
            let length = match value {
                Value::String(text) => text.encode_utf16().count(),
                Value::Array(_) | Value::Object(_) => value.to_string().encode_utf16().count(),
                _ => 0,
            };
            if length.max(name.encode_utf16().count()) > LONGEST_TEXT {
                let id = transaction.id();
                let message = format!("transaction `{id}` has {length} characters in `{name}`");
                return Err(ConnectorError::permanent(message)
                    .with_hint(format!("a cell holds at most {LONGEST_TEXT}; shorten the text")));
            }
        }
        let names = match &self.names {
            Some(names) => Arc::clone(names),
            None => self.decide_on(cells.keys().cloned().collect())?,
        };
        in_order(cells, &names, transaction)
    }

    fn decide_on(&mut self, names: Vec<String>) -> Result<Arc<[String]>, ConnectorError> {
        let found = names.len();
        if found == 0 || found > MOST_COLUMNS {
            let message = format!("the first transaction has {found} columns");
            return Err(ConnectorError::permanent(message)
                .with_hint(format!("a sheet has at least 1 and at most {MOST_COLUMNS}")));
        }
        let mut head = Batch::default();
        head.add(|line| json(&names, line));
        self.file.append(head)?;
        Ok(Arc::clone(self.names.insert(names.into())))
    }

    /// Starts to read what there is, from the front; nothing if there is no row.
    pub(super) fn lines(&self) -> Result<Option<(Vec<String>, Lines)>, ConnectorError> {
        let mut lines = Lines::open(&self.path)?;
        Ok(lines.names()?.map(|names| (names, lines)))
    }

    /// Removes the file: its rows are in the workbook, or there were none.
    pub(super) fn remove(self) -> Result<(), ConnectorError> {
        std::fs::remove_file(&self.path).map_err(|error| cannot("remove", &self.path, error))
    }
}

impl Lines {
    fn open(path: &Path) -> Result<Self, ConnectorError> {
        let file = File::open(path).map_err(|error| cannot("read", path, error))?;
        Ok(Self { path: path.to_owned(), lines: BufReader::new(file).split(b'\n') })
    }

    fn names(&mut self) -> Result<Option<Vec<String>>, ConnectorError> {
        self.next()
    }

    pub(super) fn row(&mut self) -> Result<Option<Vec<Value>>, ConnectorError> {
        self.next()
    }

    /// The next line that is whole: half a line is of a dispatch that never returned.
    fn next<T: serde::de::DeserializeOwned>(&mut self) -> Result<Option<T>, ConnectorError> {
        for line in &mut self.lines {
            let line = line.map_err(|error| cannot("read", &self.path, error))?;
            if let Ok(value) = serde_json::from_slice(&line) {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }
}

fn json<T: serde::Serialize + ?Sized>(value: &T, line: &mut Vec<u8>) -> Result<(), ConnectorError> {
    serde_json::to_writer(line, value)
        .map_err(|error| ConnectorError::permanent("the row cannot be written").with_source(error))
}
