//! A thread of its own for what must go on while handlers hold all others: signals, health, reports.

use std::io;
use std::thread;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::runtime::{Builder, Handle};
use tokio::sync::mpsc;

use super::arriving;
use super::stopping::Reason;

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
