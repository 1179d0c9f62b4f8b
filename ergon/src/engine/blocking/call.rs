//! Makes a call of blocking code on the thread of the future that waits for the call.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use super::lane_thread::{InCall, Job, LaneThread, Work};
use crate::telemetry::Scope;
use crate::telemetry::calls::Calls;
use crate::transaction::{Result, cancellable, panic};

/// A call of blocking code, which the thread of the waiting future makes. A panic of the code is its error.
///
/// The type names the result of the code and not the code itself, so that each further task adds little code to a
/// program.
///
/// # Cancel safety
/// When dropped, a call that has not started is never made. For a call that runs, `is_cancelled` becomes true, and its
/// thread is abandoned.
pub(in crate::engine) struct Call<R> {
    /// `None` after it was handed to a lane thread.
    job: Option<Job>,
    result: Arc<Mutex<Option<Result<R>>>>,
    cancelled: Arc<AtomicBool>,
    /// The lane thread that has the job, until the result is taken.
    lane_thread: Option<Arc<LaneThread>>,
}

impl<R: Send + 'static> Call<R> {
    pub(in crate::engine) fn new(code: impl FnOnce() -> Result<R> + Send + 'static) -> Self {
        let (result, cancelled) = (Arc::default(), Arc::default());
        let (made, flag) = (Arc::clone(&result), Arc::clone(&cancelled));
        let job = move |scope, calls| {
            let mut code = Some(code);
            // The job runs once, so the code is there.
            make((scope, calls), &made, &flag, &mut || code.take().map(|code| code()));
            // The `Drop` of a result that no caller waits for may panic.
            let _ = panic::guard(|| drop(made));
        };
        Self { job: Some(Box::new(job)), result, cancelled, lane_thread: None }
    }
}

impl<R> Future for Call<R> {
    type Output = Result<R>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<R>> {
        if self.lane_thread.is_some() {
            let result = self.result.lock().unwrap_or_else(PoisonError::into_inner).take();
            return result.map_or(Poll::Pending, |result| {
                self.lane_thread = None;
                Poll::Ready(result)
            });
        }
        let (Some(job), Some(lane_thread)) = (self.job.take(), LaneThread::current()) else {
            return Poll::Pending;
        };
        let work = Work { job, scope: Scope::current(), calls: Calls::current() };
        let inner = !context.waker().will_wake(&Waker::from(Arc::clone(&lane_thread)));
        let mut state = lane_thread.state();
        state.work = Some(work);
        // A combinator, such as `run_concurrently`, polls only those of its futures that were woken.
        state.caller = inner.then(|| context.waker().clone());
        drop(state);
        self.lane_thread = Some(lane_thread);
        Poll::Pending
    }
}

/// Makes the call in the scope of its caller, and puts its result where the future finds it.
fn make<R>(
    (mut scope, mut calls): (Option<Scope>, Option<Calls>),
    result: &Mutex<Option<Result<R>>>,
    cancelled: &Arc<AtomicBool>,
    code: &mut dyn FnMut() -> Option<Result<R>>,
) {
    let in_scope = || Scope::enter(&mut scope, || cancellable(cancelled, code));
    let called = panic::guard(|| Calls::enter(&mut calls, in_scope));
    *result.lock().unwrap_or_else(PoisonError::into_inner) = called.unwrap_or_else(|error| Some(Err(error)));
}

impl<R> Drop for Call<R> {
    fn drop(&mut self) {
        let Some(lane_thread) = self.lane_thread.take() else { return };
        // Relaxed: the code reads the flag only now and then, and no other memory depends on it.
        self.cancelled.store(true, Ordering::Relaxed);
        let mut state = lane_thread.state();
        let not_begun = state.work.take();
        let returned = self.result.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if not_begun.is_none() && !returned && state.call == InCall::Waited {
            state.call = InCall::Abandoned;
        }
        drop(state);
        drop(not_begun);
    }
}
