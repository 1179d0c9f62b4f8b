//! Plays many seeds on several threads, and watches them: a run that never ends is a failure too.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::world::World;
use super::{Failure, PATIENCE, Played, play_twice, play_watched};

/// One of this many seeds is played twice.
const TWICE: u64 = 50;

/// The totals of many runs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    /// The number of played seeds.
    pub seeds: u64,
    /// The number of transactions in their sources.
    pub transactions: u64,
    /// The number of recorded events.
    pub events: u64,
    /// The number of injected connector faults.
    pub faults: u64,
}

/// The seed that a thread plays now.
type Watched = Arc<Mutex<Option<(u64, Instant, World)>>>;

/// Plays all seeds of a range, and checks each.
///
/// # Errors
/// The first run found that breaks an invariant, or does not end.
pub fn drive(seeds: Range<u64>, threads: usize) -> Result<Totals, Box<Failure>> {
    let next = Arc::new(AtomicU64::new(seeds.start));
    let (report, reports) = channel();
    let mut watched = Vec::new();
    for _ in 0..threads.max(1) {
        let current = Watched::default();
        watched.push(Arc::clone(&current));
        let (next, report, end) = (Arc::clone(&next), report.clone(), seeds.end);
        // The threads are not joined, because a thread that hangs never ends.
        thread::spawn(move || work(&next, end, &current, &report));
    }
    drop(report);
    watch(&reports, &watched)
}

fn work(next: &AtomicU64, end: u64, current: &Watched, report: &Sender<Result<Totals, Box<Failure>>>) {
    let mut totals = Totals::default();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            break;
        }
        let show = |world: &World| {
            *lock(current) = Some((seed, Instant::now(), world.clone()));
        };
        let mut played = play_watched(seed, show);
        if played.broken.is_none() && seed.is_multiple_of(TWICE) {
            played = play_twice(seed);
        }
        *lock(current) = None;
        let Played { seed, log, transactions, faults, broken } = played;
        if let Some(broken) = broken {
            // The receiver is gone if another thread has failed.
            let _ = report.send(Err(Box::new(Failure { seed, broken, log })));
            return;
        }
        totals.seeds += 1;
        totals.transactions += transactions;
        totals.events += log.len() as u64;
        totals.faults += faults;
    }
    let _ = report.send(Ok(totals));
}

/// Adds up the reports of the threads, and detects a thread that makes no progress.
fn watch(
    reports: &Receiver<Result<Totals, Box<Failure>>>,
    watched: &[Watched],
) -> Result<Totals, Box<Failure>> {
    let mut sum = Totals::default();
    loop {
        match reports.recv_timeout(Duration::from_millis(200)) {
            Ok(totals) => {
                let totals = totals?;
                sum.seeds += totals.seeds;
                sum.transactions += totals.transactions;
                sum.events += totals.events;
                sum.faults += totals.faults;
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(sum),
            Err(RecvTimeoutError::Timeout) => {
                if let Some(failure) = watched.iter().find_map(stuck) {
                    return Err(failure);
                }
            }
        }
    }
}

fn stuck(watched: &Watched) -> Option<Box<Failure>> {
    let current = lock(watched);
    let (seed, since, world) = current.as_ref().filter(|(_, since, _)| since.elapsed() > PATIENCE)?;
    let broken = format!("the run does not end: {} s on the wall", since.elapsed().as_secs());
    Some(Box::new(Failure { seed: *seed, broken, log: world.events() }))
}

fn lock(watched: &Watched) -> std::sync::MutexGuard<'_, Option<(u64, Instant, World)>> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}
