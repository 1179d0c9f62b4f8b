//! The thread that owns the connection to a file, and commits what its queues ask for.
//!
//! SQLite lets one connection write at a time. So all connectors of a process that name one file share one thread. It
//! takes everything that waits, runs it within one `BEGIN IMMEDIATE`, and commits once: with `synchronous=FULL` a commit
//! waits for the disk, so a commit for each call would cost a disk write for each call.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use super::Synchronous;
use super::error::{self, Failure};
use super::queue;
use crate::connector::ConnectorError;

/// How long a statement waits for a lock that another process holds.
pub(super) const BUSY: Duration = Duration::from_secs(30);

/// How often the thread asks whether another process has committed, while a fetch waits for data.
const POLL: Duration = Duration::from_millis(50);

/// How many pieces of work go into one commit, so that the first of them does not wait for ever.
const MOST: usize = 512;

/// The open files of this process, by path.
type OpenFiles = HashMap<(PathBuf, Synchronous), Weak<Database>>;

/// The answer to a piece of work, once its commit is durable.
pub(super) type Reply<T> = oneshot::Receiver<Result<T, ConnectorError>>;

/// A file that is open: the sender to its thread.
#[derive(Debug)]
pub(super) struct Database {
    path: Arc<Path>,
    work: Mutex<Sender<Box<dyn Work>>>,
    /// Changes with each commit, of any process, that may have made a row visible.
    commits: watch::Receiver<u64>,
}

/// A piece of work: statements of one caller.
trait Work: Send {
    /// Runs the statements. An error undoes them, and no other work of the same commit.
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()>;

    /// Answers the caller, after the commit.
    fn answer(self: Box<Self>, failure: Option<Failure>);
}

struct Call<T, F> {
    statements: Option<F>,
    value: Option<T>,
    reply: oneshot::Sender<Result<T, ConnectorError>>,
}

impl<T, F> Work for Call<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> rusqlite::Result<T> + Send,
{
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if let Some(statements) = self.statements.take() {
            self.value = Some(statements(connection)?);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, failure: Option<Failure>) {
        let answer = match (failure, self.value) {
            (None, Some(value)) => Ok(value),
            (Some(failure), _) => Err(failure.into()),
            (None, None) => Err(ConnectorError::transient("the statements were not run")),
        };
        // A caller that was cancelled has no use for the answer.
        let _ = self.reply.send(answer);
    }
}

impl Database {
    /// Opens a file, or joins the connectors of this process that have it open.
    ///
    /// # Errors
    /// A file that cannot be opened, or whose tables are newer than this program.
    pub(super) async fn open(path: &Path, synchronous: Synchronous) -> Result<Arc<Self>, ConnectorError> {
        // Held while a file is opened, so that a second opener waits for the outcome of the first.
        static OPEN: LazyLock<tokio::sync::Mutex<OpenFiles>> = LazyLock::new(tokio::sync::Mutex::default);
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|cause| error::no_folder(path, &cause))?;
        }
        let place = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let key = (place, synchronous);
        let mut open = OPEN.lock().await;
        open.retain(|_, database| database.strong_count() > 0);
        if let Some(database) = open.get(&key).and_then(Weak::upgrade) {
            return Ok(database);
        }
        let (database, ready) = Self::start(key.0.as_path().into(), synchronous)?;
        ready.await.map_err(|_| error::thread_ended(&database.path))??;
        open.insert(key, Arc::downgrade(&database));
        Ok(database)
    }

    fn start(path: Arc<Path>, synchronous: Synchronous) -> Result<(Arc<Self>, Reply<()>), ConnectorError> {
        let (work, waiting) = channel();
        let (commits, seen) = watch::channel(0);
        let (opened, ready) = oneshot::channel();
        let file = Arc::clone(&path);
        std::thread::Builder::new()
            .name("ergon-sqlite".to_owned())
            .spawn(move || match connect(&file, synchronous) {
                Ok(connection) => {
                    // The opener may be gone; the thread ends with its last sender all the same.
                    let _ = opened.send(Ok(()));
                    Writer { path: file, connection, waiting, commits, version: None }.run();
                }
                Err(error) => drop(opened.send(Err(error))),
            })
            .map_err(|cause| error::no_thread(&path, &cause))?;
        Ok((Arc::new(Self { path, work: Mutex::new(work), commits: seen }), ready))
    }

    /// Sends statements to the thread; the reply comes when their commit is durable.
    ///
    /// # Cancel safety
    /// The statements take effect whether or not the reply is awaited.
    pub(super) fn send<T: Send + 'static>(
        &self,
        statements: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Reply<T> {
        let (reply, answer) = oneshot::channel();
        let work = Box::new(Call { statements: Some(statements), value: None, reply });
        let sender = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        // If the thread has ended, the call is dropped with its reply, and `received` reports it.
        let _ended = sender.send(work);
        answer
    }

    /// Runs statements, and returns when their commit is durable.
    ///
    /// # Errors
    /// Why they were not committed.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        statements: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, ConnectorError> {
        let answer = self.send(statements).await;
        self.received(answer)
    }

    /// The answer of a [`Reply`] that was awaited.
    pub(super) fn received<T>(
        &self,
        answer: Result<Result<T, ConnectorError>, oneshot::error::RecvError>,
    ) -> Result<T, ConnectorError> {
        answer.unwrap_or_else(|_| Err(error::thread_ended(&self.path)))
    }

    /// Runs statements whose outcome no caller waits for.
    pub(super) fn forget(
        &self,
        statements: impl FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static,
    ) {
        drop(self.send(statements));
    }

    /// A receiver that sees each change from now on.
    pub(super) fn commits(&self) -> watch::Receiver<u64> {
        let mut commits = self.commits.clone();
        commits.mark_unchanged();
        commits
    }
}

