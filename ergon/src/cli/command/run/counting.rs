//! How many a run has to process: its source is asked beside the run, for the answer may take as long as reading a
//! whole file.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::cli::progress::Watched;
use crate::connector::Input;
use crate::runner::Opened;
use crate::task::Monitor;

/// How often the source is asked: a fetch that is on its way counts for as many as it may bring, so one answer alone
/// may be too high.
const ASKED: usize = 3;
/// How long between two of them.
const APART: Duration = Duration::from_millis(100);
/// Stands for a number that is not known.
const UNKNOWN: u64 = u64::MAX;

/// Asks a source how many there are.
pub(super) struct Counting {
    input: Input,
    limit: Option<u64>,
    monitor: Monitor,
    total: Arc<AtomicU64>,
}

/// What the progress shows of a task, and who finds out how many there are; nobody where it streams, for then there is
/// no total.
pub(super) fn watched(task: &Opened, monitor: &Monitor) -> (Watched, Option<Counting>) {
    let total = Arc::new(AtomicU64::new(UNKNOWN));
    let known = Arc::clone(&total);
    let shown = Watched {
        task: task.name,
        total: Arc::new(move || Some(known.load(Ordering::Relaxed)).filter(|total| *total != UNKNOWN)),
        monitor: monitor.clone(),
    };
    let policy = task.policies.consumer.as_ref().filter(|policy| !policy.streaming);
    let counting = policy.zip(task.input()).map(|(policy, input)| Counting {
        input: input.clone(),
        limit: policy.limit,
        monitor: monitor.clone(),
        total,
    });
    (shown, counting)
}

impl Counting {
    /// Finds out, and says so whenever it knows better.
    pub(super) async fn find_out(self, told: impl Fn(u64)) {
        for _ in 0..ASKED {
            let Ok(Some(pending)) = self.input.count().await else { return };
            // What came back to the source waits there again. Asked after the source, it is never too low.
            let tally = self.monitor.snapshot().tally;
            let returned = tally.requeued + tally.given_back;
            let total = pending + tally.fetched.saturating_sub(returned);
            let total = total.min(self.limit.unwrap_or(u64::MAX));
            if total < self.total.fetch_min(total, Ordering::Relaxed) {
                told(total);
            }
            tokio::time::sleep(APART).await;
        }
    }
}

/// Waits for the runs; what is done beside them goes on no longer than they do.
pub(super) async fn beside<T>(runs: impl Future<Output = T>, counting: impl Future) -> T {
    let mut runs = pin!(runs);
    tokio::select! {
        biased;
        done = &mut runs => return done,
        _ = counting => (),
    }
    runs.await
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::connector::memory::{MemoryConfig, MemoryQueue};
    use crate::connector::{ConnectorConfig, Context};
    use crate::task::Snapshot;
    use crate::telemetry::Tally;
    use crate::transaction::Transaction;

    fn counting(limit: Option<u64>, fetched: &'static Mutex<u64>) -> Counting {
        let name = format!("counting-{limit:?}");
        MemoryQueue::named(&name).extend((0..7).map(|n| Transaction::new(n.to_string(), &n).unwrap()));
        let context = Context::new("test", "input");
        let input = Input::new(Arc::new(MemoryConfig::new(name).build(&context).unwrap()), &context);
        let monitor = Monitor::default();
        monitor.attach(move || {
            let mut tally = Tally::default();
            tally.fetched = *fetched.lock().unwrap();
            Snapshot { tally, in_flight: 0, undelivered: None }
        });
        Counting { input, limit, monitor, total: Arc::new(AtomicU64::new(UNKNOWN)) }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_fetch_may_bring_is_not_counted_twice_for_long() {
        static FETCHED: Mutex<u64> = Mutex::new(13);
        let told = Mutex::new(Vec::new());
        let found = counting(None, &FETCHED).find_out(|total| {
            told.lock().unwrap().push(total);
            // The fetch is over, and brought less than it might have.
            *FETCHED.lock().unwrap() = 3;
        });
        found.await;
        assert_eq!(told.into_inner().unwrap(), [20, 10]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_total_is_at_most_the_limit() {
        static FETCHED: Mutex<u64> = Mutex::new(0);
        let told = Mutex::new(Vec::new());
        counting(Some(4), &FETCHED).find_out(|total| told.lock().unwrap().push(total)).await;
        assert_eq!(told.into_inner().unwrap(), [4]);
    }

    #[tokio::test]
    async fn a_run_waits_for_no_answer() {
        assert_eq!(beside(async { "over" }, std::future::pending::<()>()).await, "over");
    }
}
