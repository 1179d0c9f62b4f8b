//! The rows of a workbook that is not finished: a file of JSON lines beside it, so that a crash loses none.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::ExcelConfig;
use super::lines::{self, Line, Lines, Saved, json};
use super::rows::Rows;
use super::taken::Taken;
use super::workbook::open_workbook;
use crate::connector::file::{
    AppendFile, Batch, ByteSize, Fsync, Mode, cannot, cells, in_order, named, shown,
};
use crate::connector::{ConnectorError, Shard};
use crate::transaction::Transaction;

/// How many rows a sheet may have, its header among them.
const MOST_ROWS: u32 = 1_048_576;
const MOST_COLUMNS: usize = 16_384;
/// How many UTF-16 units Excel lets a cell hold.
const LONGEST_TEXT: usize = 32_767;
/// How many rows of a workbook are copied with one write.
const COPIED_AT_ONCE: usize = 1000;

/// Rows that wait for the workbook's end. As long as it lives, no other sink has its file.
#[derive(Debug)]
pub(super) struct Partial {
    path: PathBuf,
    file: AppendFile,
    /// Known from the first transaction on.
    names: Option<Arc<[String]>>,
    /// Whose columns they are, if not those of a transaction of this run.
    named_by: Option<String>,
    /// How many rows there are.
    rows: u64,
    /// How many there may be.
    room: u64,
    taken: Taken,
    /// The workbook whose rows come before those of this run, until they are copied.
    earlier: Option<ExcelConfig>,
    /// The run takes place; else what there is has to stay as it is.
    begun: bool,
}

impl Partial {
    /// Opens the file beside a workbook; rows of a run that did not come to its end are kept. A run that goes on with
    /// what there is begins with the rows of the workbook.
    pub(super) fn open(config: &ExcelConfig, resumes: bool) -> Result<Self, ConnectorError> {
        let path = lines::beside(&config.path);
        let mut partial = Self {
            file: claim(&path, &config.path)?,
            path,
            names: None,
            named_by: None,
            rows: 0,
            room: u64::from(MOST_ROWS.saturating_sub(config.header_row)),
            taken: Taken::default(),
            earlier: None,
            begun: false,
        };
        partial.take_over()?;
        // Rows that are there already are those of the run that is gone on with.
        partial.earlier = (resumes && partial.names.is_none()).then(|| config.clone());
        Ok(partial)
    }

    fn take_over(&mut self) -> Result<(), ConnectorError> {
        let mut lines = Lines::open(&self.path)?;
        let mut copying = false;
        while let Some((line, bytes)) = lines.next()? {
            match line {
                Line::Copying => copying = true,
                Line::Copied => copying = false,
                Line::Names(names) => self.names = Some(names.into()),
                Line::Row(_) => {
                    self.rows += 1;
                    self.taken.add(&bytes);
                }
            }
        }
        let file = self.path.display();
        if copying {
            // All of it stands in the workbook yet.
            (self.names, self.rows) = (None, 0);
            self.file.empty()?;
        } else if self.names.is_some() {
            self.named_by = Some(shown(&self.path));
            tracing::info!(%file, rows = self.rows, "rows of an unfinished run are taken over");
        }
        Ok(())
    }

    /// Takes in that the run takes place.
    pub(super) fn begin(&mut self) {
        self.begun = true;
    }

    /// Says whether the next rows have to wait until those of a workbook are copied.
    pub(super) fn may_wait(&self) -> bool {
        self.earlier.is_some()
    }

    /// How many bytes of rows there are.
    pub(super) fn bytes(&self) -> u64 {
        self.path.metadata().map_or(0, |metadata| metadata.len())
    }

