//! Runs tasks in several processes: starts this program once for each worker, watches the workers, replaces one that
//! dies, and adds up their figures.
//!
//! A worker connects to a socket and reports its state there. The supervisor notices the end of a worker through the
//! socket and through the system. A worker notices the end of the supervisor in the same way. The supervisor passes
//! signals on, and kills workers that are still alive shortly after the grace.

mod address;
mod death;
mod grants;
mod limits;
mod link;
mod message;
mod process;
mod record;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use death::Left;
use limits::Limits;
pub(crate) use link::Link;
pub(crate) use message::{End, Ending, Fault, Message};
use record::{Record, merged};

use super::restart::{Restarts, Streak};
use super::stopping::{Reason, Stopping};
use super::watch::Vitals;
use super::{Finished, Outcome, Supervised};
use crate::error::Error;
use crate::task::{Monitor, Snapshot, Stop};
use crate::telemetry::worker::WorkerDied;
use crate::telemetry::{Ended, RunReport, exposition};

/// The wait after a connection could not be accepted.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// The workers of one task.
#[derive(Debug, Clone)]
pub(crate) struct WorkerGroup {
    pub(crate) task: &'static str,
    pub(crate) workers: usize,
    /// The number of deliveries that all workers together may fetch; set where the task has a single loop that uses the
    /// limit.
    pub(crate) limit: Option<u64>,
    /// How long in-flight work may take after a stop.
    pub(crate) grace: Duration,
}

/// Receives one or several lines.
pub(crate) type Lines = Arc<dyn Fn(&str) + Send + Sync>;

/// Receives the output and the errors of the workers.
#[derive(Clone)]
pub(crate) struct WorkerOutput {
    /// Receives the workers' standard error; `None` if the workers write to the supervisor's standard error directly.
    pub(crate) lines: Option<Lines>,
    /// Receives the workers' standard output, in the same way.
    pub(crate) data: Option<Lines>,
    pub(crate) error: Arc<dyn Fn(&Error) + Send + Sync>,
    /// Whether the lines are shown in colour.
    pub(crate) colour: bool,
}

/// Runs all workers of a program.
pub(crate) struct Workers {
    all: Vec<Worker>,
    posts: Vec<WorkerGroup>,
    output: WorkerOutput,
    shared: Shared,
    limits: Limits,
    stop: Stop,
    orders: mpsc::UnboundedSender<Reason>,
    restarts: Mutex<Restarts>,
    began: Instant,
    /// The errors that were reported already, each with its task: all workers of a task fail in the same way.
    reported: Mutex<Vec<(&'static str, Fault)>>,
}

/// One worker of a task; if its process dies, another process takes its place.
struct Worker {
    post: WorkerGroup,
    index: usize,
    record: Arc<Record>,
}

/// The worker processes: those that have not connected yet, and all that live.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shared {
    expected: Arc<Mutex<HashMap<u32, oneshot::Sender<UnixStream>>>>,
    alive: Arc<Mutex<BTreeSet<u32>>>,
}

impl Workers {
    /// Makes the workers. Starts no process yet.
    pub(crate) fn new(
        posts: Vec<WorkerGroup>,
        output: WorkerOutput,
        stop: Stop,
        orders: mpsc::UnboundedSender<Reason>,
    ) -> Self {
        let places = posts.iter().flat_map(|post| (0..post.workers).map(move |index| (post, index)));
        let workers = places
            .map(|(post, index)| Worker { post: post.clone(), index, record: Arc::new(Record::new()) })
            .collect();
        Self {
            all: workers,
            posts,
            output,
            shared: Shared::default(),
            limits: Limits::default(),
            stop,
            orders,
            restarts: Mutex::default(),
            began: Instant::now(),
            reported: Mutex::default(),
        }
    }

    fn records(&self, task: &str) -> Vec<Arc<Record>> {
        let of_task = self.all.iter().filter(|worker| worker.post.task == task);
        of_task.map(|worker| Arc::clone(&worker.record)).collect()
    }

