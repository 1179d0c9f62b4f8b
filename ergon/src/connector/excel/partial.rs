//! Keeps the rows of an unfinished workbook in a file of JSON lines next to the workbook, so that a crash loses no row.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::ExcelConfig;
use super::existing::Existing;
use super::lines::{self, Line, Lines, Saved, json, mark_line, new_mark};
use super::recovered::Recovered;
use super::writer::{NewRows, Places};
use crate::connector::ConnectorError;
use crate::connector::kit::file::{
    AppendFile, Batch, Ending, Tail, WriteOptions, cells, display_path, file_error, in_order, named,
};
use crate::transaction::Transaction;

/// The limit of rows in a sheet, the header included.
const MOST_ROWS: u32 = 1_048_576;
const MOST_COLUMNS: usize = 16_384;
/// The limit of UTF-16 units in a cell of Excel.
const LONGEST_TEXT: usize = 32_767;

/// The rows of an unfinished workbook. Its lock on the file keeps other sinks away.
#[derive(Debug)]
pub(super) struct Partial {
    path: PathBuf,
    /// The mark of these rows; see [`MARK_PART`](super::lines::MARK_PART).
    mark: Option<String>,
    /// The columns, known from the first transaction on.
    names: Option<Arc<[String]>>,
    /// The owner of the columns, if they are not those of a transaction of this run.
    named_by: Option<String>,
    /// The number of rows.
    rows: u64,
    /// The limit of rows.
    room: u64,
    recovered: Recovered,
    /// The size of the workbook to which these rows are added.
    workbook: u64,
    /// Whether the file has the columns.
    headed: bool,
    /// Whether the run has started. Until then all files stay as they are.
    started: bool,
}

impl Partial {
    /// Opens the file of rows next to a workbook, and keeps the rows of an unfinished run. If rows are added to an
    /// existing workbook, its columns are used.
    pub(super) fn open(
        config: &ExcelConfig,
        kept: Option<Existing>,
    ) -> Result<(AppendFile, Self), ConnectorError> {
        let path = lines::beside(&config.path);
        let mut file = claim(&path, &config.path)?;
        let mut partial = Self {
            path,
            mark: None,
            names: None,
            named_by: None,
            rows: 0,
            room: 0,
            recovered: Recovered::default(),
            workbook: if kept.is_some() { config.path.metadata().map_or(0, |file| file.len()) } else { 0 },
            headed: false,
            started: false,
        };
        partial.take_over(kept.as_ref().and_then(|kept| kept.mark.as_deref()), &mut file)?;
        let names = kept.as_ref().and_then(|kept| kept.names.clone());
        let own = partial.names.clone().or_else(|| names.clone()).unwrap_or_default();
        let places = Places::new(config, kept, &own)?;
        partial.room = u64::from(MOST_ROWS.saturating_sub(places.row));
        if let (None, Some(names)) = (&partial.names, names) {
            partial.named_by = Some(display_path(&config.path));
            partial.names = Some(names);
        }
        Ok((file, partial))
    }

    /// Takes over the existing rows, unless the workbook already has them.
    fn take_over(&mut self, in_workbook: Option<&str>, rows: &mut AppendFile) -> Result<(), ConnectorError> {
        let mut lines = Lines::open(&self.path)?;
        while let Some((line, bytes)) = lines.next()? {
            match line {
                Line::Mark(mark) => self.mark = Some(mark),
                Line::Names(names) => self.names = Some(names.into()),
                Line::Row(_) => {
                    self.rows += 1;
                    self.recovered.add(&bytes);
                }
            }
        }
        let file = self.path.display();
        if self.mark.is_some() && self.mark.as_deref() == in_workbook {
            (self.mark, self.names, self.rows, self.recovered) = (None, None, 0, Recovered::default());
            rows.empty()?;
        } else if self.names.is_some() {
            self.named_by = Some(display_path(&self.path));
            tracing::info!(%file, rows = self.rows, "rows of an unfinished run are taken over");
        }
        self.headed = self.names.is_some();
        Ok(())
    }

    /// Records that the run has started.
    pub(super) fn start(&mut self) {
        self.started = true;
    }

    /// Returns the bytes of all rows. The bytes of the workbook's rows are an estimate, because the workbook is
    /// compressed.
    pub(super) fn bytes(&self) -> u64 {
        const PACKED: u64 = 10;
        let rows = self.path.metadata().map_or(0, |metadata| metadata.len());
        rows.saturating_add(self.workbook.saturating_mul(PACKED))
    }

