//! Reads a file once, from front to back, on a separate thread, and makes deliveries of its records on demand. The
//! thread exists because reads of a file block, and a read of standard input may never return.

use std::collections::{HashSet, VecDeque};
use std::future::Future;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::codec::{Next, Parser};
use super::path::display_path;
use crate::connector::kit::Unacked;
use crate::connector::{ConnectorError, Delivery, Settlement};
use crate::transaction::Transaction;

/// The number of chunks that may wait between the reader and the fetches. It bounds the read-ahead.
const CHUNKS: usize = 4;
/// The number of items in a chunk, unless they reach the size limit first.
const CHUNK_ITEMS: usize = 256;
/// The size limit of a chunk in bytes, so that large items do not fill the memory.
const CHUNK_BYTES: usize = 1 << 20;

/// The file of a source: the records that its reader has read, and the deliveries that are unsettled or given back.
#[derive(Debug)]
pub(super) struct Feed<T> {
    held: Mutex<Unacked>,
    /// The ids of transactions that were found by id before the reader reached them; fetches skip these.
    found: Mutex<HashSet<String>>,
    /// An async lock, because a fetch holds it while it waits for the reader.
    reading: tokio::sync::Mutex<Reading<T>>,
    /// The number of transactions that were made of items so far; redeliveries do not count.
    made: AtomicU64,
    closed: CancellationToken,
}

#[derive(Debug)]
struct Reading<T> {
    /// The name of the file, for messages.
    file: String,
    stage: Stage<T>,
    /// Read and not yet delivered.
    items: VecDeque<T>,
    /// Whether the reader has read the whole file, and waits until a fetch asks for more.
    dry: bool,
    asks: Option<std::sync::mpsc::Sender<()>>,
}

#[derive(Debug)]
enum Stage<T> {
    NotBegun,
    /// The reader has not reported yet that it is ready.
    Opening(mpsc::Receiver<Message<T>>),
    Running(mpsc::Receiver<Message<T>>),
    Ended,
    Failed(ConnectorError),
}

#[derive(Debug)]
enum Message<T> {
    Ready,
    Items(Vec<T>),
    /// The file has no more records now; the reader waits until a fetch asks again.
    Dry,
    End,
    Failed(ConnectorError),
}

/// Accepts the records of a reader, and passes them to the fetches. The [module](super) has an example.
#[derive(Debug)]
pub struct RecordSender<T>(Outlet<T>);

#[derive(Debug)]
enum Outlet<T> {
    /// The records go to the fetches.
    Feed {
        sender: mpsc::Sender<Message<T>>,
        chunk: Vec<T>,
        bytes: usize,
        asked: std::sync::mpsc::Receiver<()>,
    },
    /// The records are only counted.
    Count(u64),
}

/// The reason why a reader stops before the end of its file.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The connector was closed, so no fetch will ask for records.
    Closed,
    /// The file cannot be read.
    Failed(ConnectorError),
}

impl From<ConnectorError> for ReadError {
    fn from(error: ConnectorError) -> Self {
        Self::Failed(error)
    }
}

impl<T> RecordSender<T> {
    /// Counts the records that `read` sends.
    pub(super) fn count(
        read: impl FnOnce(&mut Self) -> Result<(), ReadError>,
    ) -> Result<u64, ConnectorError> {
        let mut records = Self(Outlet::Count(0));
        match (read(&mut records), records.0) {
            (Err(ReadError::Failed(error)), _) => Err(error),
            (_, Outlet::Count(count)) => Ok(count),
            (_, Outlet::Feed { .. }) => Ok(0),
        }
    }

    /// Reports that the file is open and has the expected format, then sends all records of the parser to the fetches.
    ///
    /// # Errors
    /// The errors of the parser, and [`ReadError::Closed`].
    pub fn send_all(&mut self, parser: &mut impl Parser<Record = T>) -> Result<(), ReadError> {
        self.ready()?;
        loop {
            if parser.may_wait() {
                self.flush()?;
            }
            match parser.next()? {
                Next::Record(record, bytes) => self.push(record, bytes)?,
                Next::Passed => {}
                Next::Dry => {
                    self.dry()?;
                    parser.turn()?;
                }
                Next::End => return Ok(()),
            }
        }
    }

    fn ready(&self) -> Result<(), ReadError> {
        self.send(Message::Ready)
    }

    /// Sends one record of about this many bytes. Waits while [`CHUNKS`] chunks are not fetched yet.
    fn push(&mut self, record: T, size: usize) -> Result<(), ReadError> {
        let is_full = match &mut self.0 {
            Outlet::Feed { chunk, bytes, .. } => {
                chunk.push(record);
                *bytes += size;
                chunk.len() >= CHUNK_ITEMS || *bytes >= CHUNK_BYTES
            }
            Outlet::Count(count) => {
                *count += 1;
                false
            }
        };
        if is_full { self.flush() } else { Ok(()) }
    }