    /// The figures of all workers of a task.
    pub(crate) fn monitor(&self, task: &str) -> Monitor {
        let (monitor, records) = (Monitor::default(), self.records(task));
        monitor.attach(move || merged(records.iter().map(AsRef::as_ref)));
        monitor
    }

    /// The number of transactions to process; known when all workers of the task have reported theirs.
    pub(crate) fn total(&self, task: &str) -> impl Fn() -> Option<u64> + Send + Sync + 'static {
        let records = self.records(task);
        // Each worker counts its own part of the source, but the limit applies to all together.
        let limit = self.posts.iter().find(|post| post.task == task).and_then(|post| post.limit);
        move || {
            let total: Option<u64> = records.iter().map(|record| record.total()).sum();
            Some(total?.min(limit.unwrap_or(u64::MAX)))
        }
    }

    /// The metrics of all workers, as they reported them within the last second.
    pub(crate) fn metrics(&self) -> impl Fn() -> Option<String> + Send + Sync + 'static {
        let records: Vec<_> = self.all.iter().map(|worker| Arc::clone(&worker.record)).collect();
        move || exposition::merged(records.iter().filter_map(|record| record.metrics()))
    }

    /// The health of all workers.
    pub(crate) fn vitals(&self) -> impl Fn() -> Vitals + Send + Sync + 'static {
        let places: Vec<_> =
            self.all.iter().map(|worker| (worker.name(), Arc::clone(&worker.record))).collect();
        let drain = self.stop.drain.clone();
        move || {
            let draining = drain.is_cancelled().then(|| "draining".to_owned());
            let mut whole = Vitals { unhealthy: None, unready: draining };
            for (name, record) in &places {
                let Vitals { unhealthy, unready } = record.vitals();
                whole.unhealthy =
                    whole.unhealthy.or_else(|| unhealthy.map(|why| format!("worker {name}: {why}")));
                whole.unready = whole.unready.or_else(|| unready.map(|why| format!("worker {name}: {why}")));
            }
            whole
        }
    }

    /// The worker processes, so that a second signal can kill them.
    pub(crate) fn shared(&self) -> Shared {
        self.shared.clone()
    }

    /// Runs all workers until each has ended.
    ///
    /// Call it from a thread that lives as long as the workers: Linux signals the death of a parent to its children when
    /// the thread that started them ends.
    ///
    /// # Errors
    /// Returns an error if no socket can be made.
    pub(crate) async fn run(&self, stopping: &Stopping) -> io::Result<Outcome> {
        let (listener, address) = address::listen()?;
        let admitting = tokio::spawn(admit(listener, self.shared.clone()));
        let ended = join_all(self.all.iter().map(|worker| self.keep(worker, &address, stopping))).await;
        admitting.abort();
        let finished = self.posts.iter().map(|post| self.finished(post, &ended)).collect();
        Ok(Outcome { finished, reason: stopping.reason(), ..Outcome::default() })
    }

    /// Runs one process after the other for a worker, until its work is done or the run stops.
    async fn keep(&self, worker: &Worker, address: &str, stopping: &Stopping) -> Left {
        let mut streak = Streak::default();
        loop {
            let began = Instant::now();
            let left = self.run_once(worker, address, stopping).await.unwrap_or_else(Left::not_started);
            worker.record.left(worker.post.limit.is_some());
            self.report_faults(worker);
            if self.stop.drain.is_cancelled() || !left.is_replaced() {
                return left;
            }
            let lived = began.elapsed();
            let wait = self.restarts().after(&mut streak, self.began.elapsed(), lived, fastrand::f64());
            let Some(wait) = wait else { return self.give_up(left) };
            worker.record.vacant();
            WorkerDied { task: worker.post.task, worker: worker.index, how: &left.how(), wait }.emit();
            tokio::select! {
                () = tokio::time::sleep(wait) => (),
                () = self.stop.drain.cancelled() => return left,
            }
            if !self.restarts().begin(self.began.elapsed()) {
                return self.give_up(left);
            }
            worker.record.replaced();
        }
    }

    fn restarts(&self) -> MutexGuard<'_, Restarts> {
        self.restarts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts no more workers, and stops the others.
    fn give_up(&self, left: Left) -> Left {
        // The receiver lives as long as the process.
        let _ = self.orders.send(Reason::GivenUp);
        left.given_up()
    }

    /// Reports why a worker could not start, unless another worker of its task failed in the same way.
    fn report_faults(&self, worker: &Worker) {
        let (task, several) = (worker.post.task, self.posts.len() > 1);
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        for fault in worker.record.faults().into_iter().map(|fault| (task, fault)) {
            if !reported.contains(&fault) {
                let error = Error::from(&fault.1);
                (self.output.error)(&if several { error.of_task(task) } else { error });
                reported.push(fault);
            }
        }
    }

    fn finished(&self, post: &WorkerGroup, ended: &[Left]) -> Finished {
        let of_post = self.all.iter().zip(ended).filter(|(worker, _)| worker.post.task == post.task);
        let (mut ends, mut close_errors, mut restarts) = (Vec::new(), Vec::new(), 0);
        let mut last = self.began;
        for (worker, left) in of_post {
            last = last.max(left.at);
            restarts += worker.record.restarts();
            // The reason why the supervisor stopped comes before the ends of the other workers.
            let at = if left.given_up { 0 } else { ends.len() };
            ends.insert(at, left.ended(&worker.name()));
            let faults = left.ending.iter().flat_map(|ending| &ending.close_faults);
            close_errors.extend(faults.map(Error::from));
        }
        let Snapshot { tally, .. } = merged(self.records(post.task).iter().map(AsRef::as_ref));
        let ended = together(ends);
        Finished {
            report: RunReport::new(post.task, tally, last.duration_since(self.began), ended),
            close_errors,
            breaches: Vec::new(),
            supervised: Some(Supervised { workers: post.workers, restarts }),
        }
    }
}

