//! Reads the cells of a sheet in order. A caller can look at the next cells before it consumes them, for example to
//! find the header below a title.

use std::collections::VecDeque;
use std::io::BufReader;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use calamine::{XlsxCellReader, XlsxError};
use serde_json::Value;

use super::cell::{self, BadCell, Dates};
use super::parts::{self, Shared};
use super::scan::Scan;
use super::workbook::Workbook;
use super::{DateFormat, error};
use crate::connector::ConnectorError;

/// The limit of cells that a caller can look at before it consumes them.
const MOST_AHEAD: usize = 1 << 16;

/// A cell that has a value, or a value that cannot be read.
#[derive(Debug)]
pub(super) struct Cell {
    /// The row, counted from 1.
    pub(super) row: u32,
    /// The column, counted from 0.
    pub(super) column: u32,
    pub(super) value: Result<Value, BadCell>,
}

impl Cell {
    /// Returns whether the cell shows nothing: text of white space alone.
    pub(super) fn is_blank(&self) -> bool {
        matches!(&self.value, Ok(Value::String(text)) if text.trim().is_empty())
    }
}

/// Reads the cells of a sheet.
pub(super) struct Cells<'a> {
    pub(super) path: &'a Path,
    pub(super) sheet: Arc<str>,
    pub(super) dates: Dates,
    reader: XlsxCellReader<'a, BufReader<Shared>>,
    scan: Scan<'a>,
    ahead: VecDeque<Cell>,
    /// The reason why no cell follows those ahead.
    failed: Option<ConnectorError>,
    /// The row of the last cell, counted from 1.
    row: u32,
    ended: bool,
}

impl<'a> Cells<'a> {
    pub(super) fn new(
        workbook: &'a mut Workbook,
        path: &'a Path,
        (place, sheet): (usize, &str),
        format: DateFormat,
    ) -> Result<Self, ConnectorError> {
        let from_1904 = workbook.xlsx.has_1904_epoch();
        let reader =
            workbook.xlsx.worksheet_cells_reader(sheet).map_err(|cause| error::unreadable(path, cause))?;
        let missing = || error::damaged(path, format!("the part of sheet `{sheet}` is not there"));
        let name = parts::sheet_part(&mut workbook.parts, place).ok_or_else(missing)?;
        let xml = parts::part(&mut workbook.parts, &name).ok_or_else(missing)?;
        let mut cells = Self {
            path,
            sheet: sheet.into(),
            dates: Dates { format, from_1904 },
            reader,
            scan: Scan::new(xml),
            ahead: VecDeque::new(),
            failed: None,
            row: 0,
            ended: false,
        };
        cells.fill()?;
        Ok(cells)
    }

    /// Returns the row of the next cell, if there is one.
    pub(super) fn next_row(&self) -> Option<u32> {
        self.ahead.front().map(|cell| cell.row)
    }

    /// Takes the next cell if it is in this row.
    pub(super) fn take(&mut self, row: u32) -> Result<Option<Cell>, ConnectorError> {
        if self.next_row() != Some(row) {
            return Ok(None);
        }
        let cell = self.ahead.pop_front();
        self.fill()?;
        Ok(cell)
    }

    /// Returns the cells of the next rows that are not blank, as far as they can be read.
    pub(super) fn look_at(&mut self, rows: usize) -> Vec<Vec<&Cell>> {
        let (mut seen, mut last) = (0, 0);
        let mut index = 0;
        loop {
            while let Some(cell) = self.ahead.get(index) {
                index += 1;
                if cell.row != last && !cell.is_blank() {
                    (seen, last) = (seen + 1, cell.row);
                }
            }
            // A cell of a later row proves that the rows before it are complete.
            if seen > rows || index >= MOST_AHEAD || !self.read_ahead() {
                break;
            }
        }
        let shown = self.ahead.iter().filter(|cell| !cell.is_blank()).collect::<Vec<_>>();
        shown.chunk_by(|one, next| one.row == next.row).take(rows).map(<[_]>::to_vec).collect()
    }

    /// Reads the next cell ahead, if there is one.
    fn fill(&mut self) -> Result<(), ConnectorError> {
        if self.ahead.is_empty() {
            self.read_ahead();
        }
        match self.failed.take() {
            Some(error) if self.ahead.is_empty() => Err(error),
            failed => {
                self.failed = failed;
                Ok(())
            }
        }
    }

    fn read_ahead(&mut self) -> bool {
        if self.ended {
            return false;
        }
        // Cells with a format and no value are often many, and carry no content.
        let read = loop {
            match self.read() {
                Ok(Some(Cell { value: Ok(Value::Null), .. })) => {}
                read => break read,
            }
        };
        match read {
            Ok(Some(cell)) => self.ahead.push_back(cell),
            Ok(None) => self.ended = true,
            Err(error) => (self.ended, self.failed) = (true, Some(error)),
        }
        !self.ended
    }

    fn read(&mut self) -> Result<Option<Cell>, ConnectorError> {
        let (path, sheet, after) = (self.path, &self.sheet, self.row);
        let stopped = |cause| error::stopped(path, sheet, after, cause);
        // The library may panic on content that no program writes. After a panic it is not called again.
        let panicked = XlsxError::Unexpected("the library that reads workbooks panicked there");
        let read = catch_unwind(AssertUnwindSafe(|| self.reader.next_cell())).unwrap_or(Err(panicked));
        let read = match read {
            Ok(None) => return Ok(None),
            Ok(Some(cell)) => Ok(cell),
            Err(error) => Err(error),
        };
        let Some(facts) = self.scan.next() else {
            return Err(stopped(
                read.err().unwrap_or(XlsxError::Unexpected("the cells cannot be told apart")),
            ));
        };
        let styles = self.reader.styles();
        let is_time = || {
            let style = facts.style.and_then(|style| styles.get(style));
            let format = style.and_then(|style| style.number_format.as_ref());
            format.is_some_and(|format| cell::shows_time_only(&format.format_code))
        };
        let value = match read {
            Ok(cell) => cell::value(cell.get_value(), facts, self.dates, is_time),
            Err(error) => Err(cell::unread(error, facts).map_err(stopped)?),
        };
        if facts.row < self.row {
            return Err(stopped(XlsxError::Unexpected("rows are not in order")));
        }
        self.row = facts.row;
        Ok(Some(Cell { row: facts.row, column: facts.column, value }))
    }
}

/// Returns the row of the next cell that is not blank.
pub(super) fn next_content(cells: &mut Cells<'_>) -> Result<Option<u32>, ConnectorError> {
    while let Some(row) = cells.next_row() {
        if cells.take(row)?.is_some_and(|cell| !cell.is_blank()) {
            return Ok(Some(row));
        }
    }
    Ok(None)
}
