//! The connector of files in any format: implements source, sink and their capabilities on top of a [`Format`].

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use super::append::AppendFile;
use super::coalesce::{Coalescing, OpenFile};
use super::codec::{Encoder, ReadRequest};
use super::feed::{Feed, ReadError, RecordSender};
use super::path::{self, is_pipe, pipe_to_read};
use crate::connector::{
    Capabilities, Connector, ConnectorError, Context, Count, Delivery, Direction, Disposition, Endpoint,
    FetchById, FetchRequest, Settlement, Shard, Sink, SinkBuffer, Source,
};
use crate::transaction::Transaction;

/// A format of files: the parsing and the encoding of its records. [`FileConnector`] does everything else.
///
/// The [module](super) has a complete format as an example.
pub trait Format: Send + Sync + Sized + 'static {
    /// The connector's [`KIND`](crate::connector::Connector::KIND): `json-lines`, `csv`.
    const KIND: &'static str;

    /// One record as the parser returns it. A fetch turns the record into a transaction.
    type Record: Send + 'static;

    /// Encodes transactions for a file of this format.
    type Encoder: Encoder;

    /// The path of the file.
    fn path(&self) -> &Path;

    /// The endpoint by which the engine compares the file with the files of other tasks. Default: its path.
    fn endpoint(&self, direction: Direction) -> Endpoint {
        let _ = direction;
        path::endpoint(self.path())
    }

    /// Returns whether the path leads to a stream, which can be read only once: a pipe, a terminal, a device.
    fn is_stream(&self) -> bool {
        path::is_stream(self.path())
    }

    /// Opens the file, makes a parser, and passes the parser to [`RecordSender::send_all`]. Runs on a separate thread,
    /// so reads may block.
    ///
    /// # Errors
    /// The file cannot be opened, or does not have this format. An error before `send_all` is an error of `open`.
    fn read(&self, request: &ReadRequest, records: &mut RecordSender<Self::Record>) -> Result<(), ReadError>;

    /// Makes a transaction of the next record, or of the number of records that [`unit`](Self::unit) returns (fewer at
    /// the end of the file).
    fn transaction(&self, records: &mut dyn Iterator<Item = Self::Record>) -> Option<Transaction>;

    /// The number of records in one transaction. Default: 1.
    fn unit(&self, request: &FetchRequest) -> usize {
        let _ = request;
        1
    }

    /// Opens the file for writing. The run may still fail to start after this, so the content of the file must stay.
    ///
    /// # Errors
    /// The file cannot be opened for writing.
    fn open(
        &self,
        shard: Shard,
    ) -> impl Future<Output = Result<(AppendFile, Self::Encoder), ConnectorError>> + Send;

    /// Checks whether [`open`](Self::open) would succeed, and changes nothing.
    ///
    /// # Errors
    /// The errors of `open`.
    fn check(&self, shard: Shard) -> impl Future<Output = Result<(), ConnectorError>> + Send;

    /// The capabilities of the connector in addition to its roles. Default: it counts and finds by id, unless the path
    /// leads to a stream.
    fn capabilities(file: &FileConnector<Self>) -> Capabilities<'_> {
        // A count or a search would read records of the stream, and no fetch could return those.
        if file.format().is_stream() {
            Capabilities::none()
        } else {
            Capabilities::none().count(file).fetch_by_id(file)
        }
    }
}

/// A connector of files in one [`Format`]: a source and a sink.
///
/// The [module](super) has an example.
#[derive(Debug)]
pub struct FileConnector<F: Format> {
    format: Arc<F>,
    shard: Shard,
    direction: Direction,
    /// Whether the source follows the file.
    follow: bool,
    feed: Feed<F::Record>,
    out: Arc<Coalescing<F::Encoder>>,
    /// Locked by the task that opens the file for writing, so that concurrent first dispatches open it once.
    opening: tokio::sync::Mutex<()>,
    /// The number of records in this worker's share, counted at the first call of `count`.
    total: OnceCell<u64>,
}

impl<F: Format> FileConnector<F> {
    /// Makes the connector of a file. Opens nothing.
    pub fn new(format: F, context: &Context) -> Self {
        Self::of(Arc::new(format), context)
    }

    fn of(format: Arc<F>, context: &Context) -> Self {
        Self {
            shard: context.shard,
            direction: context.direction,
            follow: context.streaming,
            feed: Feed::new(format.path()),
            out: Coalescing::new(context.max_in_flight > 1),
            opening: tokio::sync::Mutex::default(),
            total: OnceCell::new(),
            format,
        }
    }

    /// The format, with its settings.
    pub fn format(&self) -> &F {
        &self.format
    }

    async fn start_reading(&self) -> Result<(), ConnectorError> {
        let format = Arc::clone(&self.format);
        let request = ReadRequest { shard: self.shard, follow: self.follow, count: false };
        self.feed.start(move |records| format.read(&request, records)).await
    }

    /// Opens the file for writing, unless it is open.
    async fn start_writing(&self) -> Result<(), ConnectorError> {
        if !self.out.is_unopened() && !self.feed.is_closed() {
            return Ok(());
        }
        let _opening = self.opening.lock().await;
        if self.feed.is_closed() {
            let path = self.format.path().display();
            return Err(ConnectorError::permanent(format!("{path} was closed before this dispatch")));
        }
        if self.out.is_unopened() {
            let (file, encoder) = self.format.open(self.shard).await?;
            self.out.opened(OpenFile::new(file, encoder));
        }
        Ok(())
    }