/// Opens the connection, and makes the tables.
fn connect(path: &Arc<Path>, synchronous: Synchronous) -> Result<Connection, ConnectorError> {
    let connected = || {
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", synchronous.as_str())?;
        connection.set_prepared_statement_cache_capacity(64);
        let version = queue::migrate(&connection)?;
        Ok((connection, version))
    };
    let (connection, version) = connected().map_err(|cause| Failure::new(path, cause))?;
    if version > queue::VERSION { Err(error::newer(version, path)) } else { Ok(connection) }
}

/// The state of the thread.
struct Writer {
    path: Arc<Path>,
    connection: Connection,
    waiting: Receiver<Box<dyn Work>>,
    commits: watch::Sender<u64>,
    /// The `data_version` at the last poll; `None` before the first.
    version: Option<i64>,
}

impl Writer {
    /// Runs until the last connector of the file is gone.
    fn run(mut self) {
        loop {
            // One receiver is the database's own; a fetch that waits has another.
            let polls = self.commits.receiver_count() > 1;
            let first = if polls {
                match self.waiting.recv_timeout(POLL) {
                    Ok(work) => work,
                    Err(RecvTimeoutError::Timeout) => {
                        self.poll();
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            } else {
                match self.waiting.recv() {
                    Ok(work) => work,
                    Err(_) => return,
                }
            };
            let mut batch = vec![first];
            while batch.len() < MOST
                && let Ok(work) = self.waiting.try_recv()
            {
                batch.push(work);
            }
            self.commit(batch);
        }
    }

    /// Looks whether another process has committed.
    fn poll(&mut self) {
        let version = self.connection.query_row("PRAGMA data_version", [], |row| row.get(0));
        // A failure is one of the next statement too, whose caller hears of it.
        if let Ok(version) = version
            && self.version.replace(version) != Some(version)
        {
            self.commits.send_modify(|count| *count += 1);
        }
    }

    /// Runs a batch within one transaction, and answers its callers.
    fn commit(&self, mut batch: Vec<Box<dyn Work>>) {
        let alone = batch.len() == 1;
        let mut failures: Vec<Option<Failure>> = Vec::with_capacity(batch.len());
        let ended = self.connection.execute_batch("BEGIN IMMEDIATE").and_then(|()| {
            for work in &mut batch {
                failures
                    .push(self.step(work.as_mut(), alone).err().map(|cause| Failure::new(&self.path, cause)));
            }
            // The only work of this transaction failed: nothing of it stays.
            let end = if alone && failures.iter().all(Option::is_some) { "ROLLBACK" } else { "COMMIT" };
            self.connection.execute_batch(end)
        });
        let failed = ended.err().map(|cause| {
            if !self.connection.is_autocommit() {
                // A failed commit leaves the transaction open; if the rollback fails too, the next `BEGIN` says so.
                let _ = self.connection.execute_batch("ROLLBACK");
            }
            Failure::at_commit(&self.path, cause)
        });
        failures.resize(batch.len(), None);
        self.commits.send_modify(|count| *count += 1);
        for (work, failure) in batch.into_iter().zip(failures) {
            work.answer(failure.or_else(|| failed.clone()));
        }
    }

    /// Runs one piece of work so that its failure undoes nothing else.
    fn step(&self, work: &mut dyn Work, alone: bool) -> rusqlite::Result<()> {
        if alone {
            return work.run(&self.connection);
        }
        self.connection.prepare_cached("SAVEPOINT work")?.execute([])?;
        let done = work.run(&self.connection);
        if done.is_err() {
            self.connection.prepare_cached("ROLLBACK TO work")?.execute([])?;
        }
        self.connection.prepare_cached("RELEASE work")?.execute([])?;
        done
    }
}
