//! Tests a queue in a SQLite file with real processes: processes that are killed, and several at the same time.

use std::collections::HashMap;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ergon::connector::prelude::*;
use ergon::connector::sqlite::{Sqlite, SqliteConfig};
use ergon::prelude::Consumer;
use ergon::testing::conformance::{self, Fixture};
use tempfile::TempDir;

/// The number of transactions in the queue.
const COUNT: u32 = 3000;
/// The number of processes that are killed.
const KILLS: u32 = 8;
/// The unsettled deliveries that one process may have: its lanes, and one batch that it fetched ahead.
const IN_FLIGHT: usize = 8 + 16;
/// The time limit of each wait, for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder in which the program `queue` copies the queue `numbers` to the queue `copies`.
struct Project(TempDir);

impl Project {
    fn new(lease: &str) -> Self {
        let project = Self(tempfile::tempdir().unwrap());
        let queue =
            |name: &str| format!("[{name}]\npath = \"queue.db\"\nqueue = \"{name}\"\nlease = \"{lease}\"\n");
        fs::write(project.0.path().join("ergon.toml"), queue("numbers") + &queue("copies")).unwrap();
        project
    }

    fn start(&self) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_queue"));
        command.args(["run", "copy-queue", "--quiet"]).current_dir(self.0.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn config(&self, queue: &str) -> SqliteConfig {
        SqliteConfig::new(self.0.path().join("queue.db"), queue)
    }

    async fn opened(&self, queue: &str) -> Sqlite {
        let queue = self.config(queue).build(&Context::new("test", queue)).unwrap();
        queue.open().await.unwrap();
        queue
    }

    async fn filled(lease: &str) -> Self {
        let project = Self::new(lease);
        let numbers = project.opened("numbers").await;
        let transactions = (0..COUNT).map(|n| Transaction::new(format!("n-{n}"), &n).unwrap());
        numbers.dispatch(transactions.collect()).await.unwrap();
        numbers.close().await.unwrap();
        project
    }

    /// Takes the copies out, and counts each of them.
    async fn take(&self, copies: &mut HashMap<String, usize>) {
        for copy in conformance::read(&self.config("copies")).await.unwrap() {
            *copies.entry(copy.id().to_owned()).or_default() += 1;
        }
    }
}

/// Checks that the copies have every transaction, and at most this many of them twice.
fn check(copies: &HashMap<String, usize>, twice: usize) {
    let lost: Vec<_> = (0..COUNT).map(|n| format!("n-{n}")).filter(|id| !copies.contains_key(id)).collect();
    assert!(lost.is_empty(), "{} are lost: {:?}", lost.len(), lost.first());
    assert_eq!(copies.len(), COUNT as usize, "no other transaction is there");
    let doubled: usize = copies.values().map(|count| count - 1).sum();
    assert!(doubled <= twice, "{doubled} are there twice");
}

/// Waits until a queue has at least this many transactions.
async fn reaches(queue: &Sqlite, count: u64) {
    let began = Instant::now();
    while queue.count().await.unwrap() < count {
        assert!(began.elapsed() < PATIENCE, "{count} did not arrive");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_are_killed_lose_no_transaction_of_a_queue() {
    let project = Project::filled("1s").await;
    let copies = project.opened("copies").await;
    for kill in 1..=KILLS {
        let mut run = project.start();
        reaches(&copies, u64::from(COUNT / (KILLS + 2) * kill)).await;
        run.kill().unwrap();
        run.wait().unwrap();
    }
    copies.close().await.unwrap();
    // A run ends when no transaction is visible; those of the killed processes are visible after their lease.
    let (began, mut all) = (Instant::now(), HashMap::new());
    project.take(&mut all).await;
    while all.len() < COUNT as usize {
        assert!(began.elapsed() < PATIENCE, "{} copies", all.len());
        assert!(project.start().wait().unwrap().success());
        project.take(&mut all).await;
    }
    check(&all, KILLS as usize * IN_FLIGHT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_processes_share_a_queue() {
    // Long enough that no lease ends while the processes wait for the lock of the file.
    let project = Project::filled("1m").await;
    let runs: Vec<_> = (0..3).map(|_| project.start()).collect();
    for mut run in runs {
        assert!(run.wait().unwrap().success());
    }
    let mut all = HashMap::new();
    project.take(&mut all).await;
    check(&all, 0);
}

/// A folder in which each place of the suite is a queue of one file.
struct Queues(TempDir);

impl Fixture for Queues {
    type Config = SqliteConfig;

    async fn filled(&self, place: &str, transactions: Vec<Transaction>) -> SqliteConfig {
        let path = self.0.path().join("queue.db");
        let config = SqliteConfig::new(path, place).with_lease(Duration::from_secs(2));
        let queue = config.build(&Context::new("test", place)).unwrap();
        queue.open().await.unwrap();
        queue.dispatch(transactions).await.unwrap();
        config
    }

    async fn contents(&self, config: &SqliteConfig) -> Vec<Transaction> {
        conformance::read(config).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_keeps_the_rules_of_a_connector() {
    conformance::duplex(&Queues(tempfile::tempdir().unwrap())).await;
}

#[ergon::task(connectors(input))]
struct Refuse;

impl Consumer for Refuse {
    type Payload = u32;
    type Output = ();

    async fn process_transaction(&self, number: &Transaction<u32>) -> ergon::Result<()> {
        Err(TransactionError::business(format!("{} is too much", number.payload())))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_of_a_queue_has_its_reason() {
    let project = Project::new("30s");
    let numbers = project.opened("numbers").await;
    numbers.dispatch(vec![Transaction::new("n-7", &7).unwrap()]).await.unwrap();
    let task = Refuse::config(RefuseWiring { input: project.config("numbers") });
    assert_eq!(ergon::testing::run(task).await.unwrap().tally.rejected, 1);
    let dead = conformance::read(&project.config("numbers.dead")).await.unwrap();
    let text = |name: &str| dead[0].metadata().text(name).unwrap_or_default().to_owned();
    assert_eq!((dead.len(), dead[0].id(), dead[0].decode::<u32>().unwrap()), (1, "n-7", 7));
    assert_eq!(
        ["ergon-error", "ergon-category", "ergon-task"].map(text),
        ["7 is too much", "business", "refuse"].map(str::to_owned)
    );
}