    async fn finish_writing(&self) -> Result<(), ConnectorError> {
        let limit = self.close_limit();
        let Some(mut open) = self.out.close().await else { return Ok(()) };
        let late = open.encoder.not_finished(limit);
        let finishing = spawn_blocking(move || {
            let flushed = open.flush();
            open.encoder.finish(open.file).and(flushed)
        });
        match tokio::time::timeout(limit, finishing).await {
            Ok(Ok(finished)) => finished,
            Ok(Err(panicked)) => {
                Err(ConnectorError::unknown("the file was not finished").with_source(panicked))
            }
            Err(_) => Err(late),
        }
    }

    fn close_limit(&self) -> Duration {
        const LEAST: Duration = Duration::from_secs(30);
        self.out.look(Encoder::finish_timeout).unwrap_or(LEAST)
    }
}

impl<F: Format> Connector for FileConnector<F> {
    const KIND: &'static str = F::KIND;

    async fn open(&self) -> Result<(), ConnectorError> {
        match self.direction {
            // The first fetch opens a pipe, so that a check, or a run that cannot start, takes nothing out of it.
            Direction::Source if is_pipe(self.format.path()) => pipe_to_read(self.format.path(), self.shard),
            Direction::Source => self.start_reading().await,
            Direction::Sink => self.start_writing().await,
            // It is not known yet whether the task reads or writes, and a source must not create or empty the file.
            Direction::Any => Ok(()),
        }
    }

    async fn start(&self) -> Result<(), ConnectorError> {
        self.out.start()
    }

    async fn close(&self) -> Result<(), ConnectorError> {
        self.feed.close();
        self.finish_writing().await
    }

    /// Slightly longer than the time limit of the format, so that the error of the format is reported.
    fn close_timeout(&self) -> Duration {
        self.close_limit() + Duration::from_secs(1)
    }

    /// A sink creates its file when it opens, so a check only finds out whether the file could be written.
    async fn check(&self) -> Result<(), ConnectorError> {
        if self.direction == Direction::Sink {
            return self.format.check(self.shard).await;
        }
        self.open().await?;
        self.close().await
    }

    fn capabilities(&self) -> Capabilities<'_> {
        F::capabilities(self)
    }
}

impl<F: Format> Source for FileConnector<F> {
    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        let make = |records: &mut dyn Iterator<Item = F::Record>| self.format.transaction(records);
        let (max, unit) = (request.max(), self.format.unit(request));
        if let Some(deliveries) = self.feed.fetch_now(max, unit, make) {
            return Ok(deliveries);
        }
        self.start_reading().await?;
        self.feed.fetch(max, unit, make).await
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), ConnectorError> {
        self.feed.settle(&settlements);
        Ok(())
    }

    fn reads_from(&self) -> Vec<Endpoint> {
        vec![self.format.endpoint(Direction::Source)]
    }
}

/// A dispatch returns when its transactions are whole in the file; with [`Fsync::Each`](super::Fsync::Each) also on the
/// disk. Within the steps of a task, a file that writes without waiting takes them into its [buffer](SinkBuffer)
/// instead.
impl<F: Format> Sink for FileConnector<F> {
    async fn dispatch(&self, transactions: Vec<Transaction>) -> Result<(), ConnectorError> {
        self.start_writing().await?;
        self.out.dispatch(transactions).await
    }

    fn buffer(&self) -> Option<&dyn SinkBuffer> {
        Some(&*self.out)
    }

    fn writes_to(&self) -> Vec<Endpoint> {
        vec![self.format.endpoint(Direction::Sink)]
    }
}

/// The first count reads the whole file, in addition to the fetches.
impl<F: Format> Count for FileConnector<F> {
    async fn count(&self) -> Result<u64, ConnectorError> {
        let total = self.total.get_or_try_init(|| async {
            let format = Arc::clone(&self.format);
            let request = ReadRequest { shard: self.shard, follow: false, count: true };
            let counted =
                spawn_blocking(move || RecordSender::count(|records| format.read(&request, records))).await;
            counted.map_err(|cause| ConnectorError::transient("records not counted").with_source(cause))?
        });
        Ok(self.feed.pending(*total.await?))
    }
}

/// A search reads the file from its front.
impl<F: Format> FetchById for FileConnector<F> {
    async fn fetch_by_id(&self, id: &str) -> Result<Option<Delivery>, ConnectorError> {
        let whole = Self::of(Arc::clone(&self.format), &Context::new("", "whole file"));
        self.feed.find(id, find(whole, id)).await
    }
}

/// Reads a source from the front up to the transaction with this id.
async fn find<S: Source>(source: S, id: &str) -> Result<Option<Transaction>, ConnectorError> {
    loop {
        let deliveries = source.fetch(&FetchRequest::new(1000)).await?;
        if deliveries.is_empty() {
            return Ok(None);
        }
        let mut passed = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            if delivery.transaction().id() == id {
                source.close().await?;
                return Ok(Some(delivery.into_parts().0));
            }
            passed.push(delivery.settle(Disposition::Ack));
        }
        source.settle(passed).await?;
    }
}
