//! Watches the health of the process: the progress of its loops, and the state of its connectors.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::connector::{AnyConnector, Health};
use crate::policy::Policies;
use crate::policy::duration::{Limit, display};
use crate::task::{Monitor, Snapshot, Stop};
use crate::telemetry::Undelivered;
use crate::transaction::panic::caught;

/// The default time without progress, although there is work, after which a task is unhealthy. Five minutes, so that
/// a slow handler or a long retry wait is not taken for a stall.
const STALL_AFTER: Duration = Duration::from_secs(300);

/// The health of a process at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Vitals {
    /// Why the process should be replaced; `None` if it is alive.
    pub(crate) unhealthy: Option<String>,
    /// Why the process accepts no work at present; `None` if it does.
    pub(crate) unready: Option<String>,
}

/// A task that is watched.
pub(crate) struct Subject {
    task: &'static str,
    monitor: Monitor,
    stall_after: Option<Duration>,
    concurrency: usize,
    /// Its connectors, by slot; `None` until they are open.
    connectors: Option<Vec<(&'static str, Arc<dyn AnyConnector>)>>,
    last: Progress,
}

/// The figures that change when a loop makes progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Progress {
    figures: [u64; 6],
    since: Instant,
}

/// Watches the tasks of this process.
pub(crate) struct Watch {
    subjects: Vec<Subject>,
    stop: Stop,
}

impl Subject {
    /// Watches a task. `stall_after` is the value of the settings, if they have one.
    pub(crate) fn new(
        task: &'static str,
        policies: &Policies,
        monitor: Monitor,
        stall_after: Option<Limit>,
    ) -> Self {
        let of_consumer = policies.consumer.as_ref().map(|policy| policy.concurrency);
        let of_producer = policies.producer.as_ref().map(|policy| policy.concurrency);
        let last = Progress { figures: [0; 6], since: Instant::now() };
        Self {
            task,
            monitor,
            stall_after: stall_after.map_or_else(|| default_limit(policies), |limit| limit.0),
            concurrency: of_consumer.max(of_producer).unwrap_or(1),
            connectors: None,
            last,
        }
    }

    /// How long there has been work without progress.
    fn stalled(&mut self, snapshot: &Snapshot, now: Instant) -> Duration {
        let tally = &snapshot.tally;
        let in_flight = snapshot.in_flight as u64;
        let figures = [
            tally.fetched,
            tally.processed,
            tally.produced,
            tally.retries,
            tally.requeued + tally.given_back,
            in_flight,
        ];
        if in_flight == 0 || figures != self.last.figures {
            self.last = Progress { figures, since: now };
        }
        now.saturating_duration_since(self.last.since)
    }

    fn unhealthy(&mut self, now: Instant) -> Option<String> {
        let snapshot = self.monitor.snapshot();
        let stalled = self.stalled(&snapshot, now);
        if self.stall_after.is_some_and(|limit| stalled >= limit) {
            return Some(stall(self.task, stalled, snapshot.in_flight));
        }
        let stuck = snapshot.tally.abandoned_threads;
        (stuck >= self.concurrency as u64).then(|| {
            format!("{}: all {stuck} threads are stuck in handlers that exceeded their limits", self.task)
        })
    }

    fn unready(&self) -> Option<String> {
        let Some(connectors) = &self.connectors else { return Some(format!("{}: starting", self.task)) };
        let unhealthy = connectors.iter().find_map(|(slot, connector)| {
            match caught(|| connector.health()).unwrap_or_else(Health::Unhealthy) {
                Health::Healthy => None,
                Health::Unhealthy(reason) => Some(format!("{}: connector `{slot}`: {reason}", self.task)),
            }
        });
        unhealthy.or_else(|| {
            let Undelivered { count, error } = self.monitor.snapshot().undelivered?;
            Some(format!("{}: dead letters wait ({count}): {error}", self.task))
        })
    }
}

fn stall(task: &str, stalled: Duration, in_flight: usize) -> String {
    let stalled = Duration::from_secs(stalled.as_secs());
    format!("{task}: no progress for {} with {in_flight} in flight", display(stalled))
}

/// Twice the time limit of a transaction in any role, so that a transaction within its limit is never a stall.
fn default_limit(policies: &Policies) -> Option<Duration> {
    let of_consumer = policies.consumer.as_ref().map(|policy| policy.transaction_timeout);
    let of_producer = policies.producer.as_ref().map(|policy| policy.transaction_timeout);
    let limits: Option<Vec<Duration>> = [of_consumer, of_producer].into_iter().flatten().collect();
    Some(limits?.into_iter().max()?.saturating_mul(2).max(STALL_AFTER))
}

impl Watch {
    /// Watches tasks whose connectors are not open yet.
    pub(crate) fn new(subjects: Vec<Subject>, stop: Stop) -> Self {
        Self { subjects, stop }
    }

