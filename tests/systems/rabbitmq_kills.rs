//! Tests that nothing is lost when worker processes that share a queue are killed at random, again and again.
//!
//! Run with `ERGON_TEST_AMQP_URL=amqp://guest:guest@127.0.0.1`. With `ERGON_CHAOS_FULL`, the test uses 10,000 messages
//! and a hundred kills.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use ergon_tests::broker::{Client, Message};
use ergon_tests::ledger::{Entry, Event, Ledger, Left, Verdict};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, interval, sleep, timeout};

const WORKERS: usize = 4;

/// The number of messages that a worker holds: two in process, six waiting.
const PREFETCH: usize = 8;

const BETWEEN_KILLS: Duration = Duration::from_millis(300);

/// The time limit for the remaining work after the last kill, and for the end of a worker.
const PATIENCE: Duration = Duration::from_secs(60);

/// The number of messages, and the number of kills.
struct Size {
    messages: usize,
    kills: usize,
}

fn size() -> Size {
    match std::env::var_os("ERGON_CHAOS_FULL") {
        Some(_) => Size { messages: 10_000, kills: 100 },
        None => Size { messages: 2_000, kills: 20 },
    }
}

/// The queues, the ledger and the settings of all workers.
struct Scene {
    folder: TempDir,
    ledger: Ledger,
    client: Client,
    name: String,
}

impl Scene {
    async fn new() -> Self {
        let url = std::env::var("ERGON_TEST_AMQP_URL").expect("it was set when the tests were built");
        let name = format!("ergon.test.kills.{:x}", fastrand::u64(..));
        let folder = TempDir::new().unwrap();
        let ledger = Ledger::open(folder.path()).unwrap();
        let client = Client::connect(&url).await.unwrap();
        // The queues are deleted a few minutes after their last use, in case the test does not reach its end.
        let arguments = [("x-queue-type", "quorum"), ("x-expires", "300000")];
        for role in ["input", "output", "dead"] {
            client.declare(&format!("{name}.{role}"), &arguments).await.unwrap();
        }
        let scene = Self { folder, ledger, client, name };
        std::fs::write(scene.settings(), scene.toml(&url)).unwrap();
        scene
    }

    fn settings(&self) -> PathBuf {
        self.folder.path().join("ergon.toml")
    }

    fn toml(&self, url: &str) -> String {
        let queue =
            |role| format!("[{role}]\nurl = {url:?}\nqueue = {:?}\npassive = true\n", self.queue(role));
        let queues: String = ["input", "output", "dead"].map(queue).concat();
        let (folder, waiting) = (self.folder.path().to_str().unwrap(), PREFETCH - 2);
        format!(
            "{queues}\n[books]\nfolder = {folder:?}\nwork_ms = 20\n\n\
             [tasks.work.consumer]\nconcurrency = 2\nprefetch = {waiting}\n"
        )
    }

    fn queue(&self, role: &str) -> String {
        format!("{}.{role}", self.name)
    }

    fn worker(&self) -> Child {
        Command::new(env!("CARGO_BIN_EXE_worker"))
            .args(["run", "work", "--quiet", "--log-level", "warn", "--config"])
            .arg(self.settings())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    /// Whether every message was processed to its end, with success or failure.
    async fn is_done(&self, messages: usize) -> bool {
        self.client.ready(&self.queue("input")).await.unwrap() == 0
            && ended(&self.ledger.entries()).len() == messages
    }

    /// Waits until every message is finished or the time is over. The ledger then gives the better error message.
    async fn is_done_within(&self, limit: Duration, messages: usize) -> bool {
        let done = async {
            while !self.is_done(messages).await {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(limit, done).await.is_ok()
    }

    /// The verdict of the ledger after all work has ended, and the number of duplicate copies.
    async fn verdict(&self) -> (Verdict, usize) {
        let ids = async |role| -> Vec<String> {
            let messages = self.client.drain(&self.queue(role)).await.unwrap();
            messages.into_iter().map(|Message { id, .. }| id).collect()
        };
        let (queued, dead_letters, arrived) = (ids("input").await, ids("dead").await, ids("output").await);
        let copies =
            [&dead_letters, &arrived].map(|ids| ids.len() - ids.iter().collect::<BTreeSet<_>>().len());
        let verdict = self.ledger.check(Left { queued, dead_letters, arrived: Some(arrived) });
        (verdict, copies.iter().sum())
    }

    async fn clear(&self) {
        for role in ["input", "output", "dead"] {
            self.client.delete(&self.queue(role)).await.unwrap();
        }
    }
}

fn ended(entries: &[Entry]) -> BTreeSet<&str> {
    let ended = entries.iter().filter(|Entry(_, _, _, event, _)| *event == Event::End);
    ended.map(|Entry(id, ..)| id.as_str()).collect()
}

/// Kills one worker and starts another in its place.
async fn replace(worker: &mut Child, scene: &Scene) {
    assert_eq!(worker.try_wait().unwrap(), None, "a worker does not end by itself");
    worker.kill().await.unwrap();
    *worker = scene.worker();
}

/// Stops a worker, and waits until it has ended.
async fn stop(mut worker: Child) {
    let pid = worker.id().and_then(|id| Pid::from_raw(id.try_into().unwrap()));
    kill_process(pid.unwrap(), Signal::TERM).unwrap();
    let ended = timeout(PATIENCE, worker.wait()).await.expect("a worker ends").unwrap();
    assert_eq!(ended.code(), Some(143));
}

#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
#[tokio::test(flavor = "multi_thread")]
async fn killing_workers_loses_nothing() {
    let Size { messages, kills } = size();
    let scene = Scene::new().await;
    let ids = (0..messages).map(|n| format!("{n:06}"));
    scene.client.fill(&scene.queue("input"), ids, &scene.ledger).await.unwrap();

    let began = Instant::now();
    let mut workers: Vec<Child> = (0..WORKERS).map(|_| scene.worker()).collect();
    let mut ticks = interval(BETWEEN_KILLS);
    ticks.tick().await;
    let mut under_load = 0;
    for _ in 0..kills {
        ticks.tick().await;
        under_load += usize::from(scene.client.ready(&scene.queue("input")).await.unwrap() > 0);
        replace(&mut workers[fastrand::usize(..WORKERS)], &scene).await;
    }
    let done = scene.is_done_within(PATIENCE, messages).await;
    let took = began.elapsed();
    for worker in workers {
        stop(worker).await;
    }

    let starts =
        scene.ledger.entries().iter().filter(|Entry(_, _, _, event, _)| *event == Event::Start).count();
    let (verdict, copies) = scene.verdict().await;
    scene.clear().await;
    println!(
        "{messages} messages, {kills} kills ({under_load} of them while messages waited) in {took:.1?}: {verdict}; \
         {} begun again, {copies} copied again",
        starts.saturating_sub(messages)
    );
    verdict.assert_nothing_lost();
    assert!(done, "not all was done in time: {verdict}");
    assert_eq!(verdict.succeeded, messages - messages / 10);
    let most = kills * PREFETCH;
    assert!(verdict.dup.len() <= most && copies <= most, "more than {most}: {verdict}; {copies} copies");
}
