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

/// Longer than anything here takes that works.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// How long a broker may take to move what is rejected to the dead letters.
const MOVED: Duration = Duration::from_secs(15);

/// How many deliveries the task holds at most: as many may be done again after each outage.
pub(crate) const PREFETCH: usize = 50;

/// What the handler of a transaction does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is copied.
    Copied,
    /// It is wrong: rejected.
    Wrong,
    /// It fails and is given back, each time.
    GivenBack,
    /// Its first attempt takes this long.
    Slow(Duration),
}

/// Most are copied, each tenth is wrong and ends among the dead letters.
pub(crate) fn mixed(id: &str) -> Fate {
    if id.ends_with('7') { Fate::Wrong } else { Fate::Copied }
}

/// The books, and what the handler does; injected as a service.
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

    /// How many were rejected, and are to be found among the dead letters.
    fn refused(&self) -> u32 {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.iter().map(|id| u32::from((self.fate)(id) == Fate::Wrong)).sum()
    }

    fn count(&self) -> usize {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Copies each transaction, whatever its payload.
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
    /// Describes one whose queues begin with `name`, and which reaches the broker by way of this port. Its source is a
    /// quorum queue; what it rejects goes to a queue of its own.
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

    /// Sets how long the handler takes.
    pub(crate) fn pause(mut self, pause: Duration) -> Self {
        self.books.pause = pause;
        self
    }

    /// Sets what the handler does with each id.
    pub(crate) fn fate(mut self, fate: fn(&str) -> Fate) -> Self {
        self.books.fate = fate;
        self
    }

    /// The name of the queue that is for `role`: `in`, `out`, `dead`.
    pub(crate) fn queue(&self, role: &str) -> String {
        format!("{}.{role}", self.name)
    }

    /// A client that is straight at the broker.
    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.broker.url()).await.unwrap()
    }

    /// Puts `count` more messages into the source; makes the queues before the first.
    pub(crate) async fn fill(&mut self, count: usize) {
        if self.offered == 0 {
            self.declare().await.unwrap();
        }
        let ids = (self.offered..self.offered + count).map(|n| format!("{n:06}"));
        self.client().await.fill(&self.queue("in"), ids, &self.books.ledger).await.unwrap();
        self.offered += count;
    }

    /// Has the connectors declare their queues.
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

    /// Starts the task, which has to work.
    pub(crate) async fn start(&self) -> Running {
        self.try_start().await.unwrap()
    }

    /// Waits until this many more are done; says how long it took.
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

    /// Puts in a thousand each second for as long as this lasts.
    pub(crate) async fn feed(&mut self, time: Duration, mut each_second: impl FnMut()) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            each_second();
            let next = Instant::now() + Duration::from_secs(1);
            self.fill(1000).await;
            tokio::time::sleep_until(next).await;
        }
    }

    /// Waits until all that went in is done, stops the task, and says what the books say.
    pub(crate) async fn finish(self, scenario: &str, running: Running) -> (Verdict, RunReport) {
        let offered = self.offered;
        self.finish_with(scenario, running, offered).await
    }

    /// The same where only so many can be done.
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
        // A broker moves dead letters in its own time.
        let (client, dead, refused) = (self.client().await, self.queue("dead"), self.books.refused());
        until_or_not(MOVED, async || client.ready(&dead).await.unwrap() >= refused).await;
        let verdict = self.verdict().await;
        println!("{scenario}: {verdict}; rest took {took:.2?}, unknown {}", report.tally.unknown);
        let counted = books.count();
        assert!(counted >= done, "{scenario}: only {counted} of {done} were done: {verdict}; {report:?}");
        verdict.assert_nothing_lost();
        (verdict, report)
    }

    /// Stops the task before all is done; says what the books say, and how many are done.
    pub(crate) async fn leave(self, scenario: &str, running: Running) -> (Verdict, usize) {
        running.stop();
        let report = running.wait().await.unwrap();
        let verdict = self.verdict().await;
        println!("{scenario}: {verdict}; unknown {}", report.tally.unknown);
        verdict.assert_nothing_lost();
        (verdict, self.books.count())
    }

    /// What the books say now that nobody works any more.
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

/// Waits until a condition holds or the time is over; what is wrong then is better said by who asked.
async fn until_or_not(limit: Duration, condition: impl AsyncFn() -> bool) -> Duration {
    let began = Instant::now();
    while began.elapsed() < limit && !condition().await {
        sleep(Duration::from_millis(20)).await;
    }
    began.elapsed()
}
