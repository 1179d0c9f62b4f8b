//! A memory queue behind a connection that fails as the test says.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ergon::connector::memory::{Memory, MemoryQueue};
use ergon::connector::prelude::*;
use ergon::connector::{Capabilities, Context, Receipt};
use ergon::prelude::*;
use tokio::task;
use tokio::time::{Instant, sleep};

/// The planned faults, and the recorded calls.
#[derive(Debug, Default)]
pub struct Faults {
    /// Errors of the next fetches, in order; then they succeed.
    pub fetches: Mutex<VecDeque<ConnectorError>>,
    /// Errors of the next settles, in order; the settlements do not reach the queue.
    pub settles: Mutex<VecDeque<ConnectorError>>,
    /// The number of the next fetches that never answer.
    pub fetches_that_hang: AtomicUsize,
    /// The duration of a settle.
    pub settle_takes: Mutex<Duration>,
    /// Whether a settle never answers.
    pub settle_hangs: AtomicBool,
    /// Whether a settle panics.
    pub settle_panics: AtomicBool,
    /// Whether a settle is not done when it is polled for the first time.
    pub settle_yields: AtomicBool,
    /// The number of running settles, and its maximum.
    pub settling: (AtomicUsize, AtomicUsize),
    /// The tasks that each settle was polled by, first and last.
    pub settled_by: Mutex<Vec<(Option<task::Id>, Option<task::Id>)>>,
    /// Whether the source no longer holds its deliveries.
    pub lost: AtomicBool,
    /// Errors of the next dispatches, in order.
    pub dispatches: Mutex<VecDeque<ConnectorError>>,
    /// The duration of a dispatch.
    pub dispatch_takes: Mutex<Duration>,
    /// The time of each dispatch.
    pub dispatched_at: Mutex<Vec<Instant>>,
    /// The number of fetches.
    pub fetched: AtomicUsize,
    /// The sum of the requested deliveries.
    pub asked: AtomicUsize,
    /// The time of each fetch, and the number of requested deliveries.
    pub asked_at: Mutex<Vec<(Instant, usize)>>,
    /// Whether the source waits for data by itself when it may.
    pub pushes: AtomicBool,
    /// The number of settlements in each settle.
    pub settled: Mutex<Vec<usize>>,
}

/// Makes a [`Flaky`] connector.
#[derive(Debug, Clone)]
pub struct FlakyConfig {
    /// The queue behind it.
    pub queue: Arc<MemoryQueue>,
    /// The faults.
    pub faults: Arc<Faults>,
}

impl FlakyConfig {
    /// Starts with an empty queue and no faults.
    pub fn new() -> Self {
        Self { queue: MemoryQueue::new(), faults: Arc::default() }
    }
}

impl Default for FlakyConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl ConnectorConfig for FlakyConfig {
    type Connector = Flaky;

    fn build(&self, _context: &Context) -> Result<Flaky, ConnectorError> {
        Ok(Flaky { memory: Memory::new(Arc::clone(&self.queue)), faults: Arc::clone(&self.faults) })
    }
}

/// A memory connector that fails as the test says.
#[derive(Debug)]
pub struct Flaky {
    memory: Memory,
    faults: Arc<Faults>,
}

fn next(faults: &Mutex<VecDeque<ConnectorError>>) -> Result<(), ConnectorError> {
    match faults.lock().expect("unpoisoned").pop_front() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

async fn takes(time: &Mutex<Duration>) {
    let time = *time.lock().expect("unpoisoned");
    if !time.is_zero() {
        sleep(time).await;
    }
}

impl Connector for Flaky {
    const KIND: &'static str = "flaky";

    fn capabilities(&self) -> Capabilities<'_> {
        self.memory.capabilities()
    }
}

impl Source for Flaky {
    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        self.faults.fetched.fetch_add(1, Ordering::SeqCst);
        self.faults.asked.fetch_add(request.max(), Ordering::SeqCst);
        self.faults.asked_at.lock().expect("unpoisoned").push((Instant::now(), request.max()));
        let hangs = &self.faults.fetches_that_hang;
        if hangs.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            std::future::pending::<()>().await;
        }
        next(&self.faults.fetches)?;
        let pushes = self.faults.pushes.load(Ordering::SeqCst);
        let request = if pushes { request.clone() } else { FetchRequest::new(request.max()) };
        self.memory.fetch(&request).await
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), ConnectorError> {
        self.faults.settled.lock().expect("unpoisoned").push(settlements.len());
        let _settling = Settling::new(&self.faults);
        let first = task::try_id();
        if self.faults.settle_yields.load(Ordering::SeqCst) {
            task::yield_now().await;
        }
        if self.faults.settle_hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        takes(&self.faults.settle_takes).await;
        assert!(!self.faults.settle_panics.load(Ordering::SeqCst), "a defect of the connector");
        next(&self.faults.settles)?;
        self.faults.settled_by.lock().expect("unpoisoned").push((first, task::try_id()));
        self.memory.settle(settlements).await
    }

    fn holds(&self, _receipt: &Receipt) -> bool {
        !self.faults.lost.load(Ordering::SeqCst)
    }
}

/// Counts a settle as long as it lives.
struct Settling<'a>(&'a Faults);

impl<'a> Settling<'a> {
    fn new(faults: &'a Faults) -> Self {
        let now = faults.settling.0.fetch_add(1, Ordering::SeqCst) + 1;
        faults.settling.1.fetch_max(now, Ordering::SeqCst);
        Self(faults)
    }
}

impl Drop for Settling<'_> {
    fn drop(&mut self) {
        self.0.settling.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Sink for Flaky {
    async fn dispatch(&self, transactions: Vec<Transaction>) -> Result<(), ConnectorError> {
        self.faults.dispatched_at.lock().expect("unpoisoned").push(Instant::now());
        takes(&self.faults.dispatch_takes).await;
        next(&self.faults.dispatches)?;
        self.memory.dispatch(transactions).await
    }
}