    /// Adds a transaction as a line. Returns `false` for a line that an unfinished run has already written.
    pub(super) fn encode(
        &mut self,
        transaction: &Transaction,
        line: &mut Vec<u8>,
        file: &mut AppendFile,
    ) -> Result<bool, ConnectorError> {
        self.start();
        let full = self.rows >= self.room;
        let begins = line.len();
        let row = self.row(transaction, file)?;
        json(&Saved { id: transaction.id().into(), row: row.into() }, line)?;
        if self.recovered.brings_again(line.get(begins..).unwrap_or_default()) {
            return Ok(false);
        }
        if full {
            return Err(self.full());
        }
        // After a failed write the file may have fewer rows. The sheet then counts as full a little early.
        self.rows += 1;
        Ok(true)
    }

    fn full(&self) -> ConnectorError {
        ConnectorError::permanent(format!("the sheet is full: it has room for {} rows", self.room))
            .with_hint("write to a file of JSON lines or CSV")
    }

    fn row(
        &mut self,
        transaction: &Transaction,
        file: &mut AppendFile,
    ) -> Result<Vec<Value>, ConnectorError> {
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
            None => self.decide_on(cells.keys().cloned().collect(), transaction)?,
        };
        if !self.headed {
            self.head(&names, file)?;
        }
        in_order(cells, &names, transaction).map_err(|error| match &self.named_by {
            Some(file) => error.with_hint(format!(
                "the columns are those in {file}, which is of an earlier run; give every transaction the same names, or \
                 move that file away to begin afresh"
            )),
            None => error,
        })
    }

    fn decide_on(
        &mut self,
        names: Vec<String>,
        transaction: &Transaction,
    ) -> Result<Arc<[String]>, ConnectorError> {
        named(&names, transaction)?;
        if names.len() > MOST_COLUMNS {
            let message = format!("the first transaction has {} columns", names.len());
            return Err(
                ConnectorError::permanent(message).with_hint(format!("a sheet has at most {MOST_COLUMNS}"))
            );
        }
        Ok(Arc::clone(self.names.insert(names.into())))
    }

    /// Writes the mark and the columns before the first row.
    fn head(&mut self, names: &[String], file: &mut AppendFile) -> Result<(), ConnectorError> {
        let mark = new_mark();
        let mut head = Batch::default();
        head.add(|line| {
            line.extend_from_slice(mark_line(&mark).as_bytes());
            Ok(())
        });
        head.add(|line| json(names, line));
        file.append(&mut head, |_, tail| Ok(ending(tail)))?;
        (self.mark, self.headed) = (Some(mark), true);
        Ok(())
    }

    /// Finishes the workbook with `write`, and removes the file. If the run never started, all files stay as they
    /// are.
    pub(super) fn finish(
        self,
        mut file: AppendFile,
        write: impl FnOnce(NewRows<'_>) -> Result<(), ConnectorError>,
    ) -> Result<(), ConnectorError> {
        if self.rows > 0
            && let Some(names) = &self.names
        {
            if !self.started {
                return Ok(());
            }
            file.finish()?;
            self.recovered.log(&self.path);
            write(NewRows { names, rows: Lines::open(&self.path)?, mark: self.mark.as_deref() })?;
        }
        match std::fs::remove_file(&self.path) {
            Err(error) if self.rows > 0 || error.kind() != io::ErrorKind::NotFound => {
                Err(file_error("remove", &self.path, error))
            }
            _ => Ok(()),
        }
    }
}

/// Returns the treatment of the file's end. An incomplete line belongs to a dispatch that never returned, and is
/// skipped when the rows are read.
pub(super) fn ending(tail: Tail) -> Ending {
    if tail.ended { Ending::Whole } else { Ending::Unended }
}

/// Opens the file of rows for this sink alone. A sink that ends removes its file. If this sink had opened the removed
/// file, it tries again with a new file.
fn claim(path: &Path, workbook: &Path) -> Result<AppendFile, ConnectorError> {
    let options = WriteOptions::default();
    loop {
        let Some(file) = AppendFile::open_alone(path, options)? else {
            let (path, workbook) = (display_path(path), display_path(workbook));
            let message = format!("another sink is writing to {workbook}: it holds {path}");
            return Err(ConnectorError::permanent(message).with_hint(
                "let one task in one process write to a workbook at a time, or give each a workbook of its own",
            ));
        };
        if file.is_at_its_path()? {
            return Ok(file);
        }
    }
}