impl Worker {
    /// `price-orders/1`
    fn name(&self) -> String {
        format!("{}/{}", self.post.task, self.index)
    }
}

impl Shared {
    /// Kills all worker processes.
    pub(crate) fn kill(&self) {
        for pid in self.alive.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            process::signal(*pid, rustix::process::Signal::KILL);
        }
    }
}

/// Accepts the workers that are expected, and no other process.
async fn admit(listener: UnixListener, shared: Shared) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // The cause may pass, for example too many open files.
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let peer = stream.peer_cred().ok().and_then(|peer| peer.pid()?.try_into().ok());
        let mut expected = shared.expected.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waits) = peer.and_then(|pid: u32| expected.remove(&pid)) {
            // The worker may have died since.
            let _ = waits.send(stream);
        }
    }
}

/// Combines the ends of all workers: a failure comes before a stop, a stop before an end.
fn together(ends: Vec<Ended>) -> Ended {
    let mut whole = Ended::SourceEmpty;
    for end in ends {
        whole = match (whole, end) {
            (Ended::Failed(error), _) | (_, Ended::Failed(error)) => Ended::Failed(error),
            (Ended::Stopped { given_back: some }, Ended::Stopped { given_back: more }) => {
                Ended::Stopped { given_back: some + more }
            }
            (stopped @ Ended::Stopped { .. }, _) | (_, stopped @ Ended::Stopped { .. }) => stopped,
            (Ended::SourceEmpty, other) | (other, _) => other,
        };
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn the_worst_end_is_told() {
        let failed = || Ended::Failed(Error::new(ErrorKind::Task, "broken"));
        let all = [Ended::SourceEmpty, Ended::Stopped { given_back: 2 }, Ended::Stopped { given_back: 3 }];
        assert!(matches!(together(all.into()), Ended::Stopped { given_back: 5 }));
        assert!(matches!(
            together(vec![Ended::LimitReached, failed(), Ended::SourceEmpty]),
            Ended::Failed(_)
        ));
        assert!(matches!(together(vec![Ended::SourceEmpty, Ended::LimitReached]), Ended::LimitReached));
        assert!(matches!(together(Vec::new()), Ended::SourceEmpty));
    }
}
