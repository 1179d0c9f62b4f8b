//! Blocking steps: a lane whose future is polled, and whose handlers are called, on a thread of its own.
//!
//! The future of such a lane is that of any other; where it calls a handler, it leaves the call in its seat and is
//! pending. The seat's thread makes the call, then polls on: no thread has to be woken for a transaction. When a
//! limit ends a call before it returns, a timer wakes the future as it would any other; it is polled beside the
//! thread, drops the call, and goes on with a fresh thread. What the old one still does is ignored.

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::future::BoxFuture;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::panic;
use crate::telemetry::Scope;
use crate::transaction::{Result, cancellable};

type Work = Box<dyn FnOnce() + Send>;

thread_local! {
    /// The seat whose future is being polled on this thread.
    static SEAT: RefCell<Option<Arc<Seat>>> = const { RefCell::new(None) };
}

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
    let seat = Seat::take(whole, threads);
    async move {
        let seat = Leaving(seat);
        match output.await {
            Ok(output) => output,
            Err(_) => resume_unwind(seat.0.state().panicked.take().unwrap_or_else(|| Box::new("no thread"))),
        }
    }
}

/// A future and the thread in charge of it.
struct Seat {
    state: Mutex<State>,
    /// Wakes the thread in charge.
    ready: Condvar,
    runtime: Handle,
    threads: Arc<Threads>,
}

#[derive(Default)]
struct State {
    /// None while it is polled, and when it is over.
    future: Option<BoxFuture<'static, ()>>,
    woken: bool,
    over: bool,
    /// What the thread in charge is to call next.
    work: Option<Work>,
    /// The call that the thread in charge is in.
    call: InCall,
    /// Whom to wake when it returned, besides the seat's own future.
    caller: Option<Waker>,
    /// Counts the threads of this seat; the last one is in charge.
    in_charge: u64,
    panicked: Option<Box<dyn Any + Send>>,
    /// Keeps a paused clock from being advanced while there is something to do here.
    clock: Option<mpsc::Sender<()>>,
}

/// Whether a thread is in a call, and whether that is still waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum InCall {
    #[default]
    No,
    Waited,
    GivenUp,
}

enum Turn {
    Poll(BoxFuture<'static, ()>),
    Call(Work),
    End,
}

impl Seat {
    fn take(future: BoxFuture<'static, ()>, threads: &Arc<Threads>) -> Arc<Self> {
        let state = State { future: Some(future), woken: true, ..State::default() };
        let seat = Self {
            state: Mutex::new(state),
            ready: Condvar::new(),
            runtime: Handle::current(),
            threads: Arc::clone(threads),
        };
        let seat = Arc::new(seat);
        seat.hold_clock(&mut seat.state());
        seat.start_thread(0);
        seat
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start_thread(self: &Arc<Self>, number: u64) {
        let seat = Arc::clone(self);
        let thread = std::thread::Builder::new().name("ergon-blocking".to_owned());
        if let Err(error) = thread.spawn(move || seat.serve(number)) {
            self.close(Some(Box::new(format!("the system gives no thread: {error}"))));
        }
    }

    /// What a thread does, as long as it is in charge.
    fn serve(self: Arc<Self>, number: u64) {
        let _runtime = self.runtime.enter();
        loop {
            match self.next(number) {
                Turn::Poll(future) => self.poll(future),
                Turn::Call(work) => {
                    work();
                    if !self.called(number) {
                        return self.threads.came_back();
                    }
                }
                Turn::End => return,
            }
        }
    }

    fn next(&self, number: u64) -> Turn {
        let mut state = self.state();
        loop {
            if state.over || state.in_charge != number {
                return Turn::End;
            }
            if let Some(work) = state.work.take() {
                state.call = InCall::Waited;
                return Turn::Call(work);
            }
            if state.woken
                && let Some(future) = state.future.take()
            {
                state.woken = false;
                return Turn::Poll(future);
            }
            state.clock = None;
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes in that a call returned; says whether its thread is still in charge.
    fn called(&self, number: u64) -> bool {
        let mut state = self.state();
        if state.in_charge != number {
            return false;
        }
        state.call = InCall::No;
        state.woken = true;
        let caller = state.caller.take();
        drop(state);
        if let Some(caller) = caller {
            caller.wake();
        }
        true
    }

    fn poll(self: &Arc<Self>, mut future: BoxFuture<'static, ()>) {
        let waker = Waker::from(Arc::clone(self));
        let before = SEAT.replace(Some(Arc::clone(self)));
        let polled =
            catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut Context::from_waker(&waker))));
        SEAT.replace(before);
        match polled {
            Ok(Poll::Pending) => {
                let mut state = self.state();
                if !state.over {
                    state.future = Some(future);
                }
            }
            Ok(Poll::Ready(())) => self.close(None),
            Err(panicked) => {
                // It must not be polled again, and its drop may panic too.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(future)));
                self.close(Some(panicked));
            }
        }
    }

