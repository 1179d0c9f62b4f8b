//! A sheet's cells, put together into rows.

use std::fs::File;
use std::io::BufReader;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use calamine::{Cell, DataRef, XlsxCellReader, XlsxError};
use serde_json::Value;

use super::workbook::Workbook;
use super::{DateFormat, ExcelConfig, cell, error};
use crate::connector::{ConnectorError, Shard};

/// A sheet and its header.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) sheet: Arc<str>,
    pub(super) names: Arc<[String]>,
    /// The column of the first name; columns count from 0.
    first: u32,
}

/// One row that is not blank.
#[derive(Debug)]
pub(super) struct Row {
    /// As Excel counts: the first is 1.
    pub(super) number: u32,
    pub(super) cells: Vec<Value>,
    /// Why the row cannot be decoded.
    pub(super) broken: Option<String>,
}

/// Reads a sheet row by row, of which one worker's share is kept and what the filter lets through.
pub(super) struct Rows<'a> {
    cells: Cells<'a>,
    table: Table,
    dates: DateFormat,
    filter: Option<(usize, Value)>,
    shard: Shard,
    header_row: u32,
    last_row: u32,
}

/// The cells of a sheet, in order, with the next one to be looked at before it is taken.
struct Cells<'a> {
    path: &'a Path,
    sheet: Arc<str>,
    reader: XlsxCellReader<'a, BufReader<File>>,
    next: Option<Cell<DataRef<'a>>>,
    /// The row of the cell that was read last; rows count from 1.
    row: u32,
}

impl<'a> Cells<'a> {
    fn new(workbook: &'a mut Workbook, path: &'a Path, sheet: &str) -> Result<Self, ConnectorError> {
        let reader =
            workbook.worksheet_cells_reader(sheet).map_err(|cause| error::unreadable(path, cause))?;
        let mut cells = Self { path, sheet: sheet.into(), reader, next: None, row: 0 };
        cells.advance()?;
        Ok(cells)
    }

    /// The row of the next cell, if there is one.
    fn next_row(&self) -> Option<u32> {
        self.next.as_ref().map(|cell| cell.get_position().0 + 1)
    }

    /// Takes the next cell if it is in this row.
    fn take(&mut self, row: u32) -> Result<Option<Cell<DataRef<'a>>>, ConnectorError> {
        if self.next_row() != Some(row) {
            return Ok(None);
        }
        let cell = self.next.take();
        self.advance()?;
        Ok(cell)
    }

    fn advance(&mut self) -> Result<(), ConnectorError> {
        let stopped = |cause| error::stopped(self.path, &self.sheet, self.row, cause);
        // The library may panic at content that no program writes; after that nothing more is asked of it.
        let next = catch_unwind(AssertUnwindSafe(|| self.reader.next_cell()));
        let panicked = XlsxError::Unexpected("the library that reads workbooks panicked there");
        self.next = next.unwrap_or(Err(panicked)).map_err(stopped)?;
        let row = self.next_row().unwrap_or(self.row);
        if row < self.row {
            return Err(stopped(XlsxError::Unexpected("rows are not in order")));
        }
        self.row = row;
        Ok(())
    }
}

