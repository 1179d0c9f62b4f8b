//! A task that copies from one queue to another, with a ledger of every id.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ergon::Error;
use ergon::connector::ConnectorError;
use ergon::connector::rabbitmq::RabbitMqConfig;
use ergon::connector::{Connector as _, ConnectorConfig as _};
use ergon::connector::{Context, Direction};
use ergon::prelude::*;
use ergon::service::ServiceConfig;
use ergon::service::{Service, ServiceError};
use ergon::telemetry::RunReport;
use ergon::testing::{self, Running};
use ergon::transaction::Payload;
use ergon_tests::broker::{Broker, Client, Message};
use ergon_tests::ledger::{Ledger, Left, Outcome, Verdict};
use ergon_tests::until;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// A time limit that is longer than every step that works.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// The time that a broker may take to move a rejected message to the dead-letter queue.
const MOVED: Duration = Duration::from_secs(15);

/// The maximum number of deliveries that the task holds. After each outage, this many may be processed again.
pub(crate) const PREFETCH: usize = 50;

/// The behaviour of the handler for a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Copies the transaction.
    Copied,
    /// Rejects the transaction.
    Wrong,
    /// Fails, and requeues the transaction each time.
    GivenBack,
    /// Takes this long in its first attempt.
    Slow(Duration),
}

/// Copies most transactions. Every tenth transaction is rejected and dead-lettered.
pub(crate) fn mixed(id: &str) -> Fate {
    if id.ends_with('7') { Fate::Wrong } else { Fate::Copied }
}

/// The ledger, and the behaviour of the handler; injected as a service.
#[derive(Clone)]
pub(crate) struct Books {
    ledger: Arc<Ledger>,
    fate: fn(&str) -> Fate,
    pause: Duration,
    done: Arc<Mutex<BTreeSet<String>>>,
    starts: Arc<AtomicUsize>,
}

impl Service for Books {}

impl ServiceConfig for Books {
    type Service = Self;

    fn build(&self) -> Result<Self, ServiceError> {
        Ok(self.clone())
    }
}

impl fmt::Debug for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Books")
    }
}

impl Books {
    fn done(&self, id: &str) {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned());
    }

    /// The number of rejected transactions, which must be in the dead-letter queue.
    fn refused(&self) -> u32 {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.iter().map(|id| u32::from((self.fate)(id) == Fate::Wrong)).sum()
    }

    fn count(&self) -> usize {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Copies each transaction with any payload.
#[ergon::task(
    connectors(input, output),
    services(books: Books),
    consumer(
        streaming,
        concurrency = 16,
        prefetch = 34,
        shutdown_grace = "5s",
        success(max_attempts = 1000, backoff = "50ms", backoff_cap = "1s"),
    )
)]
struct Copy;

impl Consumer for Copy {
    type Payload = Payload;
    type Output = ();

    async fn process_transaction(&self, transaction: &Transaction<Payload>) -> Result<()> {
        let books = &self.books_service;
        let id = transaction.id();
        books.ledger.start(id, transaction.deliveries());
        let before = books.starts.fetch_add(1, Ordering::SeqCst);
        sleep(books.pause).await;
        match (books.fate)(id) {
            Fate::Wrong => Err(TransactionError::business("wrong")),
            Fate::GivenBack => Err(TransactionError::system("not now")),
            Fate::Slow(time) if transaction.deliveries() <= 1 => {
                println!("{id} is slow, after {before} others");
                sleep(time).await;
                Ok(())
            }
            Fate::Copied | Fate::Slow(_) => Ok(()),
        }
    }

    async fn handle_process_success(&self, transaction: &Transaction<Payload>, (): &()) -> Result<()> {
        self.output_connector.dispatch(transaction.forward()).await?;
        let books = &self.books_service;
        books.ledger.end(transaction.id(), transaction.deliveries(), Outcome::Succeeded);
        books.done(transaction.id());
        Ok(())
    }