    /// Polls the future while its thread is in a call; if that ends the call, a fresh thread takes over.
    fn poll_beside(self: &Arc<Self>) {
        loop {
            let mut state = self.state();
            if state.call == InCall::No || !state.woken || state.over {
                return self.ready.notify_one();
            }
            let Some(future) = state.future.take() else { return };
            state.woken = false;
            drop(state);
            self.poll(future);
            let mut state = self.state();
            if state.call == InCall::GivenUp {
                state.call = InCall::No;
                state.in_charge += 1;
                let (number, over) = (state.in_charge, state.over);
                drop(state);
                self.threads.abandon();
                if !over {
                    self.start_thread(number);
                }
                return;
            }
        }
    }

    /// Ends the seat; what is left of the future is dropped.
    fn close(&self, panicked: Option<Box<dyn Any + Send>>) {
        let mut state = self.state();
        state.over = true;
        state.panicked = panicked;
        let left = (state.future.take(), state.work.take(), state.clock.take());
        drop(state);
        self.ready.notify_all();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(left)));
    }

    /// A runtime of one thread may have a paused clock, which is advanced as soon as the runtime has nothing to do; a
    /// blocking task of its own keeps it from that.
    fn hold_clock(&self, state: &mut State) {
        if state.clock.is_none() && self.runtime.runtime_flavor() == RuntimeFlavor::CurrentThread {
            let (hold, until) = mpsc::channel();
            self.runtime.spawn_blocking(move || until.recv());
            state.clock = Some(hold);
        }
    }
}

impl Wake for Seat {
    fn wake(self: Arc<Self>) {
        let mut state = self.state();
        if state.over {
            return;
        }
        state.woken = true;
        self.hold_clock(&mut state);
        let beside = state.call != InCall::No && state.future.is_some();
        drop(state);
        if beside {
            let seat = Arc::clone(&self);
            self.runtime.spawn(async move { seat.poll_beside() });
        } else {
            self.ready.notify_one();
        }
    }
}

/// Ends a seat when whoever waits for it does not any more.
struct Leaving(Arc<Seat>);

impl Drop for Leaving {
    fn drop(&mut self) {
        if !self.0.state().over {
            self.0.close(None);
        }
    }
}

/// A call of blocking code, made by the thread of the future that waits for it. A panic is its error.
///
/// # Cancel safety
/// When dropped, a call that has not begun is never made; one that is under way is told that it is cancelled, and its
/// thread is given up.
pub(super) struct Call<F, R> {
    code: Option<F>,
    made: Option<Made<R>>,
}

/// A call that was left in a seat.
struct Made<R> {
    seat: Arc<Seat>,
    result: Arc<Mutex<Option<Result<R>>>>,
    cancelled: Arc<AtomicBool>,
}

impl<F, R> Call<F, R>
where
    F: FnOnce() -> Result<R> + Send + 'static,
    R: Send + 'static,
{
    pub(super) fn new(code: F) -> Self {
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
        let (Some(code), Some(seat)) = (self.code.take(), SEAT.with_borrow(Clone::clone)) else {
            return Poll::Pending;
        };
        let (result, cancelled) = (Arc::default(), Arc::default());
        let work = work(code, Arc::clone(&result), Arc::clone(&cancelled));
        let inner = !context.waker().will_wake(&Waker::from(Arc::clone(&seat)));
        let mut state = seat.state();
        state.work = Some(work);
        // A future that polls several others polls only those that were woken.
        state.caller = inner.then(|| context.waker().clone());
        drop(state);
        self.made = Some(Made { seat, result, cancelled });
        Poll::Pending
    }
}

/// What the thread does: the call, in the scope of whoever makes it.
fn work<R: Send + 'static>(
    code: impl FnOnce() -> Result<R> + Send + 'static,
    result: Arc<Mutex<Option<Result<R>>>>,
    cancelled: Arc<AtomicBool>,
) -> Work {
    let mut scope = Scope::current();
    Box::new(move || {
        let called = panic::guard(|| Scope::enter(&mut scope, || cancellable(&cancelled, code)));
        *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(called.and_then(|called| called));
    })
}

impl<F, R> Drop for Call<F, R> {
    fn drop(&mut self) {
        let Some(Made { seat, result, cancelled }) = self.made.take() else { return };
        cancelled.store(true, Ordering::Relaxed);
        let mut state = seat.state();
        let not_begun = state.work.take();
        let returned = result.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if not_begun.is_none() && !returned && state.call == InCall::Waited {
            state.call = InCall::GivenUp;
        }
        drop(state);
        drop(not_begun);
    }
}
