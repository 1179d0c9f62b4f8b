//! Counts the transactions that a run has to process. The source counts them next to the run, because counting may take
//! as long as reading a whole file.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::cli::progress::Watched;
use crate::connector::Input;
use crate::runner::Opened;
use crate::task::Monitor;

/// The number of times that the source is asked. A fetch in progress counts as many as it may bring, so one answer alone
/// may be too high.
const ASKED: usize = 3;
/// The pause between two of them.
const APART: Duration = Duration::from_millis(100);
/// Represents an unknown number.
const UNKNOWN: u64 = u64::MAX;

/// Asks a source for its number of pending transactions.
pub(super) struct Counting {
    input: Input,
    limit: Option<u64>,
    monitor: Monitor,
    total: Arc<AtomicU64>,
}

/// The progress of a task, and the counter that finds its total. A streaming task has no total, and no counter.
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
    /// Finds the total, and reports each better value.
    pub(super) async fn find_out(self, report: impl Fn(u64)) {
        for _ in 0..ASKED {
            let Ok(Some(pending)) = self.input.count().await else { return };
            // A returned delivery is pending again. The tally is read after the source, so the total is never too low.
            let tally = self.monitor.snapshot().tally;
            let returned = tally.requeued + tally.given_back;
            let total = pending + tally.fetched.saturating_sub(returned);
            let total = total.min(self.limit.unwrap_or(u64::MAX));
            if total < self.total.fetch_min(total, Ordering::Relaxed) {
                report(total);
            }
            tokio::time::sleep(APART).await;
        }
    }
}

/// Waits for the runs. The counting next to them ends with them.
pub(super) async fn next_to<T>(runs: impl Future<Output = T>, counting: impl Future) -> T {
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
        let reported = Mutex::new(Vec::new());
        let found = counting(None, &FETCHED).find_out(|total| {
            reported.lock().unwrap().push(total);
            // The fetch is over, and brought less than it might have.
            *FETCHED.lock().unwrap() = 3;
        });
        found.await;
        assert_eq!(reported.into_inner().unwrap(), [20, 10]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_total_is_at_most_the_limit() {
        static FETCHED: Mutex<u64> = Mutex::new(0);
        let reported = Mutex::new(Vec::new());
        counting(Some(4), &FETCHED).find_out(|total| reported.lock().unwrap().push(total)).await;
        assert_eq!(reported.into_inner().unwrap(), [4]);
    }

    #[tokio::test]
    async fn a_run_waits_for_no_answer() {
        assert_eq!(next_to(async { "over" }, std::future::pending::<()>()).await, "over");
    }
}
