//! Why a run is told to stop, and what follows: it drains, and whatever hangs, the process ends in time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::runtime::Handle;

use super::{Exit, Signal};
use crate::task::Stop;

/// How long a process may take beyond the grace to give back, close and leave.
pub(crate) const LAST: Duration = Duration::from_millis(600);
/// The same of a worker, so that its supervisor is still there to see it leave.
pub(crate) const LAST_OF_WORKER: Duration = Duration::from_millis(400);
/// How long before its time is up a process says its last words.
const LAST_WORDS: Duration = Duration::from_millis(50);
/// How long they may take to be written: nobody may be reading.
const WRITTEN_WITHIN: Duration = Duration::from_millis(200);

/// Why a run is to stop before its work is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reason {
    Signal(Signal),
    /// The supervisor of this worker is gone.
    Orphaned,
    /// Nothing went on though there was work, for longer than it may.
    Stalled(String),
    /// Workers died so often that no more are started.
    GivenUp,
}

impl Reason {
    /// How the process ends for this reason.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Signal(signal) => Exit::Stopped(*signal),
            Self::Orphaned => Exit::Stopped(Signal::Terminate),
            Self::Stalled(_) | Self::GivenUp => Exit::Failure,
        }
    }
}

/// What happens when a process is told to stop.
pub(crate) struct Rules {
    /// How long it may take from then on.
    pub(crate) limit: Duration,
    /// Called at the first reason, when the runs know already.
    pub(crate) on_first: Box<dyn FnOnce(&Reason) + Send>,
    /// Called at a signal after the first reason that [insists](Signal::insists); none if further signals change nothing.
    pub(crate) on_second: Option<Box<dyn FnOnce(Signal) + Send>>,
    /// Says that time is up and what is known, if something was still to be drained.
    pub(crate) last_words: Box<dyn FnOnce(Reason) + Send>,
    /// Called after that.
    pub(crate) leave: Box<dyn FnOnce(Exit) + Send>,
}

/// Remembers why the process stops.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stopping(Arc<State>);

#[derive(Debug, Default)]
struct State {
    reason: OnceLock<Reason>,
    /// All that was to be drained came to its end, and what is left is to write and send what is known of it; or time
    /// ran out before, and the last words are said. Whoever sets it speaks.
    over: AtomicBool,
}

impl Stopping {
    /// Obeys reasons as they come, on the runtime `on`, which must not be that of the handlers: they may hold it.
    pub(crate) fn obey(
        on: &Handle,
        mut arriving: BoxStream<'static, Reason>,
        stop: Stop,
        rules: Rules,
    ) -> Self {
        let stopping = Self::default();
        let state = Arc::clone(&stopping.0);
        on.spawn(async move {
            let Some(reason) = arriving.next().await else { return };
            let Rules { limit, on_first, mut on_second, last_words, leave } = rules;
            let exit = reason.exit();
            // Nobody else sets it.
            let _ = state.reason.set(reason.clone());
            stop.drain.cancel();
            let late = reason.clone();
            let words = move || {
                if !state.over.swap(true, Ordering::Relaxed) {
                    last_words(late);
                }
            };
            leave_after(limit, exit, words, leave);
            on_first(&reason);
            while let Some(reason) = arriving.next().await {
                if let Reason::Signal(signal) = reason
                    && signal.insists()
                    && let Some(on_second) = on_second.take()
                {
                    on_second(signal);
                }
            }
        });
        stopping
    }

    /// The first reason, if there was one.
    pub(crate) fn reason(&self) -> Option<Reason> {
        self.0.reason.get().cloned()
    }

    /// Takes in that nothing is left to be drained: if time runs out now, nothing was cut short. If it ran out before,
    /// this never returns: the last words are said already, and the process is about to end.
    pub(crate) fn over(&self) {
        while self.0.over.swap(true, Ordering::Relaxed) {
            thread::park();
        }
    }
}

/// Ends the process when time is up. On a thread that waits for nothing else: no lock, no stream and no runtime that
/// somebody holds can keep it.
fn leave_after(
    limit: Duration,
    exit: Exit,
    last_words: impl FnOnce() + Send + 'static,
    leave: impl FnOnce(Exit) + Send + 'static,
) {
    let ends = move || {
        thread::sleep(limit.saturating_sub(LAST_WORDS));
        let (said, waits) = mpsc::channel();
        let speaks = move || {
            last_words();
            // Who waits for it has left if it took too long.
            let _ = said.send(());
        };
        // Without a thread to spare nothing is said, and nobody waits.
        let _ = thread::Builder::new().name("ergon-last".to_owned()).spawn(speaks);
        let _ = waits.recv_timeout(WRITTEN_WITHIN);
        leave(exit);
    };
    // Without a thread to spare, the run ends by itself or by a second signal.
    let _ = thread::Builder::new().name("ergon-limit".to_owned()).spawn(ends);
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::stream;

    use super::*;

    fn rules(heard: &mpsc::Sender<String>, second: bool) -> Rules {
        let (first, again, words) = (heard.clone(), heard.clone(), heard.clone());
        Rules {
            limit: Duration::from_millis(60),
            on_first: Box::new(move |reason| first.send(format!("{reason:?}")).unwrap()),
            on_second: second.then(|| -> Box<dyn FnOnce(Signal) + Send> {
                Box::new(move |signal| again.send(format!("again {signal:?}")).unwrap())
            }),
            last_words: Box::new(move |_| words.send("last".to_owned()).unwrap()),
            leave: Box::new(drop),
        }
    }

    async fn heard(reasons: Vec<Reason>, second: bool) -> Vec<String> {
        let (told, heard) = mpsc::channel();
        let stop = Stop::default();
        let arriving = stream::iter(reasons.clone()).boxed();
        let stopping = Stopping::obey(&Handle::current(), arriving, stop.clone(), rules(&told, second));
        drop(told);
        stop.drain.cancelled().await;
        assert_eq!(stopping.reason(), reasons.into_iter().next());
        tokio::task::spawn_blocking(|| heard.into_iter().collect()).await.unwrap()
    }

    #[tokio::test]
    async fn the_first_reason_drains_the_second_signal_ends_and_time_runs_out() {
        let reasons = vec![Reason::Signal(Signal::Terminate), Reason::Signal(Signal::Interrupt)];
        assert_eq!(heard(reasons, true).await, ["Signal(Terminate)", "again Interrupt", "last"]);
    }

    #[tokio::test]
    async fn a_hangup_drains_and_never_insists() {
        let [hangup, terminate] = [Signal::Hangup, Signal::Terminate].map(Reason::Signal);
        let reasons = vec![hangup.clone(), hangup.clone(), terminate, hangup];
        assert_eq!(heard(reasons, true).await, ["Signal(Hangup)", "again Terminate", "last"]);
    }

    #[tokio::test]
    async fn a_worker_is_not_ended_by_a_second_signal() {
        let reasons = vec![Reason::Orphaned, Reason::Signal(Signal::Terminate)];
        assert_eq!(heard(reasons, false).await, ["Orphaned", "last"]);
    }
}
