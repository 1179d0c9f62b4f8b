//! Combines the cells of a sheet into rows, and keeps the rows that belong to this worker and match the filter.

use serde_json::Value;

use super::header::{Table, header};
use super::sheet::Cells;
use super::workbook::Workbook;
use super::{ExcelConfig, cell, error};
use crate::connector::kit::file::trimmed_name;
use crate::connector::{ConnectorError, Shard};

/// A row that is not blank.
#[derive(Debug)]
pub struct Row {
    /// The number of the row, counted from 1 as in Excel.
    pub(super) number: u32,
    pub(super) cells: Vec<Value>,
    /// The reason why the row cannot be decoded.
    pub(super) broken: Option<String>,
}

/// Reads a sheet row by row, and keeps the worker's share of the rows that the filter accepts.
pub(super) struct Rows<'a> {
    cells: Cells<'a>,
    table: Table,
    filter: Option<(usize, Value)>,
    shard: Shard,
    header_row: u32,
    last_row: u32,
}

impl<'a> Rows<'a> {
    /// Opens a sheet and reads its header.
    pub(super) fn new(
        workbook: &'a mut Workbook,
        config: &'a ExcelConfig,
        shard: Shard,
    ) -> Result<Self, ConnectorError> {
        let (place, sheet) = super::workbook::sheet(workbook, config)?;
        let mut cells = Cells::new(workbook, &config.path, (place, &sheet), config.date_format)?;
        let table = header(&mut cells, config.header_row)?;
        let filter = match &config.filter {
            None => None,
            Some(filter) => {
                let wanted = trimmed_name(&filter.column);
                let column = table.names.iter().position(|name| name == wanted).ok_or_else(|| {
                    error::no_column(&config.path, &table.sheet, &filter.column, &table.names)
                })?;
                Some((column, filter.equals.clone()))
            }
        };
        let last_row = config.header_row.saturating_add(config.max_rows.unwrap_or(u32::MAX));
        Ok(Self { cells, table, filter, shard, header_row: config.header_row, last_row })
    }

    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    /// Reads up to the next row to deliver.
    pub(super) fn next_row(&mut self) -> Result<Option<Row>, ConnectorError> {
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

    /// Returns, after the last row, whether `max_rows` ended the reading.
    pub(super) fn more_below(&self) -> bool {
        self.cells.next_row().is_some()
    }

    fn row(&mut self, number: u32) -> Result<Row, ConnectorError> {
        let mut row = Row { number, cells: vec![Value::Null; self.table.names.len()], broken: None };
        while let Some(cell) = self.cells.take(number)? {
            let is_blank = cell.is_blank();
            let value = cell.value.unwrap_or_else(|bad| {
                let place =
                    format!("cell {} of sheet `{}`", cell::name(cell.column, number), self.table.sheet);
                row.broken.get_or_insert_with(|| format!("{place} holds {}", bad.holds));
                bad.kept
            });
            let place =
                cell.column.checked_sub(self.table.first).and_then(|place| row.cells.get_mut(place as usize));
            match place {
                Some(place) => *place = value,
                None if is_blank => {}
                None => {
                    let (name, sheet) = (cell::name(cell.column, number), &self.table.sheet);
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
    /// Returns the approximate size of the row in memory.
    pub(super) fn weight(&self) -> usize {
        let text = |value: &Value| value.as_str().map_or(0, str::len);
        self.cells.iter().map(|value| size_of::<Value>() + text(value)).sum()
    }

    /// Returns whether a cell is empty. White space is text, as in a CSV file.
    fn is_blank(&self) -> bool {
        self.cells.iter().all(|value| match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            _ => false,
        })
    }
}
