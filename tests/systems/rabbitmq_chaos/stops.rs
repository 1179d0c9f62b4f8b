//! Tests processes that are stopped while the broker is dead or frozen.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use ergon_tests::broker::{Broker, Client, Queues};
use ergon_tests::crew::{Running, Site};
use ergon_tests::ledger::{Entry, Event};
use ergon_tests::until;
use fastrand::Rng;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use rustix::process::Signal;
use tokio::time::sleep;

use super::pipeline::PATIENCE;

const GRACE: Duration = Duration::from_millis(700);
/// The time that a process may take after its grace.
const BEYOND: Duration = Duration::from_secs(1);

/// The number of outages, and the number of processes that are stopped during each outage.
const ROUNDS: u64 = 8;
const TOGETHER: usize = 4;

/// More messages than the processes handle before the last process has its first message.
const MUCH: usize = 2000;

/// The processes that are stopped.
struct Told {
    run: Running,
    workers: u32,
    signal: Signal,
    code: i32,
}

impl Told {
    fn start(site: &Site, random: &mut Rng) -> Self {
        let workers = random.u32(1..3);
        let (signal, code) = if random.bool() { (Signal::TERM, 143) } else { (Signal::INT, 130) };
        let run = site.start(&["run", "work", "--log-level", "error", "--workers", &workers.to_string()]);
        Self { run, workers, signal, code }
    }

    fn stop(mut self) {
        self.run.signal(self.signal);
        let (status, took, said) = self.run.end();
        assert_eq!(status.code(), Some(self.code), "{said}");
        assert!(took < GRACE + BEYOND, "{took:?} with {} workers: {said}", self.workers);
    }
}

/// The number of consumers of the queue.
async fn consumers(client: &Client) -> u32 {
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let queue = client.channel().queue_declare("input".into(), passive, FieldTable::default()).await;
    queue.unwrap().consumer_count()
}

/// The number of processes that have started a message.
fn at_work(site: &Site) -> usize {
    let starts = site.ledger.entries().into_iter().filter(|Entry(_, _, _, event, _)| *event == Event::Start);
    starts.map(|Entry(_, _, pid, ..)| pid).collect::<BTreeSet<_>>().len()
}

/// One outage of the broker. The seed chooses its kind, its time, and the work of the processes.
async fn round(broker: &Broker, site: &Site, seed: u64) {
    let mut random = Rng::with_seed(seed);
    // Each combination occurs with any range of seeds. A queue that was declared only just now may not survive a kill.
    let (busy, killed) = (seed.is_multiple_of(2), seed % 4 >= 2);
    let queues = Queues::declare(broker).await;
    let client = Client::connect(&broker.url()).await.unwrap();
    let before = at_work(site);
    let told: Vec<_> = (0..TOGETHER).map(|_| Told::start(site, &mut random)).collect();
    let workers: u32 = told.iter().map(|told| told.workers).sum();
    until("all consume", PATIENCE, async || consumers(&client).await == workers).await;
    if busy {
        queues.fill((0..MUCH).map(|n| format!("{seed}-{n:06}")), &site.ledger).await;
        until("all are at work", PATIENCE, async || at_work(site) == before + workers as usize).await;
    } else {
        until("all is done", PATIENCE, async || broker.depth("input").await == (0, 0)).await;
    }
    if killed {
        broker.kill();
    } else {
        broker.freeze();
    }
    sleep(Duration::from_millis(random.u64(0..400))).await;
    let stops: Vec<_> = told.into_iter().map(|told| thread::spawn(|| told.stop())).collect();
    let failed = stops.into_iter().map(thread::JoinHandle::join).filter(Result::is_err).count();
    assert_eq!(failed, 0, "seed {seed}: busy {busy}, killed {killed}");
    if killed {
        broker.restart().await;
    } else {
        broker.thaw();
    }
    let client = Client::connect(&broker.url()).await.unwrap();
    until("nobody consumes", PATIENCE, async || consumers(&client).await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rabbitmq-server: cargo test -p ergon-tests --test systems -- --ignored rabbitmq_chaos"]
async fn thirty_two_processes_told_to_stop_without_a_broker_are_gone_in_time_and_lose_nothing() {
    let broker = Broker::start().await;
    let site = Site::new(env!("CARGO_BIN_EXE_worker"), Duration::ZERO, "");
    let settings = "[tasks.work.consumer]\nshutdown_grace = \"700ms\"\nconcurrency = 4\n";
    site.write("ergon.toml", &Queues::settings(&broker.url(), site.path(), settings));
    for seed in 0..ROUNDS {
        round(&broker, &site, seed).await;
    }
    let back = async || broker.depth("input").await.1 == 0;
    until("the broker takes back what nobody acked", PATIENCE, back).await;
    let verdict = Queues::declare(&broker).await.verdict(&site.ledger).await;
    let again = site.counts().into_values().filter(|(begun, _)| *begun > 1).count();
    println!("{} stops without a broker: {verdict}; {again} begun again", ROUNDS * TOGETHER as u64);
    verdict.assert_nothing_lost();
    assert!(verdict.succeeded > 0 && again > 0, "nobody was at work");
}
