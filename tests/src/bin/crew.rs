//! A program for tests of processes: its tasks write what they do into a ledger, and do what each line tells them:
//! wait at a gate, hang, hold their thread, or end the whole process.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use ergon::prelude::*;
use ergon_tests::ledger::{Ledger, Outcome};

/// What to do; nothing by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Does {
    #[default]
    Nothing,
    /// Wait until the file `gate` is there.
    Gate,
    /// Never come to an end, and wait for nothing.
    Hang,
    /// Never come to an end, and hold the thread.
    Hold,
    /// End the process.
    Abort,
    /// End the process, unless it was done once before.
    AbortOnce,
    /// Fail for good.
    Fail,
    /// Write to both streams.
    Shout,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
struct Line {
    #[serde(default)]
    does: Does,
}

/// Where all is written down.
struct Books {
    ledger: Ledger,
    folder: PathBuf,
    work: Duration,
}

impl Service for Books {}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct BooksConfig {
    folder: PathBuf,
    /// How long each takes.
    #[serde(default)]
    work_ms: u64,
}

impl ServiceConfig for BooksConfig {
    type Service = Books;

    fn build(&self) -> Result<Books, ServiceError> {
        let ledger = Ledger::open(&self.folder);
        let ledger =
            ledger.map_err(|error| ServiceError::new("the ledger does not open").with_source(error))?;
        Ok(Books { ledger, folder: self.folder.clone(), work: Duration::from_millis(self.work_ms) })
    }
}

impl Books {
    /// The part that needs nobody to wait: true if the gate is to be waited for.
    fn act(&self, does: Does) -> Result<bool> {
        match does {
            Does::Abort => std::process::abort(),
            Does::AbortOnce if File::create_new(self.folder.join("aborted")).is_ok() => std::process::abort(),
            Does::Fail => return Err(TransactionError::business("the line says so")),
            Does::Hold => thread::sleep(Duration::MAX),
            Does::Shout => {
                use std::io::Write as _;
                writeln!(std::io::stderr(), "shouted to stderr").system()?;
                writeln!(std::io::stdout(), "shouted to stdout").system()?;
            }
            Does::Nothing | Does::AbortOnce | Does::Gate | Does::Hang => (),
        }
        Ok(does == Does::Gate)
    }

    fn gate(&self) -> PathBuf {
        self.folder.join("gate")
    }
}

async fn passed(gate: &Path) {
    while !gate.exists() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Reads lines of JSON.
#[ergon::task(connectors(input), services(books: Books), consumer(concurrency = 2, batch_size = 4))]
struct Lines;

impl Consumer for Lines {
    type Payload = Line;
    type Output = ();

    async fn process_transaction(&self, line: &Transaction<Line>) -> Result<()> {
        let books = &*self.books_service;
        books.ledger.start(line.id(), line.deliveries());
        tracing::info!("at work");
        if books.act(line.payload().does)? {
            passed(&books.gate()).await;
        }
        if line.payload().does == Does::Hang {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(books.work).await;
        Ok(())
    }

    async fn handle_process_success(&self, line: &Transaction<Line>, (): &()) -> Result<()> {
        self.books_service.ledger.end(line.id(), line.deliveries(), Outcome::Succeeded);
        Ok(())
    }
}

/// The same on threads.
#[ergon::task(blocking, connectors(input), services(books: Books), consumer(concurrency = 2, batch_size = 4))]
struct Threads;

impl BlockingConsumer for Threads {
    type Payload = Line;
    type Output = ();

    fn process_transaction(&self, line: &Transaction<Line>) -> Result<()> {
        let books = &*self.books_service;
        books.ledger.start(line.id(), line.deliveries());
        if books.act(line.payload().does)? {
            ergon::block_on(passed(&books.gate()));
        }
        if line.payload().does == Does::Hang {
            thread::sleep(Duration::MAX);
        }
        thread::sleep(books.work);
        Ok(())
    }

    fn handle_process_success(&self, line: &Transaction<Line>, (): &()) -> Result<()> {
        self.books_service.ledger.end(line.id(), line.deliveries(), Outcome::Succeeded);
        Ok(())
    }
}

/// Reads the rows of a workbook.
#[ergon::task(connectors(input), services(books: Books), consumer(concurrency = 2, batch_size = 8))]
struct Rows;

impl Consumer for Rows {
    type Payload = Value;
    type Output = ();

    async fn process_transaction(&self, row: &Transaction<Value>) -> Result<()> {
        self.books_service.ledger.start(row.id(), row.deliveries());
        tokio::time::sleep(self.books_service.work).await;
        Ok(())
    }

    async fn handle_process_success(&self, row: &Transaction<Value>, (): &()) -> Result<()> {
        self.books_service.ledger.end(row.id(), row.deliveries(), Outcome::Succeeded);
        Ok(())
    }
}

/// What the test writes into `ergon.toml`.
#[derive(Clone, Deserialize)]
struct Settings {
    lines: JsonLinesConfig,
    rows: ExcelConfig,
    books: BooksConfig,
}

ergon::main! {
    settings: Settings,
    tasks: [
        Lines { input: lines, books: books },
        Threads { input: lines, books: books },
        Rows { input: rows, books: books },
    ],
}