    /// Adds the transactions that fit the columns, and says which do not.
    pub(super) fn append(&mut self, transactions: &[Transaction]) -> Result<(), ConnectorError> {
        self.begin();
        if let Some(config) = &self.earlier {
            self.copy(&config.clone())?;
            self.earlier = None;
        }
        let mut batch = Batch::default();
        for transaction in transactions {
            let full = self.rows + batch.lines() as u64 >= self.room;
            batch.offer(|line| {
                let begins = line.len();
                let row = self.row(transaction)?;
                json(&Saved { id: transaction.id().into(), row: row.into() }, line)?;
                let again = self.taken.brings_again(line.get(begins..).unwrap_or_default());
                if full && !again { Err(self.full()) } else { Ok(!again) }
            });
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
            None => self.decide_on(cells.keys().cloned().collect(), transaction)?,
        };
        in_order(cells, &names, transaction).map_err(|error| match &self.named_by {
            Some(file) => error.with_hint(format!(
                "the columns are those of the rows in {file}, which are of an earlier run; give every transaction the \
                 same names, or move that file away to begin afresh"
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
        self.head(names.into())
    }

    fn head(&mut self, names: Arc<[String]>) -> Result<Arc<[String]>, ConnectorError> {
        let mut head = Batch::default();
        head.add(|line| json(&*names, line));
        self.file.append(head)?;
        Ok(Arc::clone(self.names.insert(names)))
    }

    /// Puts the rows of the workbook, if there is one, before those of this run. A copy that is not whole is none: the
    /// next one begins it anew.
    fn copy(&mut self, config: &ExcelConfig) -> Result<(), ConnectorError> {
        if !config.path.exists() {
            return Ok(());
        }
        // What this sink has written may be larger than what a source would trust.
        let config = ExcelConfig {
            filter: None,
            max_rows: None,
            max_bytes: ByteSize::new(u64::MAX),
            ..config.clone()
        };
        let copied = self.copy_rows(&config);
        if copied.is_err() {
            (self.names, self.rows) = (None, 0);
            self.file.empty()?;
        }
        copied
    }

    fn copy_rows(&mut self, config: &ExcelConfig) -> Result<(), ConnectorError> {
        let mut workbook = open_workbook(config)?;
        let mut rows = Rows::new(&mut workbook, config, Shard::default())?;
        self.mark(lines::COPYING)?;
        self.head(Arc::clone(&rows.table().names))?;
        let mut batch = Batch::default();
        while let Some(row) = rows.next()? {
            if let Some(reason) = row.broken {
                let message = format!("{} cannot be gone on with: {reason}", shown(&config.path));
                return Err(ConnectorError::permanent(message)
                    .with_hint("correct it in the workbook, or move the workbook away"));
            }
            batch.add(|line| json(&row.cells, line));
            self.rows += 1;
            if batch.lines() >= COPIED_AT_ONCE {
                self.file.append(std::mem::take(&mut batch))?;
            }
        }
        self.file.append(batch)?;
        self.mark(lines::COPIED)?;
        self.named_by = Some(shown(&config.path));
        tracing::info!(file = %config.path.display(), rows = self.rows, "rows of the workbook are gone on with");
        Ok(())
    }

    fn mark(&mut self, mark: &str) -> Result<(), ConnectorError> {
        let mut batch = Batch::default();
        batch.add(|line| {
            line.extend_from_slice(mark.as_bytes());
            Ok(())
        });
        self.file.append(batch)
    }

    /// Finishes the workbook by `write`, and removes the file. Of a run that never began, all stays as it is.
    pub(super) fn finish(
        self,
        write: impl FnOnce(&[String], Lines) -> Result<(), ConnectorError>,
    ) -> Result<(), ConnectorError> {
        let names = self.names.filter(|_| self.rows > 0);
        if let Some(names) = names {
            if !self.begun {
                return Ok(());
            }
            self.taken.tell(&self.path);
            write(&names, Lines::open(&self.path)?)?;
        }
        std::fs::remove_file(&self.path).map_err(|error| cannot("remove", &self.path, error))
    }
}

/// Opens the file of rows for this sink alone. A sink that ends takes the file away: who had opened it by then opens
/// the next one.
fn claim(path: &Path, workbook: &Path) -> Result<AppendFile, ConnectorError> {
    let mode = Mode { create: true, append: true, fsync: Fsync::End };
    loop {
        let file = AppendFile::open(path, mode)?;
        if !file.claim()? {
            let (path, workbook) = (shown(path), shown(workbook));
            let message = format!("another sink is writing to {workbook}: it holds {path}");
            return Err(ConnectorError::permanent(message).with_hint(
                "let one task in one process write to a workbook at a time, or give each a workbook of its own",
            ));
        }
        if file.is_at_its_place()? {
            return Ok(file);
        }
    }
}
