//! The file frame: everything that connectors of files have in common, in any format.
//!
//! A new format is a parser and an encoder: an implementation of [`Format`]. [`FileConnector`] does the rest: it opens
//! and checks files, reads them on a separate thread, delivers records, redelivers those that are given back, counts
//! records, and finds a record by its id. It shares a file among workers, follows a file that grows, waits for pipes,
//! locks a file against other sinks, writes whole lines only, and writes the dispatches of many deliveries together.
//! [`AppendFile`] documents the promises of a file that is written to.
//!
//! A format with one number on each line:
//!
//! ```
//! use std::io::{BufRead, BufReader};
//! use std::path::{Path, PathBuf};
//!
//! use ergon::connector::kit::file::{
//!     AppendFile, Encoder, FileConnector, Format, InputFile, Next, Parser, ReadError, ReadRequest, RecordSender,
//!     WriteOptions, check_writable, file_error, file_name, record_id,
//! };
//! use ergon::connector::{Connector, ConnectorConfig, ConnectorError, Context, FetchRequest, Shard, Sink, Source};
//! use ergon::prelude::*;
//! use ergon::transaction::Payload;
//!
//! /// The settings of the connector.
//! #[derive(Clone, Deserialize)]
//! struct NumbersConfig { path: PathBuf }
//!
//! impl ConnectorConfig for NumbersConfig {
//!     type Connector = FileConnector<Numbers>;
//!
//!     fn build(&self, context: &Context) -> Result<FileConnector<Numbers>, ConnectorError> {
//!         Ok(FileConnector::new(Numbers { path: self.path.clone() }, context))
//!     }
//! }
//!
//! struct Numbers { path: PathBuf }
//!
//! /// A line with its text.
//! struct Line { number: u64, text: String }
//!
//! impl Format for Numbers {
//!     const KIND: &'static str = "numbers";
//!     type Record = Line;
//!     type Encoder = NumberEncoder;
//!
//!     fn path(&self) -> &Path { &self.path }
//!
//!     fn read(&self, request: &ReadRequest, records: &mut RecordSender<Line>) -> Result<(), ReadError> {
//!         let file = BufReader::new(InputFile::open(&self.path, request.follow)?);
//!         records.send_all(&mut NumberParser { format: self, shard: request.shard, file, number: 0 })
//!     }
//!
//!     fn transaction(&self, records: &mut dyn Iterator<Item = Line>) -> Option<Transaction> {
//!         let Line { number, text } = records.next()?;
//!         let id = record_id(&file_name(&self.path), 0, number);
//!         // A line that is not a number becomes a transaction that does not decode.
//!         let payload = Payload::bytes(ContentType::Json, text);
//!         Some(Transaction::builder().id(id).metadata("line", number).payload(payload).build())
//!     }
//!
//!     async fn open(&self, _: Shard) -> Result<(AppendFile, NumberEncoder), ConnectorError> {
//!         Ok((AppendFile::open(&self.path, WriteOptions::default()).await?, NumberEncoder))
//!     }
//!
//!     async fn check(&self, _: Shard) -> Result<(), ConnectorError> {
//!         check_writable(&self.path, true)
//!     }
//! }
//!
//! struct NumberParser<'a> { format: &'a Numbers, shard: Shard, file: BufReader<InputFile>, number: u64 }
//!
//! impl Parser for NumberParser<'_> {
//!     type Record = Line;
//!
//!     fn next(&mut self) -> Result<Next<Line>, ConnectorError> {
//!         loop {
//!             let mut text = String::new();
//!             let path = &self.format.path;
//!             let read = self.file.read_line(&mut text).map_err(|error| file_error("read on in", path, error))?;
//!             if read == 0 {
//!                 return Ok(Next::End);
//!             }
//!             self.number += 1;
//!             if self.shard.owns(self.number - 1) {
//!                 return Ok(Next::Record(Line { number: self.number, text }, read));
//!             }
//!         }
//!     }
//! }
//!
//! struct NumberEncoder;
//!
//! impl Encoder for NumberEncoder {
//!     fn encode(
//!         &mut self,
//!         transaction: &Transaction,
//!         line: &mut Vec<u8>,
//!         _: &mut AppendFile,
//!     ) -> Result<bool, ConnectorError> {
//!         let number: f64 = transaction.decode().map_err(|error| {
//!             ConnectorError::permanent(format!("transaction `{}` is no number", transaction.id())).with_source(error)
//!         })?;
//!         line.extend_from_slice(number.to_string().as_bytes());
//!         Ok(true)
//!     }
//! }
//!
//! # let folder = tempfile::tempdir()?;
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! let config = NumbersConfig { path: folder.path().join("numbers.txt") };
//! let numbers = config.build(&Context::new("example", "numbers"))?;
//! numbers.open().await?;
//! numbers.dispatch(vec![Transaction::new("a", &2.5)?, Transaction::new("b", &40)?]).await?;
//! let deliveries = numbers.fetch(&FetchRequest::new(10)).await?;
//! assert_eq!(deliveries[1].transaction().id(), "numbers.txt:2");
//! assert_eq!(deliveries[1].transaction().decode::<f64>()?, 40.0);
//! numbers.close().await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! # Ok::<(), std::io::Error>(())
//! ```

mod append;
mod batch;
mod coalesce;
mod codec;
mod connector;
mod ending;
mod feed;
mod follow;
mod held;
mod lock;
mod path;
mod pipe;
mod recognition;
mod stdout;
mod table;

pub use append::{AppendFile, Fsync, WriteOptions};
pub use batch::Batch;
pub use codec::{Encoder, Next, Parser, ReadRequest};
pub use connector::{FileConnector, Format};
pub use ending::{Ending, Tail};
pub use feed::{ReadError, RecordSender};
pub use follow::{InputFile, Turn};
pub use path::{
    check_writable, display_path, endpoint, file_error, file_name, is_stream, open_file, record_id,
    refuse_to_empty, refuse_to_share,
};
pub use recognition::{FileKind, RECOGNITION_BYTES, header_below, refuse_other_kind, trimmed_name};
pub use table::{cells, in_order, named};

#[cfg(feature = "excel")]
pub(crate) use path::no_folder;
#[cfg(any(feature = "csv", feature = "json_lines"))]
pub(crate) use path::{is_pipe, record_transaction_id};
