//! Defines the tasks that the engine runs, and measures their runs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ergon::connector::memory::{MemoryConfig, MemoryQueue};
use ergon::connector::prelude::*;
use ergon::prelude::*;
use ergon::testing;
use ergon::transaction::Payload;

use crate::floors::{self, TRANSACTIONS, WAITING, transactions};

#[ergon::task(connectors(input), consumer(batch_size = 256))]
struct Noop;

impl Consumer for Noop {
    type Payload = Payload;
    type Output = usize;

    async fn process_transaction(&self, transaction: &Transaction<Payload>) -> Result<usize> {
        Ok(transaction.id().len())
    }
}

#[ergon::task(connectors(input), consumer(batch_size = 256), blocking)]
struct BlockingNoop;

impl BlockingConsumer for BlockingNoop {
    type Payload = Payload;
    type Output = usize;

    fn process_transaction(&self, transaction: &Transaction<Payload>) -> Result<usize> {
        Ok(transaction.id().len())
    }
}

#[ergon::task(connectors(input), consumer(batch_size = 1000))]
struct Wait;

impl Consumer for Wait {
    type Payload = Payload;
    type Output = ();

    async fn process_transaction(&self, _: &Transaction<Payload>) -> Result<()> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(())
    }
}

/// Fills a new queue, and returns the time that the task takes to empty it.
async fn run(count: usize, concurrency: usize, config: impl FnOnce(MemoryConfig) -> TaskConfig) -> Duration {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("bench-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    MemoryQueue::named(&name).extend(transactions(count));
    let config = config(MemoryConfig::new(name)).consumer(|policy| policy.concurrency = concurrency);
    let began = Instant::now();
    let report = testing::run(config).await.unwrap();
    let took = super::since(began);
    assert_eq!(report.tally.succeeded, count as u64);
    took
}

pub(crate) async fn noop(count: usize, concurrency: usize) -> Duration {
    run(count, concurrency, |input| Noop::config(NoopWiring { input })).await
}

/// The same as [`noop`], with a prefetch.
pub(crate) async fn fetched_ahead(count: usize, concurrency: usize) -> Duration {
    run(count, concurrency, |input| {
        Noop::config(NoopWiring { input }).consumer(|policy| policy.prefetch = 64)
    })
    .await
}

pub(crate) async fn blocking_noop(concurrency: usize) -> Duration {
    run(TRANSACTIONS, concurrency, |input| BlockingNoop::config(BlockingNoopWiring { input })).await
}

pub(crate) async fn waiting(concurrency: usize) -> Duration {
    run(WAITING, concurrency, |input| Wait::config(WaitWiring { input })).await
}

/// A source that makes its transactions when it is asked.
#[derive(Connector)]
#[connector(source)]
struct Endless {
    count: usize,
    #[connector(skip)]
    made: AtomicUsize,
}

impl Source for Endless {
    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        let from = self.made.fetch_add(request.max(), Ordering::Relaxed);
        let numbers = from..self.count.min(from.saturating_add(request.max()));
        Ok(numbers.map(|n| Delivery::new(floors::transaction(n), Receipt::new(n as u64))).collect())
    }
}

/// The growth of the process in MiB while it processes this many transactions.
pub(crate) async fn memory(count: usize) -> f64 {
    let wiring = |count| NoopWiring { input: EndlessConfig { count } };
    let config = |count| Noop::config(wiring(count)).consumer(|policy| policy.concurrency = 64);
    testing::run(config(10_000)).await.unwrap();
    let idle = resident();
    let running = testing::start(config(count)).await.unwrap();
    let mut most = idle;
    let whole = running.wait();
    let mut whole = std::pin::pin!(whole);
    loop {
        tokio::select! {
            report = &mut whole => {
                assert_eq!(report.unwrap().tally.succeeded, count as u64);
                return (most - idle).max(0.0);
            }
            () = tokio::time::sleep(Duration::from_millis(20)) => most = most.max(resident()),
        }
    }
}

/// A source that is always empty and does not wait for data itself, so that the loop has to fetch again and again.
#[derive(Connector)]
#[connector(source)]
struct Empty {}

/// The number of fetches from an [`Empty`].
static ASKED: AtomicUsize = AtomicUsize::new(0);

impl Source for Empty {
    async fn fetch(&self, _: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        ASKED.fetch_add(1, Ordering::Relaxed);
        Ok(Vec::new())
    }
}

/// The cost of a streaming run with default settings while its source is empty: the share of one core in percent, and
/// the number of fetches in a second.
pub(crate) async fn idle(time: Duration) -> (f64, f64) {
    let wiring = NoopWiring { input: EmptyConfig {} };
    let running =
        testing::start(Noop::config(wiring).consumer(|policy| policy.streaming = true)).await.unwrap();
    let busy = processor_seconds();
    tokio::time::sleep(time).await;
    let (busy, asked) = (processor_seconds() - busy, ASKED.load(Ordering::Relaxed));
    running.stop();
    running.wait().await.unwrap();
    (100.0 * busy / time.as_secs_f64(), asked as f64 / time.as_secs_f64())
}

/// The processor time that the process has used, in its own code and the system's.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    // The 14th and 15th field of the line, the 12th and 13th after the name, in hundredths of a second.
    after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>()
        / 100.0
}

/// The process's resident memory in MiB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok()).unwrap_or_default() / 1024.0
}