    async fn handle_process_exception(
        &self,
        transaction: &Transaction,
        error: &TransactionError,
    ) -> Result<Disposition> {
        let books = &self.books_service;
        books.ledger.end(transaction.id(), transaction.deliveries(), Outcome::Failed);
        if error.category() != Category::Business {
            return Ok(Disposition::Requeue);
        }
        books.done(transaction.id());
        Ok(Disposition::Reject)
    }
}

/// A task between two queues of a broker, with the ids that went in.
pub(crate) struct Pipeline<'a> {
    pub(crate) broker: &'a Broker,
    pub(crate) books: Books,
    pub(crate) input: Value,
    pub(crate) output: Value,
    pub(crate) policy: fn(&mut ConsumerPolicy),
    name: String,
    offered: usize,
    _folder: TempDir,
}

impl<'a> Pipeline<'a> {
    /// Describes a pipeline whose queues start with `name`, and which reaches the broker through this port. Its source
    /// is a quorum queue, and its rejected transactions go to a separate queue.
    pub(crate) fn new(broker: &'a Broker, port: u16, name: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let books = Books {
            ledger: Arc::new(Ledger::open(folder.path()).unwrap()),
            fate: |_| Fate::Copied,
            pause: Duration::from_millis(2),
            done: Arc::default(),
            starts: Arc::default(),
        };
        let url = broker.url_at(port);
        let dead_letter = json!({"queue": format!("{name}.dead")});
        let input = json!({
            "url": url, "queue": format!("{name}.in"), "heartbeat": "2s", "connect_timeout": "3s",
            "declare": {"kind": "quorum", "dead_letter": dead_letter},
        });
        let output = json!({
            "url": url, "queue": format!("{name}.out"), "heartbeat": "2s", "connect_timeout": "3s",
            "publish": {"confirm_timeout": "3s"},
        });
        let (name, policy) = (name.to_owned(), (|_| {}) as fn(&mut ConsumerPolicy));
        Self { broker, books, input, output, policy, name, offered: 0, _folder: folder }
    }

    /// Sets the duration of the handler.
    pub(crate) fn pause(mut self, pause: Duration) -> Self {
        self.books.pause = pause;
        self
    }

    /// Sets the behaviour of the handler for each id.
    pub(crate) fn fate(mut self, fate: fn(&str) -> Fate) -> Self {
        self.books.fate = fate;
        self
    }

    /// The name of the queue that is for `role`: `in`, `out`, `dead`.
    pub(crate) fn queue(&self, role: &str) -> String {
        format!("{}.{role}", self.name)
    }

    /// A client with a direct connection to the broker.
    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.broker.url()).await.unwrap()
    }

    /// Puts `count` more messages into the source. The first call creates the queues.
    pub(crate) async fn fill(&mut self, count: usize) {
        if self.offered == 0 {
            self.declare().await.unwrap();
        }
        let ids = (self.offered..self.offered + count).map(|n| format!("{n:06}"));
        self.client().await.fill(&self.queue("in"), ids, &self.books.ledger).await.unwrap();
        self.offered += count;
    }

    /// Lets the connectors declare their queues.
    pub(crate) async fn declare(&self) -> Result<(), ConnectorError> {
        for (config, direction) in [(&self.input, Direction::Source), (&self.output, Direction::Sink)] {
            let mut context = Context::new("copy", "declare");
            context.direction = direction;
            let connector = parsed(config).build(&context)?;
            connector.open().await?;
            connector.close().await?;
        }
        Ok(())
    }

    /// Starts the task.
    pub(crate) async fn try_start(&self) -> Result<Running, Error> {
        let (input, output) = (parsed(&self.input), parsed(&self.output));
        let wiring = CopyWiring { input, output, books: self.books.clone() };
        testing::start(Copy::config(wiring).consumer(self.policy)).await
    }

    /// Starts the task, which must succeed.
    pub(crate) async fn start(&self) -> Running {
        self.try_start().await.unwrap()
    }

    /// Waits until this many more messages are processed. Returns the time that it took.
    pub(crate) async fn goes_on(&self, more: usize) -> Duration {
        let enough = self.books.count() + more;
        until(&format!("{more} more are done"), PATIENCE, async || self.books.count() >= enough).await
    }

    /// Waits until the outage is over for the task, and prints how long that took.
    pub(crate) async fn recovers(&self, scenario: &str) {
        self.recovers_since(scenario, Instant::now()).await;
    }

    /// The same for an outage that ended, or began, at this time.
    pub(crate) async fn recovers_since(&self, scenario: &str, since: Instant) {
        self.goes_on(1).await;
        println!("{scenario}: the first goes through after {:.2?}", since.elapsed());
    }

    /// Publishes a thousand messages each second for this time.
    pub(crate) async fn feed(&mut self, time: Duration, mut each_second: impl FnMut()) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            each_second();
            let next = Instant::now() + Duration::from_secs(1);
            self.fill(1000).await;
            tokio::time::sleep_until(next).await;
        }
    }

    /// Waits until all messages are processed, stops the task, and returns the verdict of the ledger.
    pub(crate) async fn finish(self, scenario: &str, running: Running) -> (Verdict, RunReport) {
        let offered = self.offered;
        self.finish_with(scenario, running, offered).await
    }

    /// The same if only this many messages can be processed.
    pub(crate) async fn finish_with(
        self,
        scenario: &str,
        running: Running,
        done: usize,
    ) -> (Verdict, RunReport) {
        let books = self.books.clone();
        let took = until_or_not(PATIENCE, async || books.count() >= done).await;
        running.stop();
        let report = running.wait().await.unwrap();
        // A broker moves dead letters with a delay.
        let (client, dead, refused) = (self.client().await, self.queue("dead"), self.books.refused());
        until_or_not(MOVED, async || client.ready(&dead).await.unwrap() >= refused).await;
        let verdict = self.verdict().await;
        println!("{scenario}: {verdict}; rest took {took:.2?}, unknown {}", report.tally.unknown);
        let counted = books.count();
        assert!(counted >= done, "{scenario}: only {counted} of {done} were done: {verdict}; {report:?}");
        verdict.assert_nothing_lost();
        (verdict, report)
    }

    /// Stops the task before all messages are processed. Returns the verdict of the ledger, and the number of processed
    /// messages.
    pub(crate) async fn leave(self, scenario: &str, running: Running) -> (Verdict, usize) {
        running.stop();
        let report = running.wait().await.unwrap();
        let verdict = self.verdict().await;
        println!("{scenario}: {verdict}; unknown {}", report.tally.unknown);
        verdict.assert_nothing_lost();
        (verdict, self.books.count())
    }

    /// The verdict of the ledger, after all work has ended.
    pub(crate) async fn verdict(&self) -> Verdict {
        let client = self.client().await;
        let ids = |messages: Vec<Message>| messages.into_iter().map(|message| message.id).collect::<Vec<_>>();
        let queued = ids(client.drain(&self.queue("in")).await.unwrap());
        let dead_letters = ids(client.drain(&self.queue("dead")).await.unwrap());
        let arrived = Some(ids(client.drain(&self.queue("out")).await.unwrap()));
        self.books.ledger.check(Left { queued, dead_letters, arrived })
    }
}

fn parsed(config: &Value) -> RabbitMqConfig {
    serde_json::from_value(config.clone()).unwrap()
}

/// Waits until a condition holds or the time is over. The caller then has the better error message.
async fn until_or_not(limit: Duration, condition: impl AsyncFn() -> bool) -> Duration {
    let began = Instant::now();
    while began.elapsed() < limit && !condition().await {
        sleep(Duration::from_millis(20)).await;
    }
    began.elapsed()
}
