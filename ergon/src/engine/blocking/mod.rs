//! Runs blocking steps: the future of a lane, and the handlers that it calls, run on a thread of their own.
//!
//! The future is the same as for async steps. Where it calls a handler, it hands the call to its lane thread and
//! returns pending. The thread makes the call and then polls the future again, so that no other thread has to be woken
//! for a transaction.
//!
//! When a time limit ends before a call returns, tokio's timer wakes the future. A thread of the runtime polls the
//! future then, which drops the call. A new thread takes over the lane. The old thread is abandoned: the result of its
//! call is ignored.

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
    /// Counts the threads of a loop with this concurrency.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, stuck: AtomicUsize::new(0), all_stuck: CancellationToken::new() })
    }

    /// The number of threads whose call was abandoned and has not returned.
    pub(super) fn stuck(&self) -> usize {
        self.stuck.load(Ordering::Relaxed)
    }

    /// Waits until as many threads are abandoned as the loop has lanes. The run stops then, because its handlers would
    /// abandon further threads without an end.
    pub(super) async fn all_stuck(&self) {
        self.all_stuck.cancelled().await;
    }

    fn abandon(&self) {
        // Relaxed, here and above: the number orders no other memory.
        if self.stuck.fetch_add(1, Ordering::Relaxed).saturating_add(1) >= self.most {
            self.all_stuck.cancel();
        }
    }

    fn came_back(&self) {
        self.stuck.fetch_sub(1, Ordering::Relaxed);
    }
}
/// Runs a future to its end from blocking code, for example in a handler of a blocking task. Blocks the current thread.
///
/// # Panics
/// Panics when called from async code, or outside of a tokio runtime.
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
/// # let _entered = runtime.enter();
/// assert_eq!(ergon::block_on(async { 6 * 7 }), 42);
/// ```
pub fn block_on<F: Future>(future: F) -> F::Output {
    Handle::current().block_on(future)
}

/// Runs a future on its own thread, where it may make [`Call`]s.
///
/// # Cancel safety
/// When dropped, the future is dropped too. A call that runs continues on its thread, without a caller that waits for
/// it.
pub(super) fn on_threads<F>(
    future: F,
    threads: &Arc<Threads>,
) -> impl Future<Output = F::Output> + Send + use<F>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let (done, output) = oneshot::channel();
    let whole = Box::pin(async move {
        // The receiver is gone if the run was dropped.
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
