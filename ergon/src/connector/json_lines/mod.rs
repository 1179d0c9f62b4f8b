//! A file with one JSON text on each line: a source and a sink.
//!
//! Source: line by line, never the whole file; a transaction's id is `file:line` (the file's name without its folders,
//! lines counted from 1), blank lines are passed over, a byte order mark and CRLF are accepted. A line that is no JSON
//! is a delivery that does not decode, with its bytes as they stand in the file. Several workers share the file by
//! line number. A file that is one JSON array, or no text in UTF-8, is an error at `open`. With `streaming`, the file is
//! followed as `tail -F` does. Sink: one write for each dispatch, whole lines only, also where several sinks write to
//! one file; half a line that a process left at the end is cut off and kept in `<path>.torn`.
//!
//! ```
//! use ergon::connector::{Connector, ConnectorConfig, Context, FetchRequest, Sink, Source};
//! use ergon::prelude::*;
//!
//! # let folder = tempfile::tempdir()?;
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
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
mod letters;
mod line;
mod recognition;
mod sink;
mod source;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};

use super::file::{AppendFile, Feed, file_name, is_pipe, is_stream, pipe_to_read, writable};
use super::{Capabilities, Connector, ConnectorError, Context, Direction, Shard};
use source::Line;

pub use config::{Envelope, JsonLinesConfig};

/// The connector of a [`JsonLinesConfig`]; a source and a sink.
#[derive(Debug)]
pub struct JsonLines {
    config: JsonLinesConfig,
    shard: Shard,
    direction: Direction,
    /// Whether the source follows the file.
    streaming: bool,
    /// The file's name without its folders.
    file: Arc<str>,
    feed: Feed<Line>,
    /// Opened by `open` or by the first dispatch; shared with the thread that a slow write goes on.
    out: Arc<Mutex<Option<AppendFile>>>,
    /// How many lines are this worker's; counted when it is first asked for.
    total: tokio::sync::OnceCell<u64>,
}

impl JsonLines {
    fn new(config: JsonLinesConfig, context: &Context) -> Self {
        Self {
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

impl Connector for JsonLines {
    const KIND: &'static str = "json-lines";

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
            Direction::Sink if !self.config.is_standard_stream() => {
                writable(&self.config.path, self.config.create)
            }
            _ => {
                self.open().await?;
                self.close().await
            }
        }
    }

    fn capabilities(&self) -> Capabilities<'_> {
        // Whoever reads a stream once more takes what is in it away from the fetches.
        if self.config.is_standard_stream() || is_stream(&self.config.path) {
            Capabilities::none()
        } else {
            Capabilities::none().count(self).fetch_by_id(self).dead_letters(self).redrive(self)
        }
    }
}
