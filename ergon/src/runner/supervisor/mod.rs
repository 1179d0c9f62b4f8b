//! Runs tasks in several processes: starts this program again for each worker, watches it, replaces one that dies, and
//! adds up what they did.
//!
//! A worker joins by a socket and tells how it is; its end, or the supervisor's, is seen there and as the system tells
//! it. Signals are passed on; whatever hangs, all workers are gone soon after the grace.

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

/// How long it waits to let workers in when it could not.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// A task that is to be run by workers.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    pub(crate) task: &'static str,
    pub(crate) workers: usize,
    /// How many all workers together may fetch, where the task has one loop that all of that is for.
    pub(crate) limit: Option<u64>,
    /// How long its in-flight work may go on after a stop.
    pub(crate) grace: Duration,
}

/// Takes a line, or several.
pub(crate) type Lines = Arc<dyn Fn(&str) + Send + Sync>;

/// What the supervisor says through whoever shows it.
#[derive(Clone)]
pub(crate) struct Voice {
    /// Takes the lines that workers write to standard error; none if they write there themselves.
    pub(crate) lines: Option<Lines>,
    /// The same of standard output.
    pub(crate) data: Option<Lines>,
    pub(crate) error: Arc<dyn Fn(&Error) + Send + Sync>,
    /// Whether the lines end where colour is shown.
    pub(crate) colour: bool,
}

/// All workers of a program.
pub(crate) struct Crew {
    workers: Vec<Worker>,
    posts: Vec<Post>,
    voice: Voice,
    shared: Shared,
    limits: Limits,
    stop: Stop,
    orders: mpsc::UnboundedSender<Reason>,
    restarts: Mutex<Restarts>,
    began: Instant,
    /// What was told already, and of which task: all workers of one fail alike.
    told: Mutex<Vec<(&'static str, Fault)>>,
}

/// One place of a worker, whoever has it at present.
struct Worker {
    post: Post,
    index: usize,
    record: Arc<Record>,
}

/// The processes there are: those that are to join, and all that live.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shared {
    expected: Arc<Mutex<HashMap<u32, oneshot::Sender<UnixStream>>>>,
    alive: Arc<Mutex<BTreeSet<u32>>>,
}

impl Crew {
    /// Makes the places; starts nothing yet.
    pub(crate) fn new(
        posts: Vec<Post>,
        voice: Voice,
        stop: Stop,
        orders: mpsc::UnboundedSender<Reason>,
    ) -> Self {
        let places = posts.iter().flat_map(|post| (0..post.workers).map(move |index| (post, index)));
        let workers = places
            .map(|(post, index)| Worker { post: post.clone(), index, record: Arc::new(Record::new()) })
            .collect();
        Self {
            workers,
            posts,
            voice,
            shared: Shared::default(),
            limits: Limits::default(),
            stop,
            orders,
            restarts: Mutex::default(),
            began: Instant::now(),
            told: Mutex::default(),
        }
    }

    fn records(&self, task: &str) -> Vec<Arc<Record>> {
        let of_task = self.workers.iter().filter(|worker| worker.post.task == task);
        of_task.map(|worker| Arc::clone(&worker.record)).collect()
    }

    /// Shows what all workers of a task have done so far.
    pub(crate) fn monitor(&self, task: &str) -> Monitor {
        let (monitor, records) = (Monitor::default(), self.records(task));
        monitor.attach(move || merged(records.iter().map(AsRef::as_ref)));
        monitor
    }