    /// Sends the records that were pushed so far.
    fn flush(&mut self) -> Result<(), ReadError> {
        let Outlet::Feed { chunk, bytes, .. } = &mut self.0 else { return Ok(()) };
        if chunk.is_empty() {
            return Ok(());
        }
        *bytes = 0;
        let chunk = std::mem::replace(chunk, Vec::with_capacity(CHUNK_ITEMS));
        self.send(Message::Items(chunk))
    }

    /// Reports that there are no more records now, and waits until a fetch asks again.
    fn dry(&mut self) -> Result<(), ReadError> {
        self.flush()?;
        self.send(Message::Dry)?;
        match &self.0 {
            Outlet::Feed { asked, .. } => asked.recv().map_err(|_| ReadError::Closed),
            Outlet::Count(_) => Err(ReadError::Closed),
        }
    }

    fn send(&self, message: Message<T>) -> Result<(), ReadError> {
        match &self.0 {
            Outlet::Feed { sender, .. } => sender.blocking_send(message).map_err(|_| ReadError::Closed),
            Outlet::Count(_) => Ok(()),
        }
    }
}

impl<T: Send + 'static> Feed<T> {
    /// Makes the feed of a file that is not read yet.
    pub(super) fn new(file: &Path) -> Self {
        let reading = Reading {
            file: display_path(file),
            stage: Stage::NotBegun,
            items: VecDeque::new(),
            dry: false,
            asks: None,
        };
        Self {
            held: Mutex::default(),
            found: Mutex::default(),
            reading: tokio::sync::Mutex::new(reading),
            made: AtomicU64::new(0),
            closed: CancellationToken::new(),
        }
    }

    /// Starts the reader unless it was started before, and waits until it is ready.
    ///
    /// `read` returns at the end of the file, or early when the feed is closed.
    pub(super) async fn start<R>(&self, read: R) -> Result<(), ConnectorError>
    where
        R: FnOnce(&mut RecordSender<T>) -> Result<(), ReadError> + Send + 'static,
    {
        let mut reading = self.reading.lock().await;
        if matches!(reading.stage, Stage::NotBegun) {
            let (asks, asked) = std::sync::mpsc::channel();
            reading.stage = Stage::Opening(spawn(read, asked)?);
            reading.asks = Some(asks);
        }
        // An earlier caller may have been cancelled while the reader opened the file.
        while matches!(reading.stage, Stage::Opening(_)) {
            reading.receive().await;
        }
        match &reading.stage {
            Stage::Failed(error) if reading.items.is_empty() => Err(again(error)),
            _ => Ok(()),
        }
    }

    /// Delivers at most `max` transactions. Transactions that were given back come before new ones.
    ///
    /// Each transaction is made of `unit` items (fewer at the end of the file).
    pub(super) async fn fetch(
        &self,
        max: usize,
        unit: usize,
        mut make: impl FnMut(&mut dyn Iterator<Item = T>) -> Option<Transaction>,
    ) -> Result<Vec<Delivery>, ConnectorError> {
        let back = self.given_back(max);
        if max == 0 || !back.is_empty() {
            return Ok(back);
        }
        loop {
            let items = tokio::select! {
                biased;
                () = self.closed.cancelled() => return Ok(Vec::new()),
                items = self.pull(unit.max(1), max) => items?,
            };
            // There is no await from here on, so every pulled item is delivered.
            let (deliveries, passed_over) = self.deliver(items, unit.max(1), &mut make);
            // If all items were skipped, the loop continues, because an empty fetch would end a finite run.
            if !deliveries.is_empty() || passed_over == 0 {
                return Ok(deliveries);
            }
        }
    }

    /// Delivers what [`fetch`](Self::fetch) would, if the reader has read it already. Returns `None` if the caller has
    /// to start the reader, or to wait.
    pub(super) fn fetch_now(
        &self,
        max: usize,
        unit: usize,
        mut make: impl FnMut(&mut dyn Iterator<Item = T>) -> Option<Transaction>,
    ) -> Option<Vec<Delivery>> {
        if max == 0 || self.is_closed() {
            return None;
        }
        let back = self.given_back(max);
        if !back.is_empty() {
            return Some(back);
        }
        let unit = unit.max(1);
        let items = {
            // If another fetch has the lock, the caller waits for its turn in `fetch`.
            let mut reading = self.reading.try_lock().ok()?;
            if reading.items.len() < unit {
                return None;
            }
            reading.take(unit, max)
        };
        let (deliveries, _) = self.deliver(items, unit, &mut make);
        (!deliveries.is_empty()).then_some(deliveries)
    }

    /// Makes deliveries of items; returns in addition how many transactions were skipped, because they were found by
    /// id.
    fn deliver(
        &self,
        items: Vec<T>,
        unit: usize,
        make: &mut impl FnMut(&mut dyn Iterator<Item = T>) -> Option<Transaction>,
    ) -> (Vec<Delivery>, u64) {
        let mut items = items.into_iter();
        // No other function holds both locks at the same time, so their order cannot cause a deadlock.
        let (mut held, mut found, mut passed_over) = (self.held(), self.found(), 0);
        let mut deliveries = Vec::with_capacity(items.len().div_ceil(unit));
        while items.len() > 0 {
            let Some(transaction) = make(&mut items.by_ref().take(unit)) else { continue };
            if !found.is_empty() && found.remove(transaction.id()) {
                passed_over += 1;
            } else {
                deliveries.push(held.hand_out(transaction, 0));
            }
        }
        self.made.fetch_add(deliveries.len() as u64 + passed_over, Ordering::Relaxed);
        (deliveries, passed_over)
    }

    fn given_back(&self, max: usize) -> Vec<Delivery> {
        let mut held = self.held();
        let count = max.min(held.waiting());
        std::iter::from_fn(|| held.next(0)).take(count).collect()
    }

    /// Takes up to `max` units; waits for the first. Cancel safe: received items stay in `items`.
    async fn pull(&self, unit: usize, max: usize) -> Result<Vec<T>, ConnectorError> {
        let mut reading = self.reading.lock().await;
        let mut asked = !reading.dry;
        while reading.items.len() < unit && matches!(reading.stage, Stage::Running(_)) {
            if reading.dry {
                // Each fetch asks the reader once, so the waits between the fetches limit how often the reader checks
                // the file.
                if asked {
                    break;
                }
                asked = true;
                reading.ask();
            }
            reading.receive().await;
        }
        let items = reading.take(unit, max);
        match &reading.stage {
            Stage::Failed(error) if items.is_empty() => Err(again(error)),
            _ => Ok(items),
        }
    }

    /// Delivers the transaction with this id: one that was given back, or the one that `search` finds in the file. No
    /// fetch delivers it a second time. `None` while its delivery is unsettled.
    pub(super) async fn find(
        &self,
        id: &str,
        search: impl Future<Output = Result<Option<Transaction>, ConnectorError>>,
    ) -> Result<Option<Delivery>, ConnectorError> {
        let given_back = {
            let mut held = self.held();
            let given_back = held.find(id, 0);
            if given_back.is_none() && held.is_handed_out(id) {
                return Ok(None);
            }
            given_back
        };
        if given_back.is_some() {
            return Ok(given_back);
        }
        let Some(transaction) = search.await? else { return Ok(None) };
        self.found().insert(transaction.id().to_owned());
        Ok(Some(self.held().hand_out(transaction, 0)))
    }

    /// Records settlements.
    pub(super) fn settle(&self, settlements: &[Settlement]) {
        let mut held = self.held();
        for settlement in settlements {
            held.settle(settlement);
        }
    }

    /// The number of transactions that can still be delivered, of a file with `total` of them.
    pub(super) fn pending(&self, total: u64) -> u64 {
        let apart = self.made.load(Ordering::Relaxed) + self.found().len() as u64;
        total.saturating_sub(apart) + self.held().waiting() as u64
    }

    /// Returns whether the feed is closed.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Ends the reader and all waiting fetches.
    pub(super) fn close(&self) {
        self.closed.cancel();
        // A waiting fetch has the lock, and may never be polled again, so this function does not wait for the lock. The
        // reader then ends when the feed is dropped.
        if let Ok(mut reading) = self.reading.try_lock() {
            reading.stage = Stage::Ended;
            reading.asks = None;
        }
    }

    fn found(&self) -> MutexGuard<'_, HashSet<String>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> MutexGuard<'_, Unacked> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Reading<T> {
    /// Waits for the reader's next message, and processes it.
    async fn receive(&mut self) {
        if let Stage::Opening(receiver) | Stage::Running(receiver) = &mut self.stage {
            let message = receiver.recv().await;
            self.take_in(message);
        }
    }

    /// Processes the reader's next message, if one has arrived; returns whether one had.
    fn receive_now(&mut self) -> bool {
        let Stage::Running(receiver) = &mut self.stage else { return false };
        match receiver.try_recv() {
            Ok(message) => self.take_in(Some(message)),
            Err(mpsc::error::TryRecvError::Empty) => return false,
            Err(mpsc::error::TryRecvError::Disconnected) => self.take_in(None),
        }
        true
    }

    /// Takes up to `max` units of the items that were read.
    fn take(&mut self, unit: usize, max: usize) -> Vec<T> {
        let most = unit.saturating_mul(max);
        while self.items.len() < most && self.receive_now() {}
        let there = self.items.len();
        let whole = if matches!(self.stage, Stage::Running(_)) { there - there % unit } else { there };
        self.items.drain(..whole.min(most)).collect()
    }

    /// Asks a waiting reader for more.
    fn ask(&mut self) {
        self.dry = false;
        // The reader may have ended. Then it has reported why, or the next receive finds that it panicked.
        let _gone = self.asks.as_ref().map(|asks| asks.send(()));
    }

    fn take_in(&mut self, message: Option<Message<T>>) {
        match message {
            Some(Message::Ready) => {
                self.stage = match std::mem::replace(&mut self.stage, Stage::Ended) {
                    Stage::Opening(receiver) => Stage::Running(receiver),
                    other => other,
                }
            }
            Some(Message::Items(items)) => self.items.extend(items),
            Some(Message::Dry) => self.dry = true,
            Some(Message::End) => self.stage = Stage::Ended,
            Some(Message::Failed(error)) => self.stage = Stage::Failed(error),
            // A reader reports how it ends, unless it panics. A panic must not look like the end of the file.
            None => {
                let message = format!("the reader of {} panicked", self.file);
                self.stage = Stage::Failed(ConnectorError::permanent(message));
            }
        }
    }
}

