//! Stops the process: its runs drain, and the process ends within its time limit even if a connector or a handler
//! hangs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::runtime::Handle;

use super::{Exit, Signal};
use crate::task::Stop;

/// How long after the grace a process may take to give deliveries back, close and end.
pub(crate) const LAST: Duration = Duration::from_millis(600);
/// The same for a worker; shorter, so that its supervisor is still there to see it end.
pub(crate) const LAST_OF_WORKER: Duration = Duration::from_millis(400);
/// How long before the end of its time a process writes its last report.
const LAST_WORDS: Duration = Duration::from_millis(50);
/// How long the last report may take to be written, because its reader may hang.
const WRITTEN_WITHIN: Duration = Duration::from_millis(200);

/// The reason why a run stops before its work is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reason {
    Signal(Signal),
    /// The supervisor of this worker has ended.
    Orphaned,
    /// There was work, but no progress for longer than `stall_after`.
    Stalled(String),
    /// Workers died so often that no more are started.
    GivenUp,
}

impl Reason {
    /// The exit of the process for this reason.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Signal(signal) => Exit::Stopped(*signal),
            Self::Orphaned => Exit::Stopped(Signal::Terminate),
            Self::Stalled(_) | Self::GivenUp => Exit::Failure,
        }
    }
}

/// The actions of a process that is stopped.
pub(crate) struct Rules {
    /// How long the process may take after the stop.
    pub(crate) limit: Duration,
    /// Called at the first reason, after the drain of the runs was started.
    pub(crate) on_first: Box<dyn FnOnce(&Reason) + Send>,
    /// Called at a later signal that [insists](Signal::insists); `None` if later signals have no effect.
    pub(crate) on_second: Option<Box<dyn FnOnce(Signal) + Send>>,
    /// Reports that time is up and what is known, if the runs have not drained.
    pub(crate) last_words: Box<dyn FnOnce(Reason) + Send>,
    /// Ends the process after that.
    pub(crate) leave: Box<dyn FnOnce(Exit) + Send>,
}

/// Records why the process stops.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stopping(Arc<State>);

#[derive(Debug, Default)]
struct State {
    reason: OnceLock<Reason>,
    /// Set when everything has drained, or when time ran out before. Whichever part sets it first writes the report;
    /// the other writes none.
    over: AtomicBool,
}

impl Stopping {
    /// Obeys each reason of the stream. `on` must not be the runtime of the handlers, because they may block it.
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
            // No other code sets it.
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

    /// Records that everything has drained: if time runs out now, nothing was cut short. If time ran out before, this
    /// function never returns, because the last report is written already and the process is about to end.
    pub(crate) fn over(&self) {
        while self.0.over.swap(true, Ordering::Relaxed) {
            thread::park();
        }
    }
}

/// Ends the process when time is up. It runs on a thread that waits for nothing else, so that no lock, stream or
/// runtime can hold it up.
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
            // The receiver is gone if the report took too long.
            let _ = said.send(());
        };
        // If the system gives no thread, nothing is reported, and the wait below ends immediately.
        let _ = thread::Builder::new().name("ergon-last".to_owned()).spawn(speaks);
        let _ = waits.recv_timeout(WRITTEN_WITHIN);
        leave(exit);
    };
    // If the system gives no thread, the run ends by itself or by a second signal.
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
