//! Blocking steps: a lane whose future is polled, and whose handlers are called, on a thread of its own.
//!
//! The future of such a lane is that of any other; where it calls a handler, it leaves the call in its lane thread and is
//! pending. The lane thread's thread makes the call, then polls on: no thread has to be woken for a transaction. When a
//! limit ends a call before it returns, a timer wakes the future as it would any other; it is polled beside the
//! thread, drops the call, and goes on with a fresh thread. What the old one still does is ignored.

mod call;
mod lane_thread;

use std::future::Future;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub(super) use call::Call;
use lane_thread::{LaneThread, Leaving};

/// The threads of one loop.
#[derive(Debug)]
pub(super) struct Threads {
    most: usize,
    stuck: AtomicUsize,
    all_stuck: CancellationToken,
}

impl Threads {
    /// For a loop of this concurrency.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, stuck: AtomicUsize::new(0), all_stuck: CancellationToken::new() })
    }

    /// How many are in a call that was given up and has not returned.
    pub(super) fn stuck(&self) -> usize {
        self.stuck.load(Ordering::Relaxed)
    }

    /// Waits until as many are stuck as may run at once.
    pub(super) async fn all_stuck(&self) {
        self.all_stuck.cancelled().await;
    }

    fn abandon(&self) {
        if self.stuck.fetch_add(1, Ordering::Relaxed).saturating_add(1) >= self.most {
            self.all_stuck.cancel();
        }
    }

    fn came_back(&self) {
        self.stuck.fetch_sub(1, Ordering::Relaxed);
    }
}
/// Runs a future to its end from blocking code: from the steps of a blocking task, on their thread.
///
/// # Panics
/// When called from async code, or outside of a runtime.
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
/// # let _entered = runtime.enter();
/// assert_eq!(ergon::block_on(async { 6 * 7 }), 42);
/// ```
pub fn block_on<F: Future>(future: F) -> F::Output {
    Handle::current().block_on(future)
}

/// Runs a future on a thread of its own, where it may make [`Call`]s.
///
/// # Cancel safety
/// When dropped, the future is dropped with it; a call that is under way goes on, and nobody waits for it.
pub(super) fn on_threads<F>(
    future: F,
    threads: &Arc<Threads>,
) -> impl Future<Output = F::Output> + Send + use<F>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let (done, output) = oneshot::channel();
    let whole = Box::pin(async move {
        // Nobody waits for it when the run was dropped.
        let _ = done.send(future.await);
    });
    let lane_thread = LaneThread::take(whole, threads);
    async move {
        let lane_thread = Leaving(lane_thread);
        match output.await {
            Ok(output) => output,
            Err(_) => {
                resume_unwind(lane_thread.0.state().panicked.take().unwrap_or_else(|| Box::new("no thread")))
            }
        }
    }
}