impl<'a> Rows<'a> {
    /// Opens a sheet and reads its header.
    pub(super) fn new(
        workbook: &'a mut Workbook,
        config: &'a ExcelConfig,
        shard: Shard,
    ) -> Result<Self, ConnectorError> {
        let sheet = super::workbook::sheet(workbook, config)?;
        let mut cells = Cells::new(workbook, &config.path, &sheet)?;
        let table = header(&mut cells, config.header_row)?;
        let filter = match &config.filter {
            None => None,
            Some(filter) => {
                let column = table.names.iter().position(|name| *name == filter.column).ok_or_else(|| {
                    error::no_column(&config.path, &table.sheet, &filter.column, &table.names)
                })?;
                Some((column, filter.equals.clone()))
            }
        };
        let last_row = config.header_row.saturating_add(config.max_rows.unwrap_or(u32::MAX));
        let (dates, header_row) = (config.date_format, config.header_row);
        Ok(Self { cells, table, dates, filter, shard, header_row, last_row })
    }

    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    /// Reads up to the next row that is to be handed out.
    pub(super) fn next(&mut self) -> Result<Option<Row>, ConnectorError> {
        while let Some(number) = self.cells.next_row().filter(|row| *row <= self.last_row) {
            let index = number.saturating_sub(self.header_row).saturating_sub(1);
            if !self.shard.owns(u64::from(index)) {
                while self.cells.take(number)?.is_some() {}
                continue;
            }
            let row = self.row(number)?;
            if row.broken.is_some() || (!row.is_blank() && self.passes(&row)) {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// Says, after the last row, whether `max_rows` was the reason.
    pub(super) fn more_below(&self) -> bool {
        self.cells.next.is_some()
    }

    fn row(&mut self, number: u32) -> Result<Row, ConnectorError> {
        let mut row = Row { number, cells: vec![Value::Null; self.table.names.len()], broken: None };
        while let Some(cell) = self.cells.take(number)? {
            let column = cell.get_position().1;
            let value = cell::value(cell.get_value(), self.dates).unwrap_or_else(|bad| {
                let place = format!("cell {} of sheet `{}`", cell::name(column, number), self.table.sheet);
                row.broken.get_or_insert_with(|| format!("{place} holds {}", bad.0));
                Value::String(bad.0)
            });
            let place =
                column.checked_sub(self.table.first).and_then(|place| row.cells.get_mut(place as usize));
            match place {
                Some(place) => *place = value,
                None if is_blank(&value) => {}
                None => {
                    let (name, sheet) = (cell::name(column, number), &self.table.sheet);
                    let reason = || {
                        format!("cell {name} of sheet `{sheet}` holds {value}, but its column has no name")
                    };
                    row.broken.get_or_insert_with(reason);
                }
            }
        }
        Ok(row)
    }

    fn passes(&self, row: &Row) -> bool {
        let Some((column, wanted)) = &self.filter else { return true };
        match (row.cells.get(*column), wanted) {
            (Some(Value::Null), Value::String(text)) => text.is_empty(),
            (Some(Value::Number(value)), Value::Number(wanted)) => value.as_f64() == wanted.as_f64(),
            (Some(value), wanted) => value == wanted,
            (None, _) => false,
        }
    }
}

impl Row {
    /// About how many bytes of memory it takes.
    pub(super) fn weight(&self) -> usize {
        let text = |value: &Value| value.as_str().map_or(0, str::len);
        self.cells.iter().map(|value| size_of::<Value>() + text(value)).sum()
    }

    fn is_blank(&self) -> bool {
        self.cells.iter().all(is_blank)
    }
}

fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// Reads the header: a name for each column from the first named one to the last.
fn header(cells: &mut Cells<'_>, row: u32) -> Result<Table, ConnectorError> {
    let (path, sheet) = (cells.path, Arc::clone(&cells.sheet));
    while cells.next_row().is_some_and(|next| next < row) {
        cells.take(cells.row)?;
    }
    let mut names: Vec<String> = Vec::new();
    let mut first = None;
    while let Some(cell) = cells.take(row)? {
        let column = cell.get_position().1;
        let place = || cell::name(column, row);
        let name = match cell::value(cell.get_value(), DateFormat::Iso) {
            Ok(Value::Null) => continue,
            Ok(Value::String(name)) => name,
            Ok(other) => other.to_string(),
            Err(shows) => return Err(error::header_is_error(path, &sheet, &place(), &shows.0)),
        };
        if name.trim().is_empty() {
            continue;
        }
        let begin = *first.get_or_insert(column);
        let expected = begin + u32::try_from(names.len()).unwrap_or(u32::MAX);
        if column != expected {
            return Err(error::blank_header(path, &sheet, &cell::name(expected, row)));
        }
        if let Some(same) = names.iter().position(|earlier| *earlier == name) {
            let earlier = cell::name(begin + u32::try_from(same).unwrap_or(u32::MAX), row);
            return Err(error::same_header(path, &sheet, &name, [&earlier, &place()]));
        }
        names.push(name);
    }
    match first {
        Some(first) => Ok(Table { sheet, names: names.into(), first }),
        None => Err(error::no_header(path, &sheet, row, first_content(cells)?)),
    }
}

/// The first row from here on that is not blank.
fn first_content(cells: &mut Cells<'_>) -> Result<Option<u32>, ConnectorError> {
    while let Some(row) = cells.next_row() {
        let content = cells.take(row)?.is_some_and(|cell| *cell.get_value() != DataRef::Empty);
        if content {
            return Ok(Some(row));
        }
    }
    Ok(None)
}
