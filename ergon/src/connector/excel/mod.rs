//! Reads and writes one sheet of an `.xlsx` workbook.
//!
//! The source streams the sheet and makes a transaction of each row. The payload is the row's cells under the names
//! of the header, and decodes into the task's struct. A cell becomes the value that the field needs, as a cell of a
//! CSV file does: a number becomes text for a `String`, text that is a number becomes a number for a `u32`, and a
//! blank cell is `None` for an `Option` and `""` for a `String`. A field that accepts any value gets the cell as it
//! is typed in the workbook: integers stay integers, and dates become ISO 8601. The id is `sheet!row`. The metadata
//! are `file`, `sheet` and `row`, and with `date_format = "serial"` also `date_system` (1900 or 1904).
//!
//! The source skips rows without a value. A row does not decode if one of its cells holds an error (`#DIV/0!`), a
//! formula without a stored result, an unreadable value, or a value in a column without a name. The reason names the
//! cell. A sheet with a header and no rows ends immediately. A sheet without a header, or with a title above it, is
//! an error. Several workers share the rows by their number.
//!
//! The sink writes numbers, flags and dates (texts in ISO 8601, as the source delivers them) as cells of their type.
//! Any other text stays text and never becomes a formula. A whole number that Excel would round becomes text. The
//! header is that of the workbook; a new workbook gets the field names of the first transaction. The dispatch of a
//! transaction with another name fails.
//!
//! During a run the rows are in `<path>.partial`, one JSON line each. When the sink is closed, it writes a new workbook
//! with the old rows and the new rows below them. The new workbook replaces the old workbook in one step. The setting
//! `append = false` leaves the old rows out. Because the sink writes the whole workbook again, it adds rows only to a
//! workbook with a single sheet of plain cells. A workbook with other sheets, formulas or formats is refused at the
//! start.
//!
//! After a crash the workbook is unchanged. The next run continues with the rows in `.partial`. If its source delivers
//! a row with the same id and content again, the sink leaves it out. Remove the file to start without its rows. A
//! workbook has one sink at a time, in one worker.
//!
//! ```
//! use ergon::connector::{Connector, ConnectorConfig, Context, FetchRequest, Source};
//! use ergon::prelude::*;
//!
//! #[derive(Deserialize)]
//! struct Order {
//!     #[serde(rename = "Order ID")]
//!     id: String,
//!     #[serde(rename = "Quantity")]
//!     quantity: u32,
//! }
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("orders.xlsx");
//! # let mut book = rust_xlsxwriter::Workbook::new();
//! # let sheet = book.add_worksheet();
//! # sheet.write_row(0, 0, ["Order ID", "Quantity"])?.write(1, 0, "A-1")?.write(1, 1, 3)?;
//! # book.save(&path)?;
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let orders = ExcelConfig::new(path).build(&Context::new("example", "orders"))?;
//! orders.open().await?;
//! let deliveries = orders.fetch(&FetchRequest::new(100)).await?;
//! let row = deliveries[0].transaction();
//! assert_eq!((row.id(), row.decode::<Order>()?.quantity), ("Sheet1!2", 3));
//! # orders.close().await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cell;
mod config;
mod error;
mod existing;
mod header;
mod lines;
mod partial;
mod parts;
mod recovered;
mod rows;
mod scan;
mod sheet;
mod sink;
mod source;
mod workbook;
mod writer;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::kit::file::{AppendFile, FileConnector, Format, ReadError, ReadRequest, RecordSender, file_name};
use super::{Capabilities, ConnectorError, FetchRequest, Shard};
use crate::transaction::{Payload, Transaction};
use header::Table;
use rows::Row;
use sink::RowEncoder;

pub use config::{DateFormat, ExcelConfig, Filter};

/// The connector of an [`ExcelConfig`]; a source and a sink.
pub type Excel = FileConnector<ExcelFormat>;

/// The rows of a sheet: the format of [`Excel`].
#[derive(Debug)]
pub struct ExcelFormat {
    config: ExcelConfig,
    /// The name of the file without its folders.
    file: Arc<str>,
    /// The sheet and its header, known once the workbook is open.
    table: OnceLock<Table>,
}

impl ExcelFormat {
    fn new(config: ExcelConfig) -> Self {
        Self { file: file_name(&config.path), table: OnceLock::new(), config }
    }
}

impl Format for ExcelFormat {
    const KIND: &'static str = "excel";

    type Record = Row;
    type Encoder = RowEncoder;

    fn path(&self) -> &Path {
        &self.config.path
    }

    fn read(&self, request: &ReadRequest, records: &mut RecordSender<Row>) -> Result<(), ReadError> {
        source::read(self, request, records)
    }

    fn unit(&self, request: &FetchRequest) -> usize {
        if self.config.batch_mode { request.batch_size() } else { 1 }
    }

    fn transaction(&self, records: &mut dyn Iterator<Item = Row>) -> Option<Transaction> {
        // The reader has read the header before the first row.
        let table = self.table.get()?;
        if self.config.batch_mode {
            return self.bundle(table, records);
        }
        records.next().map(|row| self.single(table, row))
    }

    async fn open(&self, shard: Shard) -> Result<(AppendFile, RowEncoder), ConnectorError> {
        sink::open(&self.config, shard).await
    }

    async fn check(&self, shard: Shard) -> Result<(), ConnectorError> {
        sink::check(&self.config, shard).await
    }

    fn capabilities(file: &Excel) -> Capabilities<'_> {
        let rows = Capabilities::none().rows(Payload::into_typed_rows);
        // With `batch_mode`, the task's batch size decides how many rows make one transaction, so transactions cannot
        // be counted.
        if file.format().config.batch_mode { rows } else { rows.count(file).fetch_by_id(file) }
    }
}
