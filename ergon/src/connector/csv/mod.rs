//! A file of records whose cells are separated by commas: a source and a sink.
//!
//! Source: record by record, never the whole file; a cell becomes what the task's field asks for (a number, a flag,
//! `None` if it is empty). A transaction's id is `file:record`, records counted from 1 without the header; the metadata
//! says `file`, `record` and `line`. A record with more or fewer cells than the header, one that is not UTF-8, or one
//! that breaks the rules of [quoting](Quote) is a delivery that does not decode; where its cells do not say all of it,
//! its bytes are kept as they are, and reading resumes at the next line that begins a record. Several workers share the
//! records by their number. A file that is no CSV with this delimiter and header is an error at `open`. With
//! `streaming`, the file is followed as `tail -F` does.
//!
//! Sink: the header is that of the file, or the names in the first transaction; a transaction without one of them leaves
//! the cell empty, one with another is refused. Lists and maps are written as JSON.
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
mod header;
mod recognition;
mod records;
mod recovery;
mod sink;
mod source;
mod syntax;
mod torn;
mod window;
mod written;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};

use super::file::{Feed, file_name, is_pipe, is_stream, pipe_to_read, writable};
use super::{Capabilities, Connector, ConnectorError, Context, Direction, Shard};
use records::Line;
use sink::Out;

use crate::transaction::Payload;

pub use config::CsvConfig;
pub use syntax::Quote;

/// The connector of a [`CsvConfig`]; a source and a sink.
#[derive(Debug)]
pub struct Csv {
    config: CsvConfig,
    delimiter: u8,
    shard: Shard,
    direction: Direction,
    /// Whether the source follows the file.
    streaming: bool,
    /// The file's name without its folders.
    file: Arc<str>,
    feed: Feed<Line>,
    /// Opened by `open` or by the first dispatch; shared with the thread that a slow write goes on.
    out: Arc<Mutex<Option<Out>>>,
    /// How many records are this worker's; counted when it is first asked for.
    total: tokio::sync::OnceCell<u64>,
}

impl Csv {
    fn new(config: CsvConfig, delimiter: u8, context: &Context) -> Self {
        Self {
            delimiter,
            shard: context.shard,
            direction: context.direction,
            streaming: context.streaming,
            file: file_name(&config.path),
            feed: Feed::new(&config.path),
            out: Arc::default(),
            total: tokio::sync::OnceCell::new(),
            config,
        }
    }
}

impl Connector for Csv {
    const KIND: &'static str = "csv";

    async fn open(&self) -> Result<(), ConnectorError> {
        match self.direction {
            // A pipe is opened by the first fetch: a run that cannot begin takes nothing out of it, nor does a check.
            Direction::Source if is_pipe(&self.config.path) => pipe_to_read(&self.config.path, self.shard),
            Direction::Source => self.start_reading().await,
            Direction::Sink => self.start_writing().await,
            // Nobody knows yet which side is used, and a source must not make or empty the file.
            Direction::Any => Ok(()),
        }
    }

    async fn start(&self) -> Result<(), ConnectorError> {
        self.begin_writing()
    }

    async fn close(&self) -> Result<(), ConnectorError> {
        self.feed.close();
        self.finish_writing().await
    }

    /// A sink makes its file when it opens; a check only finds out whether it could be written.
    async fn check(&self) -> Result<(), ConnectorError> {
        match self.direction {
            Direction::Sink => writable(&self.config.path, self.config.create),
            _ => {
                self.open().await?;
                self.close().await
            }
        }
    }

    fn capabilities(&self) -> Capabilities<'_> {
        // Whoever reads a stream once more takes what is in it away from the fetches.
        if is_stream(&self.config.path) {
            Capabilities::none().rows(Payload::into_text_row)
        } else {
            Capabilities::none().count(self).fetch_by_id(self).rows(Payload::into_text_row)
        }
    }
}