    /// Says how many there are to process, as soon as all workers of the task have said so.
    pub(crate) fn total(&self, task: &str) -> impl Fn() -> Option<u64> + Send + Sync + 'static {
        let records = self.records(task);
        // Each counts its own part of the source; the limit is for all of them.
        let limit = self.posts.iter().find(|post| post.task == task).and_then(|post| post.limit);
        move || {
            let total: Option<u64> = records.iter().map(|record| record.total()).sum();
            Some(total?.min(limit.unwrap_or(u64::MAX)))
        }
    }

    /// What all workers measured, as they last said: a second ago at most.
    pub(crate) fn metrics(&self) -> impl Fn() -> Option<String> + Send + Sync + 'static {
        let records: Vec<_> = self.workers.iter().map(|worker| Arc::clone(&worker.record)).collect();
        move || exposition::merged(records.iter().filter_map(|record| record.metrics()))
    }

    /// Says how all workers are.
    pub(crate) fn vitals(&self) -> impl Fn() -> Vitals + Send + Sync + 'static {
        let places: Vec<_> =
            self.workers.iter().map(|worker| (worker.name(), Arc::clone(&worker.record))).collect();
        let drain = self.stop.drain.clone();
        move || {
            let draining = drain.is_cancelled().then(|| "draining".to_owned());
            let mut whole = Vitals { ill: None, unready: draining };
            for (name, record) in &places {
                let Vitals { ill, unready } = record.vitals();
                whole.ill = whole.ill.or_else(|| ill.map(|why| format!("worker {name}: {why}")));
                whole.unready = whole.unready.or_else(|| unready.map(|why| format!("worker {name}: {why}")));
            }
            whole
        }
    }

    /// The processes, for whoever has to end them at once.
    pub(crate) fn shared(&self) -> Shared {
        self.shared.clone()
    }

    /// Runs all workers until each has come to its end.
    ///
    /// Call it from a thread that lives as long as the workers: a worker that is told of its parent's death is told of
    /// that thread's.
    ///
    /// # Errors
    /// There is no socket to be had.
    pub(crate) async fn run(&self, stopping: &Stopping) -> io::Result<Outcome> {
        let (listener, address) = address::listen()?;
        let admitting = tokio::spawn(admit(listener, self.shared.clone()));
        let lefts = join_all(self.workers.iter().map(|worker| self.keep(worker, &address, stopping))).await;
        admitting.abort();
        let finished = self.posts.iter().map(|post| self.finished(post, &lefts)).collect();
        Ok(Outcome { finished, reason: stopping.reason(), ..Outcome::default() })
    }

    /// Keeps a place filled until its work is done, or until all is to stop.
    async fn keep(&self, worker: &Worker, address: &str, stopping: &Stopping) -> Left {
        let mut streak = Streak::default();
        loop {
            let began = Instant::now();
            let left = self.run_once(worker, address, stopping).await.unwrap_or_else(Left::not_started);
            worker.record.left(worker.post.limit.is_some());
            self.tell(worker);
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

    /// Starts no more workers, and stops those there are.
    fn give_up(&self, left: Left) -> Left {
        // Whoever obeys is there as long as the process.
        let _ = self.orders.send(Reason::GivenUp);
        left.given_up()
    }

    /// Tells why a worker could not begin, unless another of its task failed alike.
    fn tell(&self, worker: &Worker) {
        let (task, several) = (worker.post.task, self.posts.len() > 1);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for fault in worker.record.faults().into_iter().map(|fault| (task, fault)) {
            if !told.contains(&fault) {
                let error = Error::from(&fault.1);
                (self.voice.error)(&if several { error.of_task(task) } else { error });
                told.push(fault);
            }
        }
    }

    fn finished(&self, post: &Post, lefts: &[Left]) -> Finished {
        let of_post = self.workers.iter().zip(lefts).filter(|(worker, _)| worker.post.task == post.task);
        let (mut ends, mut close_errors, mut restarts) = (Vec::new(), Vec::new(), 0);
        let mut last = self.began;
        for (worker, left) in of_post {
            last = last.max(left.at);
            restarts += worker.record.restarts();
            // Why all was given up comes before what else was going on then.
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
    /// Kills all workers, at once.
    pub(crate) fn kill(&self) {
        for pid in self.alive.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            process::signal(*pid, rustix::process::Signal::KILL);
        }
    }
}

/// Lets in the workers that are expected, and nobody else.
async fn admit(listener: UnixListener, shared: Shared) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Too many files are open, for example: that may pass.
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let peer = stream.peer_cred().ok().and_then(|peer| peer.pid()?.try_into().ok());
        let mut expected = shared.expected.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waits) = peer.and_then(|pid: u32| expected.remove(&pid)) {
            // It may have died since.
            let _ = waits.send(stream);
        }
    }
}

/// Why all ended, in one word: a failure before a stop, a stop before an end.
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
