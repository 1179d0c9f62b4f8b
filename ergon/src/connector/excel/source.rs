//! The source side of a workbook: opens the workbook, and makes transactions of the rows of its sheet.

use std::sync::Arc;

use super::header::Table;
use super::rows::{Row, Rows};
use super::workbook::open_workbook;
use super::{DateFormat, ExcelFormat};
use crate::connector::ConnectorError;
use crate::connector::kit::file::{Next, Parser, ReadError, ReadRequest, RecordSender};
use crate::transaction::{Payload, Record, Transaction, TransactionBuilder};

/// Opens the workbook and sends the rows of the sheet.
pub(super) fn read(
    format: &ExcelFormat,
    request: &ReadRequest,
    records: &mut RecordSender<Row>,
) -> Result<(), ReadError> {
    let config = &format.config;
    let mut workbook = open_workbook(config)?;
    let mut rows = Rows::new(&mut workbook, config, request.shard)?;
    format.table.get_or_init(|| rows.table().clone());
    records.send_all(&mut rows)?;
    if rows.more_below() && !request.count {
        let (file, max_rows) = (config.path.to_string(), config.max_rows);
        tracing::warn!(file, max_rows, "rows below max_rows are left unread");
    }
    Ok(())
}

impl Parser for Rows<'_> {
    type Record = Row;

    fn next(&mut self) -> Result<Next<Row>, ConnectorError> {
        Ok(match self.next_row()? {
            Some(row) => {
                let size = row.weight();
                Next::Record(row, size)
            }
            None => Next::End,
        })
    }
}

impl ExcelFormat {
    pub(super) fn single(&self, table: &Table, row: Row) -> Transaction {
        let made = Transaction::builder()
            .id(format!("{}!{}", table.sheet, row.number))
            .source(Arc::clone(&self.file))
            .metadata("row", row.number);
        self.place(made, table).payload(Payload::record(record(table, row))).build()
    }

    /// Makes the metadata of rows: their place, and for dates as numbers the first year of the calendar.
    fn place(&self, made: TransactionBuilder, table: &Table) -> TransactionBuilder {
        let made = made.metadata("sheet", &*table.sheet).metadata("file", &*self.file);
        match self.config.date_format {
            DateFormat::Iso => made,
            DateFormat::Serial => made.metadata("date_system", table.date_system),
        }
    }

    pub(super) fn bundle(&self, table: &Table, rows: &mut dyn Iterator<Item = Row>) -> Option<Transaction> {
        let rows: Vec<Row> = rows.collect();
        let (first, last) = (rows.first()?.number, rows.last()?.number);
        let bundle = Transaction::builder()
            .id(format!("{}!{first}-{last}", table.sheet))
            .source(Arc::clone(&self.file))
            .metadata("row", first)
            .metadata("last_row", last)
            .metadata("rows", rows.len());
        let records = rows.into_iter().map(|row| record(table, row)).collect();
        Some(self.place(bundle, table).payload(Payload::records(records)).build())
    }
}

fn record(table: &Table, row: Row) -> Record {
    let names = Arc::clone(&table.names);
    match row.broken {
        None => Record::typed(names, row.cells),
        Some(reason) => Record::broken(names, row.cells, reason),
    }
}