    /// Includes the connectors of a task in its health from now on.
    pub(crate) fn opened(&mut self, task: &str, connectors: &[(&'static str, Arc<dyn AnyConnector>)]) {
        for subject in self.subjects.iter_mut().filter(|subject| subject.task == task) {
            subject.connectors = Some(connectors.to_vec());
            subject.last.since = Instant::now();
        }
    }

    /// Removes a task whose run is over from the health of the process.
    pub(crate) fn over(&mut self, task: &str) {
        self.subjects.retain(|subject| subject.task != task);
    }

    /// The current health of the process.
    pub(crate) fn look(&mut self) -> Vitals {
        let now = Instant::now();
        let unhealthy = self.subjects.iter_mut().find_map(|subject| subject.unhealthy(now));
        let draining = self.stop.drain.is_cancelled().then(|| "draining".to_owned());
        let unready = draining.or_else(|| self.subjects.iter().find_map(Subject::unready));
        Vitals { unhealthy, unready }
    }

    /// Why the process is to be stopped: a task made no progress for too long.
    pub(crate) fn stalled(&mut self) -> Option<String> {
        let now = Instant::now();
        self.subjects.iter_mut().find_map(|subject| {
            let snapshot = subject.monitor.snapshot();
            let stalled = subject.stalled(&snapshot, now);
            let limit = subject.stall_after?;
            (stalled >= limit).then(|| stall(subject.task, stalled, snapshot.in_flight))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::policy::{ConsumerPolicy, ProducerPolicy};

    fn policies(change: impl FnOnce(&mut ConsumerPolicy)) -> Policies {
        let mut policy = ConsumerPolicy::DEFAULT;
        change(&mut policy);
        Policies { consumer: Some(policy), producer: None }
    }

    /// A watch of one task, and the snapshot of its run.
    fn watch(stall_after: Option<Limit>) -> (Watch, Arc<Mutex<Snapshot>>) {
        let (monitor, shown) = (Monitor::default(), Arc::new(Mutex::new(Snapshot::default())));
        let looked_at = Arc::clone(&shown);
        monitor.attach(move || looked_at.lock().unwrap().clone());
        let subject =
            Subject::new("orders", &policies(|policy| policy.concurrency = 2), monitor, stall_after);
        (Watch::new(vec![subject], Stop::default()), shown)
    }

    #[tokio::test(start_paused = true)]
    async fn work_without_progress_is_a_stall_and_idleness_is_none() {
        let (mut watch, shown) = watch(Some(Limit(Some(Duration::from_secs(10)))));
        tokio::time::advance(Duration::from_secs(100)).await;
        assert_eq!(watch.look().unhealthy, None, "it is idle");
        shown.lock().unwrap().in_flight = 2;
        assert_eq!(watch.look().unhealthy, None);
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(watch.look().unhealthy, None);
        shown.lock().unwrap().tally.processed = 1;
        assert_eq!(watch.look().unhealthy, None, "it went on");
        tokio::time::advance(Duration::from_secs(10)).await;
        let why = "orders: no progress for 10s with 2 in flight".to_owned();
        assert_eq!((watch.look().unhealthy, watch.stalled()), (Some(why.clone()), Some(why)));
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_stuck_threads_as_may_run_are_an_illness() {
        let (mut watch, shown) = watch(None);
        shown.lock().unwrap().tally.abandoned_threads = 1;
        assert_eq!(watch.look().unhealthy, None);
        shown.lock().unwrap().tally.abandoned_threads = 2;
        let unhealthy = watch.look().unhealthy.unwrap();
        assert!(unhealthy.contains("all 2 threads are stuck"), "{unhealthy}");
        assert_eq!(watch.stalled(), None, "the engine stops by itself");
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_ready_when_all_is_open_and_until_it_drains() {
        let (mut watch, _) = watch(None);
        assert_eq!(watch.look().unready.as_deref(), Some("orders: starting"));
        watch.opened("orders", &[]);
        assert_eq!(watch.look(), Vitals::default());
        watch.stop.drain.cancel();
        assert_eq!(watch.look().unready.as_deref(), Some("draining"));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_not_ready_while_dead_letters_wait() {
        let (mut watch, shown) = watch(None);
        watch.opened("orders", &[]);
        shown.lock().unwrap().undelivered =
            Some(Undelivered { count: 3, error: "the disk is full".to_owned() });
        let unready = watch.look().unready;
        assert_eq!(unready.as_deref(), Some("orders: dead letters wait (3): the disk is full"));
        shown.lock().unwrap().undelivered = None;
        assert_eq!(watch.look(), Vitals::default());
    }

    #[test]
    fn what_obeys_its_policy_is_no_stall() {
        let limit = |timeout: Option<u64>| {
            default_limit(&policies(|policy| policy.transaction_timeout = timeout.map(Duration::from_secs)))
        };
        assert_eq!(limit(Some(60)), Some(STALL_AFTER));
        assert_eq!(limit(Some(600)), Some(Duration::from_secs(1200)));
        assert_eq!(limit(None), None);
    }

    #[test]
    fn a_producer_is_watched_like_a_consumer_and_a_hybrid_by_the_longer_of_its_limits() {
        let producer = |timeout: Option<u64>| {
            let transaction_timeout = timeout.map(Duration::from_secs);
            Some(ProducerPolicy { transaction_timeout, ..ProducerPolicy::DEFAULT })
        };
        let alone = |timeout| default_limit(&Policies { consumer: None, producer: producer(timeout) });
        assert_eq!(alone(Some(60)), Some(STALL_AFTER));
        assert_eq!(alone(Some(600)), Some(Duration::from_secs(1200)));
        assert_eq!(alone(None), None);
        let both = |timeout| default_limit(&Policies { producer: producer(timeout), ..policies(|_| ()) });
        assert_eq!(both(Some(600)), Some(Duration::from_secs(1200)));
        assert_eq!(both(None), None, "its outbound transactions may take as long as they like");
        assert_eq!(default_limit(&Policies { consumer: None, producer: None }), None);
    }
}
