//! A program for tests of processes: its tasks write their actions into a ledger, and follow the instruction of each
//! line: wait at a gate, hang, block their thread, or end the whole process.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use ergon::connector::prelude::*;
use ergon::prelude::*;
use ergon::service::{Service, ServiceConfig, ServiceError};
use ergon_tests::ledger::{Ledger, Outcome};
use futures_util::stream::{self, StreamExt};

/// The instruction of the line; none by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Does {
    #[default]
    Nothing,
    /// Wait until the file `gate` exists.
    Gate,
    /// Wait forever.
    Hang,
    /// Block the thread forever.
    Hold,
    /// End the process.
    Abort,
    /// End the process, unless this was done once before.
    AbortOnce,
    /// End the process with exit code 0.
    Exit,
    /// Fail with a business error.
    Fail,
    /// Write to both streams.
    Shout,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
struct Line {
    #[serde(default)]
    does: Does,
    /// The error of the transaction, if it fails.
    #[serde(default)]
    why: Option<String>,
}

/// The ledger of all events.
struct Books {
    ledger: Ledger,
    folder: PathBuf,
    work: Duration,
    /// Whether the stream selects the share of its worker.
    shares: bool,
}

impl Service for Books {}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct BooksConfig {
    folder: PathBuf,
    /// The duration of each transaction.
    #[serde(default)]
    work_ms: u64,
    #[serde(default)]
    shares: bool,
}

impl ServiceConfig for BooksConfig {
    type Service = Books;

    fn build(&self) -> Result<Books, ServiceError> {
        let ledger = Ledger::open(&self.folder);
        let ledger =
            ledger.map_err(|error| ServiceError::new("the ledger does not open").with_source(error))?;
        Ok(Books {
            ledger,
            folder: self.folder.clone(),
            work: Duration::from_millis(self.work_ms),
            shares: self.shares,
        })
    }
}

impl Books {
    /// The part that does not wait. Returns whether the caller must wait at the gate.
    fn act(&self, line: &Line) -> Result<bool> {
        match line.does {
            Does::Abort => std::process::abort(),
            Does::Exit => std::process::exit(0),
            Does::AbortOnce if File::create_new(self.folder.join("aborted")).is_ok() => std::process::abort(),
            Does::Fail => {
                let why = line.why.as_deref().unwrap_or("the line says so");
                return Err(TransactionError::business(why));
            }
            Does::Hold => thread::sleep(Duration::MAX),
            Does::Shout => {
                use std::io::Write as _;
                writeln!(std::io::stderr(), "shouted to stderr").system()?;
                writeln!(std::io::stdout(), "shouted to stdout").system()?;
            }
            Does::Nothing | Does::AbortOnce | Does::Gate | Does::Hang => (),
        }
        Ok(line.does == Does::Gate)
    }

