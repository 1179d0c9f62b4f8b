//! Runs the control thread, which handles signals, health and reports. These must continue while handlers block all
//! other threads.

use std::io;
use std::thread;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot};

use super::stopping::{Reason, Rules, Stopping};
use super::{Exit, arriving};
use crate::task::Stop;

/// The stack size of the thread that builds tasks: the same as that of the first thread of a process.
const STACK: usize = 8 * 1024 * 1024;

/// The runtime of the control thread, and the channel for its orders.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    pub(crate) handle: Handle,
    pub(crate) orders: mpsc::UnboundedSender<Reason>,
}

impl Control {
    /// Starts the thread. From then on, signals do not end the process by themselves. The stream yields the reasons to
    /// stop: signals, and [orders](Self::orders).
    ///
    /// # Errors
    /// Returns an error if the system gives no thread, or does not pass its signals on.
    pub(crate) fn start() -> io::Result<(Self, BoxStream<'static, Reason>)> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let signals = {
            let _entered = runtime.enter();
            arriving()?.map(Reason::Signal)
        };
        let (orders, ordered) = mpsc::unbounded_channel();
        let ordered = stream::unfold(ordered, |mut ordered| async move {
            let reason = ordered.recv().await?;
            Some((reason, ordered))
        });
        thread::Builder::new()
            .name("ergon-control".to_owned())
            .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
        Ok((Self { handle, orders }, stream::select(signals, ordered.boxed()).boxed()))
    }
}

/// A process that obeys signals, even before its tasks are built. When it is stopped, it ends in time, even if a part
/// of it hangs.
pub(crate) struct Obeying {
    pub(crate) control: Control,
    pub(crate) stop: Stop,
    pub(crate) stopping: Stopping,
}

impl Obeying {
    /// Obeys each reason of the stream by cancelling the tokens of `stop`.
    pub(crate) fn new(
        control: Control,
        arriving: BoxStream<'static, Reason>,
        stop: Stop,
        rules: Rules,
    ) -> Self {
        let stopping = Stopping::obey(&control.handle, arriving, stop.clone(), rules);
        Self { control, stop, stopping }
    }

    /// Builds a value on its own thread, and waits for it. Returns `None` if the process is stopped first. Work
    /// that never ends is left on its thread, which does not keep the process from ending.
    ///
    /// # Errors
    /// Returns an error if the system gives no thread, or the work panicked.
    pub(crate) fn build<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<Option<T>> {
        let (done, waits) = oneshot::channel();
        let builds = thread::Builder::new().name("ergon-build".to_owned()).stack_size(STACK);
        builds.spawn(move || drop(done.send(work())))?;
        self.control.handle.block_on(async {
            tokio::select! {
                done = waits => done.map(Some).map_err(|_| io::Error::other("building the tasks panicked")),
                () = self.stop.drain.cancelled() => Ok(None),
            }
        })
    }

    /// The reason for the stop of a process that has nothing more to do.
    pub(crate) fn reason(&self) -> Option<Reason> {
        self.stopping.over();
        self.stopping.reason()
    }

    /// The exit code of the process.
    pub(crate) fn exit(&self) -> Exit {
        self.reason().map_or(Exit::Success, |reason| reason.exit())
    }
}
