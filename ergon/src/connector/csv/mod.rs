//! Reads and writes a file of records whose cells are separated by commas.
//!
//! The source reads record by record, never the whole file:
//!
//! - A cell becomes the type of the task's field: a number, a flag, `None` if it is empty.
//! - The id of a transaction is `file:record`, with records counted from 1 without the header. The metadata has `file`,
//!   `record` and `line`.
//! - A record becomes a delivery that does not decode if it has more or fewer cells than the header, is not UTF-8, or
//!   breaks the rules of [quoting](Quote). If the cells cannot hold the whole record, the delivery keeps its bytes.
//!   Reading resumes at the next line that begins a record.
//! - Several workers share the records by their numbers.
//! - A file that is not CSV with this delimiter and header is an error at `open`.
//! - With `streaming`, the source follows the file as `tail -F` does.
//!
//! The sink writes whole records only. The header is that of the file; in a new file, it has the field names of the
//! first transaction. If a transaction lacks a column, its cell stays empty. The dispatch of a transaction with a name
//! that is not in the header fails. Lists and maps are written as JSON. A task's dispatches go into a buffer, which the
//! engine flushes before it settles.
//!
//! ```
//! use ergon::connector::{Connector, ConnectorConfig, Context, FetchRequest, Source};
//! use ergon::prelude::*;
//!
//! #[derive(Deserialize)]
//! struct Order { sku: String, quantity: u32, note: Option<String> }
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("orders.csv");
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! std::fs::write(&path, "sku,quantity,note\nA-1,2,\n")?;
//! let orders = CsvConfig::new(path).build(&Context::new("example", "orders"))?;
//! orders.open().await?;
//! let deliveries = orders.fetch(&FetchRequest::new(10)).await?;
//! let order: Order = deliveries[0].transaction().decode()?;
//! assert_eq!((order.sku.as_str(), order.quantity, order.note), ("A-1", 2, None));
//! # orders.close().await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! # Ok::<(), std::io::Error>(())
//! ```

mod config;
mod error;
mod header;
mod recognition;
mod records;
mod recovery;
mod row;
mod sink;
mod source;
mod syntax;
mod truncated;
mod window;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use super::kit::file::{
    AppendFile, FileConnector, Format, ReadError, ReadRequest, RecordSender, check_writable, file_name,
};
use super::{Capabilities, ConnectorError, Shard};
use crate::transaction::{Payload, Transaction};
use records::Line;
use sink::RecordEncoder;

pub use config::CsvConfig;
pub use syntax::Quote;

/// The connector of a [`CsvConfig`]: a source and a sink. The [module](self) has an example.
pub type Csv = FileConnector<CsvFormat>;

/// The format of [`Csv`]: records of cells.
///
/// ```
/// use ergon::connector::csv::{Csv, CsvFormat};
/// use ergon::connector::kit::file::FileConnector;
///
/// fn same(connector: Csv) -> FileConnector<CsvFormat> {
///     connector
/// }
/// ```
#[derive(Debug)]
pub struct CsvFormat {
    config: CsvConfig,
    delimiter: u8,
    /// The file's name without its folders.
    file: Arc<str>,
}

impl CsvFormat {
    fn new(config: CsvConfig, delimiter: u8) -> Self {
        Self { file: file_name(&config.path), config, delimiter }
    }
}

impl Format for CsvFormat {
    const KIND: &'static str = "csv";

    type Record = Line;
    type Encoder = RecordEncoder;

    fn path(&self) -> &Path {
        &self.config.path
    }

    fn read(&self, request: &ReadRequest, records: &mut RecordSender<Line>) -> Result<(), ReadError> {
        source::read(self, request, records)
    }

    fn transaction(&self, records: &mut dyn Iterator<Item = Line>) -> Option<Transaction> {
        records.next().map(|line| source::transaction(self, line))
    }

    async fn open(&self, shard: Shard) -> Result<(AppendFile, RecordEncoder), ConnectorError> {
        sink::open(&self.config, self.delimiter, shard).await
    }

    async fn check(&self, _: Shard) -> Result<(), ConnectorError> {
        check_writable(&self.config.path, self.config.create)
    }

    fn capabilities(file: &Csv) -> Capabilities<'_> {
        let rows = Capabilities::none().rows(Payload::into_text_row);
        if file.format().is_stream() { rows } else { rows.count(file).fetch_by_id(file) }
    }
}