/// Runs a reader on a separate thread, because reads of a file block, and a read of standard input may never return.
fn spawn<T, R>(
    read: R,
    asked: std::sync::mpsc::Receiver<()>,
) -> Result<mpsc::Receiver<Message<T>>, ConnectorError>
where
    T: Send + 'static,
    R: FnOnce(&mut RecordSender<T>) -> Result<(), ReadError> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(CHUNKS);
    let run = move || {
        let chunk = Vec::with_capacity(CHUNK_ITEMS);
        let mut records = RecordSender(Outlet::Feed { sender, chunk, bytes: 0, asked });
        let last = match read(&mut records) {
            Ok(()) => Message::End,
            Err(ReadError::Closed) => return,
            Err(ReadError::Failed(error)) => Message::Failed(error),
        };
        // If the feed is closed by now, nothing uses the reader's last message.
        let _closed = records.flush().and_then(|()| records.send(last));
    };
    let thread = std::thread::Builder::new().name("ergon-reader".to_owned()).spawn(run);
    match thread {
        Ok(_detached) => Ok(receiver),
        Err(error) => {
            Err(ConnectorError::transient("cannot start the thread that reads the file").with_source(error))
        }
    }
}

/// Copies an error for the next fetch.
fn again(error: &ConnectorError) -> ConnectorError {
    let mut copy = ConnectorError::permanent(error.message());
    if let Some(cause) = std::error::Error::source(error) {
        copy = copy.with_source(cause.to_string());
    }
    match error.hint() {
        Some(hint) => copy.with_hint(hint),
        None => copy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transaction(items: &mut dyn Iterator<Item = u32>) -> Option<Transaction> {
        items.next().map(|number| Transaction::new(number.to_string(), &number).unwrap())
    }

    #[tokio::test]
    async fn a_reader_that_panics_is_no_end() {
        let feed = Feed::new(Path::new("/a"));
        let read = |records: &mut RecordSender<u32>| {
            let _ = records.ready().and_then(|()| records.push(1, 1)).and_then(|()| records.flush());
            panic!("a fault in a library");
        };
        feed.start(read).await.unwrap();
        assert_eq!(feed.fetch(10, 1, transaction).await.unwrap().len(), 1);
        let error = feed.fetch(10, 1, transaction).await.unwrap_err();
        assert_eq!(error.message(), "the reader of /a panicked");
    }

    #[tokio::test]
    async fn an_error_comes_after_what_was_read_before_it_and_stays() {
        let feed = Feed::new(Path::new("/a"));
        let read = |records: &mut RecordSender<u32>| {
            let _ = records.ready().and_then(|()| records.push(1, 1));
            Err(ConnectorError::permanent("bad sector").with_hint("buy a disk").into())
        };
        feed.start(read).await.unwrap();
        assert_eq!(feed.fetch(10, 1, transaction).await.unwrap().len(), 1);
        for _ in 0..2 {
            let error = feed.fetch(10, 1, transaction).await.unwrap_err();
            assert_eq!((error.message(), error.hint()), ("bad sector", Some("buy a disk")));
        }
    }

    #[tokio::test]
    async fn closing_ends_the_reader() {
        let (feed, (ended, end)) = (Feed::new(Path::new("/a")), std::sync::mpsc::channel());
        let read = move |records: &mut RecordSender<u32>| {
            let _ = records.ready();
            while records.push(1, 1).is_ok() {}
            ended.send(()).unwrap();
            Err(ReadError::Closed)
        };
        feed.start(read).await.unwrap();
        feed.close();
        end.recv_timeout(std::time::Duration::from_secs(10)).unwrap();
        assert!(feed.fetch(10, 1, transaction).await.unwrap().is_empty());
    }
}
