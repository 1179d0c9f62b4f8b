//! One sheet of an `.xlsx` workbook: a source and a sink.
//!
//! Source: a row is a transaction, streamed and never the whole sheet; its payload is the row's cells by the names in
//! the header, and decodes straight into the task's struct. A cell becomes what the field asks for, as a cell of a CSV
//! file does: a number becomes text for a `String`, text that is a number becomes a number for a `u32`, a blank cell is
//! `None` for an `Option` and `""` for a `String`. A field that takes any value gets the cell as it is typed in the
//! workbook: integers stay integers, dates become ISO 8601. The id is `sheet!row`; the metadata says `file`, `sheet` and
//! `row`, and with `date_format = "serial"` the `date_system` (1900 or 1904).
//!
//! Rows without a value are passed over. A row is a delivery that does not decode if one of its cells holds an error
//! (`#DIV/0!`), a formula without a stored result, what cannot be read, or a value in a column without a name; the
//! reason names the cell. A sheet with a header and no rows is an end at once; one without a header, or with a title
//! above it, is an error. Several workers share the rows by their number.
//!
//! Sink: numbers, flags and dates (texts in ISO 8601, as the source hands them out) become cells of their type; every
//! other text stays text and never becomes a formula; a whole number that Excel would round becomes text. The header is
//! that of the workbook, or made of the names in the first transaction; a transaction with another name is refused.
//! During a run the rows are in `<path>.partial`, one JSON line each. When the sink is closed, they are added below the
//! rows of the workbook, which appears whole in the place of the older one. With `append = false` the new workbook has
//! the new rows alone. Because the workbook is written anew, rows are added only to one with a single sheet of plain
//! cells; a workbook with other sheets, formulas or formats is refused at the start. After a crash the workbook is
//! untouched, and the next run begins with the rows in `.partial`, leaving out those that its source brings once more,
//! with the same id and content; remove that file to begin afresh. One sink at a time; one worker only.
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
mod header;
mod kept;
mod lines;
mod marks;
mod partial;
mod parts;
mod rows;
mod scan;
mod sheet;
mod sink;
mod source;
mod taken;
mod workbook;
mod written;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use super::file::{Feed, file_name};
use super::{Capabilities, Connector, ConnectorError, Context, Direction, Shard};
use header::Table;
use rows::Row;
use sink::Out;

use crate::transaction::Payload;

pub use config::{DateFormat, ExcelConfig, Filter};

/// The connector of an [`ExcelConfig`]; a source and a sink.
#[derive(Debug)]
pub struct Excel {
    config: ExcelConfig,
    shard: Shard,
    direction: Direction,
    /// The file's name without its folders.
    file: Arc<str>,
    /// The sheet and its header; known once the workbook is open.
    table: Arc<OnceLock<Table>>,
    feed: Feed<Row>,
    /// Opened by `open` or by the first dispatch.
    out: Arc<Mutex<Out>>,
    /// How many rows are this worker's; counted when it is first asked for.
    total: tokio::sync::OnceCell<u64>,
}

impl Excel {
    fn new(config: ExcelConfig, context: &Context) -> Self {
        Self {
            shard: context.shard,
            direction: context.direction,
            file: file_name(&config.path),
            table: Arc::default(),
            feed: Feed::new(&config.path),
            out: Arc::default(),
            total: tokio::sync::OnceCell::new(),
            config,
        }
    }
}

impl Connector for Excel {
    const KIND: &'static str = "excel";

    async fn open(&self) -> Result<(), ConnectorError> {
        match self.direction {
            Direction::Source => self.start_reading().await,
            Direction::Sink => self.start_writing().await,
            // Nobody knows yet which side is used, and a source must not make a file.
            Direction::Any => Ok(()),
        }
    }

    /// From now on, closing finishes the workbook. A run that cannot begin leaves the rows of an unfinished one where
    /// they are.
    async fn start(&self) -> Result<(), ConnectorError> {
        self.begin_writing();
        Ok(())
    }

    async fn close(&self) -> Result<(), ConnectorError> {
        self.feed.close();
        self.finish_writing().await
    }

    /// A little longer than what it allows itself, so that its own words are heard.
    fn close_timeout(&self) -> Duration {
        self.finishes_within() + Duration::from_secs(1)
    }

    /// A sink makes a file when it opens; a check only finds out whether it could.
    async fn check(&self) -> Result<(), ConnectorError> {
        match self.direction {
            Direction::Sink => self.check_writing().await,
            _ => {
                self.open().await?;
                self.close().await
            }
        }
    }

    fn capabilities(&self) -> Capabilities<'_> {
        // How many transactions bundled rows will make depends on the task's batch size.
        if self.config.batch_mode {
            Capabilities::none().rows(Payload::into_typed_rows)
        } else {
            Capabilities::none().count(self).fetch_by_id(self).rows(Payload::into_typed_rows)
        }
    }
}
