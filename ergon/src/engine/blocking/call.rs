//! A call of blocking code, made by the thread of the future that waits for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use super::lane_thread::{InCall, LaneThread, Work};
use crate::telemetry::Scope;
use crate::telemetry::calls::Calls;
use crate::transaction::{Result, cancellable, panic};

/// A call of blocking code, made by the thread of the future that waits for it. A panic is its error.
///
/// # Cancel safety
/// When dropped, a call that has not begun is never made; one that is under way is told that it is cancelled, and its
/// thread is given up.
pub(in crate::engine) struct Call<F, R> {
    code: Option<F>,
    made: Option<Made<R>>,
}

/// A call that was left in a lane thread.
struct Made<R> {
    lane_thread: Arc<LaneThread>,
    result: Arc<Mutex<Option<Result<R>>>>,
    cancelled: Arc<AtomicBool>,
}

impl<F, R> Call<F, R>
where
    F: FnOnce() -> Result<R> + Send + 'static,
    R: Send + 'static,
{
    pub(in crate::engine) fn new(code: F) -> Self {
        Self { code: Some(code), made: None }
    }
}

// It is never pinned structurally.
impl<F, R> Unpin for Call<F, R> {}

impl<F, R> Future for Call<F, R>
where
    F: FnOnce() -> Result<R> + Send + 'static,
    R: Send + 'static,
{
    type Output = Result<R>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<R>> {
        if let Some(made) = &self.made {
            let result = made.result.lock().unwrap_or_else(PoisonError::into_inner).take();
            return result.map_or(Poll::Pending, |result| {
                self.made = None;
                Poll::Ready(result)
            });
        }
        let (Some(code), Some(lane_thread)) = (self.code.take(), LaneThread::current()) else {
            return Poll::Pending;
        };
        let (result, cancelled) = (Arc::default(), Arc::default());
        let work = work(code, Arc::clone(&result), Arc::clone(&cancelled));
        let inner = !context.waker().will_wake(&Waker::from(Arc::clone(&lane_thread)));
        let mut state = lane_thread.state();
        state.work = Some(work);
        // A future that polls several others polls only those that were woken.
        state.caller = inner.then(|| context.waker().clone());
        drop(state);
        self.made = Some(Made { lane_thread, result, cancelled });
        Poll::Pending
    }
}

/// What the thread does: the call, in the scope of whoever makes it.
fn work<R: Send + 'static>(
    code: impl FnOnce() -> Result<R> + Send + 'static,
    result: Arc<Mutex<Option<Result<R>>>>,
    cancelled: Arc<AtomicBool>,
) -> Work {
    let (mut scope, mut calls) = (Scope::current(), Calls::current());
    Box::new(move || {
        let in_scope = || Scope::enter(&mut scope, || cancellable(&cancelled, code));
        let called = panic::guard(|| Calls::enter(&mut calls, in_scope));
        *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(called.and_then(|called| called));
        // A result that nobody waits for any more may panic when it is dropped.
        let _ = panic::guard(|| drop(result));
    })
}

impl<F, R> Drop for Call<F, R> {
    fn drop(&mut self) {
        let Some(Made { lane_thread, result, cancelled }) = self.made.take() else { return };
        cancelled.store(true, Ordering::Relaxed);
        let mut state = lane_thread.state();
        let not_begun = state.work.take();
        let returned = result.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if not_begun.is_none() && !returned && state.call == InCall::Waited {
            state.call = InCall::Abandoned;
        }
        drop(state);
        drop(not_begun);
    }
}
