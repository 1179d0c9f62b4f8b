//! Reads and writes a file with one JSON text on each line.
//!
//! The source reads line by line, never the whole file:
//!
//! - The id of a transaction is `file:line`: the file's name without its folders, and the line counted from 1.
//! - The source skips blank lines, and accepts a byte order mark and CRLF.
//! - A line that is not JSON becomes a delivery that does not decode, with the bytes of the line.
//! - Several workers share the file by line number.
//! - A file that is one JSON array, or not text in UTF-8, is an error at `open`.
//! - With `streaming`, the source follows the file as `tail -F` does.
//!
//! The sink writes whole lines only, even if several sinks write to one file. A task's dispatches go into a buffer,
//! which the engine flushes before it settles. If a process left an incomplete line at the end, the sink removes it and
//! keeps its bytes in `<path>.torn`.
//!
//! ```
//! use ergon::connector::{Connector, ConnectorConfig, Context, FetchRequest, Sink, Source};
//! use ergon::prelude::*;
//!
//! # let folder = tempfile::tempdir()?;
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let path = folder.path().join("orders.jsonl");
//! let orders = JsonLinesConfig::new(path).build(&Context::new("example", "orders"))?;
//! orders.open().await?;
//! orders.dispatch(vec![Transaction::new("order-1", &serde_json::json!({"sku": "A-1"}))?]).await?;
//!
//! let deliveries = orders.fetch(&FetchRequest::new(10)).await?;
//! assert_eq!(deliveries[0].transaction().id(), "orders.jsonl:1");
//! # orders.close().await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! # Ok::<(), std::io::Error>(())
//! ```

mod config;
mod dead_letters;
mod envelope;
mod error;
mod lines;
mod recognition;
mod sink;
mod source;
mod truncated;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use super::kit::file::{
    self, AppendFile, FileConnector, Format, ReadError, ReadRequest, RecordSender, file_name,
};
use super::{Capabilities, ConnectorError, Direction, Endpoint, Shard};
use crate::transaction::Transaction;
use lines::Line;
use sink::LineEncoder;

pub use config::{Envelope, JsonLinesConfig};

/// The connector of a [`JsonLinesConfig`]: a source and a sink. The [module](self) has an example.
pub type JsonLines = FileConnector<JsonLinesFormat>;

/// The format of [`JsonLines`]: one JSON text on each line.
///
/// ```
/// use ergon::connector::json_lines::{JsonLines, JsonLinesFormat};
/// use ergon::connector::kit::file::FileConnector;
///
/// fn same(connector: JsonLines) -> FileConnector<JsonLinesFormat> {
///     connector
/// }
/// ```
#[derive(Debug)]
pub struct JsonLinesFormat {
    config: JsonLinesConfig,
    /// The file's name without its folders.
    file: Arc<str>,
}

impl JsonLinesFormat {
    fn new(config: JsonLinesConfig) -> Self {
        Self { file: file_name(&config.path), config }
    }
}

impl Format for JsonLinesFormat {
    const KIND: &'static str = "json-lines";

    type Record = Line;
    type Encoder = LineEncoder;

    fn path(&self) -> &Path {
        &self.config.path
    }

    fn endpoint(&self, direction: Direction) -> Endpoint {
        if !self.config.is_standard_stream() {
            return file::endpoint(&self.config.path);
        }
        Endpoint::new(if direction == Direction::Source { "standard input" } else { "standard output" })
    }

    fn is_stream(&self) -> bool {
        self.config.is_standard_stream() || file::is_stream(&self.config.path)
    }

    fn read(&self, request: &ReadRequest, records: &mut RecordSender<Line>) -> Result<(), ReadError> {
        source::read(&self.config, request, records)
    }

    fn transaction(&self, records: &mut dyn Iterator<Item = Line>) -> Option<Transaction> {
        records.next().map(|line| source::transaction(self, line))
    }

    async fn open(&self, shard: Shard) -> Result<(AppendFile, LineEncoder), ConnectorError> {
        sink::open(&self.config, shard).await
    }

    async fn check(&self, _: Shard) -> Result<(), ConnectorError> {
        sink::check(&self.config)
    }

    fn capabilities(file: &JsonLines) -> Capabilities<'_> {
        if file.format().is_stream() {
            Capabilities::none()
        } else {
            Capabilities::none().count(file).fetch_by_id(file).dead_letters(file).redrive(file)
        }
    }
}
