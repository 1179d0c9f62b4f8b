//! A thread of its own for what must go on while handlers hold all others: signals, health, reports.

use std::io;
use std::thread;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot};

use super::stopping::{Reason, Rules, Stopping};
use super::{Exit, arriving};
use crate::task::Stop;

/// The stack of the thread that builds tasks: as much as the first thread of a process has.
const STACK: usize = 8 * 1024 * 1024;

/// Where it runs, and the way to its orders.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    pub(crate) handle: Handle,
    pub(crate) orders: mpsc::UnboundedSender<Reason>,
}

impl Control {
    /// Starts the thread; from now on signals do not end the process by themselves. The reasons to stop come in the
    /// stream: signals, and what is [ordered](Self::orders).
    ///
    /// # Errors
    /// Why the system gives no thread, or does not show its signals.
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

/// A process that obeys, from before its tasks are built: it is told to stop, and whatever hangs, it is gone in time.
pub(crate) struct Obeying {
    pub(crate) control: Control,
    pub(crate) stop: Stop,
    pub(crate) stopping: Stopping,
}

impl Obeying {
    /// Obeys reasons as they come: tells whoever holds `stop`.
    pub(crate) fn new(
        control: Control,
        arriving: BoxStream<'static, Reason>,
        stop: Stop,
        rules: Rules,
    ) -> Self {
        let stopping = Stopping::obey(&control.handle, arriving, stop.clone(), rules);
        Self { control, stop, stopping }
    }

    /// Builds something, and waits for it; none if the process is told to stop before. What never comes to its end is
    /// left behind on its thread, which keeps nobody.
    ///
    /// # Errors
    /// There is no thread to be had, or it panicked.
    pub(crate) fn build<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<Option<T>> {
        let (done, waits) = oneshot::channel();
        let builds = thread::Builder::new().name("ergon-build".to_owned()).stack_size(STACK);
        builds.spawn(move || drop(done.send(work())))?;
        self.control.handle.block_on(async {
            tokio::select! {
                done = waits => done.map(Some).map_err(|_| io::Error::other("what builds the tasks panicked")),
                () = self.stop.drain.cancelled() => Ok(None),
            }
        })
    }

    /// Why a process ends that has nothing more to do, if it was told to.
    pub(crate) fn reason(&self) -> Option<Reason> {
        self.stopping.over();
        self.stopping.reason()
    }

    /// How it ends.
    pub(crate) fn exit(&self) -> Exit {
        self.reason().map_or(Exit::Success, |reason| reason.exit())
    }
}