    /// Follows the instruction of the line, and blocks the thread only if the instruction says so.
    async fn work(&self, line: &Transaction<Line>) -> Result<()> {
        self.ledger.start(line.id(), line.deliveries());
        tracing::info!("at work");
        if self.act(line.payload())? {
            passed(&self.gate()).await;
        }
        if line.payload().does == Does::Hang {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(self.work).await;
        Ok(())
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
        self.books_service.work(line).await
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
        if books.act(line.payload())? {
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

/// Copies lines into a file that each run empties first.
#[ergon::task(connectors(input, output), services(books: Books), consumer(concurrency = 2, batch_size = 4))]
struct Copies;

impl Consumer for Copies {
    type Payload = Line;
    type Output = ();

    async fn process_transaction(&self, line: &Transaction<Line>) -> Result<()> {
        self.books_service.work(line).await
    }

    async fn handle_process_success(&self, line: &Transaction<Line>, (): &()) -> Result<()> {
        self.output_connector.dispatch(line.forward()).await
    }
}

/// A sink that accepts transactions once the file `gate` exists.
#[derive(Connector)]
#[connector(sink)]
struct Door {
    gate: PathBuf,
}

impl Sink for Door {
    async fn dispatch(&self, _: Vec<Transaction>) -> Result<(), ConnectorError> {
        passed(&self.gate).await;
        Ok(())
    }
}

/// Produces the lines, then waits for more lines, which never arrive.
#[ergon::task(connectors(output), services(books: Books), producer(concurrency = 2))]
struct Makes;

impl Producer for Makes {
    type Payload = Line;
    type Output = ();

    fn transactions(&self) -> impl Stream<Item = Result<Transaction<Line>>> + Send {
        let lines =
            std::fs::read_to_string(self.books_service.folder.join("lines.jsonl")).unwrap_or_default();
        let mine = self.books_service.shares.then(Shard::current).unwrap_or_default();
        let made = lines.lines().enumerate().filter(|(index, _)| mine.owns(*index as u64));
        let made = made.map(|(index, line)| {
            let line: Line = serde_json::from_str(line).business()?;
            Transaction::typed(format!("made:{}", index + 1), line)
        });
        stream::iter(made.collect::<Vec<_>>()).chain(stream::pending())
    }

    async fn prepare_transaction(&self, line: &Transaction<Line>) -> Result<()> {
        self.books_service.work(line).await
    }

    async fn handle_prepare_success(&self, line: &Transaction<Line>, (): &()) -> Result<()> {
        self.output_connector.dispatch(line.forward()).await?;
        self.books_service.ledger.end(line.id(), line.deliveries(), Outcome::Succeeded);
        Ok(())
    }
}

/// Processes the lines in its own loops.
#[ergon::task(execute, connectors(input), services(books: Books))]
struct Own;

impl Consumer for Own {
    type Payload = Line;
    type Output = ();

    async fn process_transaction(&self, line: &Transaction<Line>) -> Result<()> {
        self.books_service.work(line).await
    }

    async fn handle_process_success(&self, line: &Transaction<Line>, (): &()) -> Result<()> {
        self.books_service.ledger.end(line.id(), line.deliveries(), Outcome::Succeeded);
        Ok(())
    }
}

impl Execute for Own {
    async fn execute(&self, run: &Run) -> Result<()> {
        run.consume(self, &ConsumerPolicy::DEFAULT).await.map(drop)
    }
}

/// A task whose constructor does what `CREW_BUILDS` says.
#[ergon::task(connectors(input), services(books: Books))]
struct Builds {
    #[init(built())]
    _built: (),
}

impl Consumer for Builds {
    type Payload = Line;
    type Output = ();

    async fn process_transaction(&self, line: &Transaction<Line>) -> Result<()> {
        self.books_service.work(line).await
    }
}

/// Panics or hangs, always or only in a worker. Before it hangs, it creates a file for which the test waits.
fn built() {
    let worker = std::env::args().any(|argument| argument.starts_with("--as-worker"));
    let does = std::env::var("CREW_BUILDS");
    assert!(does.as_deref() != Ok("panics"), "no {}", "bricks");
    match does.as_deref() {
        Ok("hangs") => (),
        Ok("hangs-in-a-worker") if worker => (),
        _ => return,
    }
    // The test waits for the file. Without the file, the test reports it.
    drop(File::create(format!("building-{}", std::process::id())));
    thread::sleep(Duration::MAX);
}

/// A connector and a service that panic in the call that the settings name.
#[derive(Clone, Default, Deserialize)]
struct Clay {
    #[serde(default)]
    panics: String,
}

impl Clay {
    fn at(&self, stage: &str) {
        assert!(self.panics != stage, "cracked in {stage}");
    }
}

impl ConnectorConfig for Clay {
    type Connector = Self;

    fn build(&self, _: &Context) -> Result<Self, ConnectorError> {
        self.at("build");
        Ok(self.clone())
    }
}

impl Connector for Clay {
    const KIND: &'static str = "clay";

    async fn open(&self) -> Result<(), ConnectorError> {
        self.at("open");
        Ok(())
    }

    async fn start(&self) -> Result<(), ConnectorError> {
        self.at("start");
        Ok(())
    }

    fn health(&self) -> Health {
        self.at("health");
        Health::Healthy
    }
}

impl Source for Clay {
    async fn fetch(&self, _: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        Ok(Vec::new())
    }

    async fn settle(&self, _: Vec<Settlement>) -> Result<(), ConnectorError> {
        Ok(())
    }
}

impl ServiceConfig for Clay {
    type Service = Self;

    fn build(&self) -> Result<Self, ServiceError> {
        self.at("build");
        Ok(self.clone())
    }
}

impl Service for Clay {
    async fn open(&self) -> Result<(), ServiceError> {
        self.at("open");
        Ok(())
    }
}

/// A task of clay.
#[ergon::task(connectors(input), services(clay: Clay))]
struct Brittle;

impl Consumer for Brittle {
    type Payload = Line;
    type Output = ();

    async fn process_transaction(&self, _: &Transaction<Line>) -> Result<()> {
        Ok(())
    }
}

/// A task that records the call of its `exit`. The hook hangs if `CREW_EXIT` is `hangs`.
#[ergon::task(connectors(input), services(books: Books), consumer(concurrency = 1))]
struct Leaves;

impl Consumer for Leaves {
    type Payload = Line;
    type Output = ();

    async fn process_transaction(&self, line: &Transaction<Line>) -> Result<()> {
        self.books_service.work(line).await
    }

    async fn exit(&self) -> Result<()> {
        self.books_service.ledger.end("exit", 1, Outcome::Succeeded);
        if std::env::var("CREW_EXIT").is_ok_and(|does| does == "hangs") {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

/// The same on threads.
#[ergon::task(blocking, connectors(input), services(books: Books), consumer(concurrency = 1))]
struct LeavesThreads;

impl BlockingConsumer for LeavesThreads {
    type Payload = Line;
    type Output = ();

    fn process_transaction(&self, line: &Transaction<Line>) -> Result<()> {
        ergon::block_on(self.books_service.work(line))
    }

    fn exit(&self) -> Result<()> {
        self.books_service.ledger.end("exit", 1, Outcome::Succeeded);
        if std::env::var("CREW_EXIT").is_ok_and(|does| does == "hangs") {
            thread::sleep(Duration::MAX);
        }
        Ok(())
    }
}

/// The settings that the test writes into `ergon.toml`.
#[derive(Clone, Deserialize)]
struct Settings {
    lines: JsonLinesConfig,
    rows: ExcelConfig,
    copied: JsonLinesConfig,
    copies: JsonLinesConfig,
    door: DoorConfig,
    books: BooksConfig,
    #[serde(default)]
    clay: Clay,
}

ergon::main! {
    settings: Settings,
    tasks: [
        Lines { input: lines, books: books },
        Threads { input: lines, books: books },
        Rows { input: rows, books: books },
        Copies { input: copied, output: copies, books: books },
        Makes { output: door, books: books },
        Own { input: lines, books: books },
        Builds { input: lines, books: books },
        Brittle { input: clay, clay: clay },
        Leaves { input: lines, books: books },
        LeavesThreads { input: lines, books: books },
    ],
}
