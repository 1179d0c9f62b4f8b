//! Polls the future of a lane on the lane's own thread, and makes the blocking calls of that future.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::future::BoxFuture;
use tokio::runtime::{Handle, RuntimeFlavor};

use super::Threads;
use crate::telemetry::Scope;
use crate::telemetry::calls::Calls;

/// The code of a call. It receives the scope and the call counter of the caller, because the thread has neither.
pub(super) type Job = Box<dyn FnOnce(Option<Scope>, Option<Calls>) + Send>;

/// A call to be made, and the context of its caller.
pub(super) struct Work {
    pub(super) job: Job,
    pub(super) scope: Option<Scope>,
    pub(super) calls: Option<Calls>,
}

thread_local! {
    /// The lane thread whose future this thread polls at present.
    static CURRENT: RefCell<Option<Arc<LaneThread>>> = const { RefCell::new(None) };
}

/// A future and the thread that polls it and makes its calls.
pub(super) struct LaneThread {
    state: Mutex<State>,
    /// Wakes the current thread.
    ready: Condvar,
    runtime: Handle,
    threads: Arc<Threads>,
}

#[derive(Default)]
pub(super) struct State {
    /// `None` while it is polled, and after its end.
    future: Option<BoxFuture<'static, ()>>,
    woken: bool,
    /// Whether the current thread waits on `ready`.
    waits: bool,
    over: bool,
    /// The next call of the current thread.
    pub(super) work: Option<Work>,
    /// Whether the current thread is in a call.
    pub(super) call: InCall,
    /// Woken when the call returns, in addition to the future itself.
    pub(super) caller: Option<Waker>,
    /// The number of the current thread. An abandoned thread has a lower number, and ends when its call returns.
    in_charge: u64,
    pub(super) panicked: Option<Box<dyn Any + Send>>,
    /// Keeps a paused clock from advancing while this lane has work to do.
    clock: Option<mpsc::Sender<()>>,
}

/// Whether a thread is in a call, and whether the future still waits for that call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum InCall {
    #[default]
    No,
    Waited,
    Abandoned,
}

enum Turn {
    Poll(BoxFuture<'static, ()>),
    Call(Work),
    End,
}

impl LaneThread {
    pub(super) fn take(future: BoxFuture<'static, ()>, threads: &Arc<Threads>) -> Arc<Self> {
        let state = State { future: Some(future), woken: true, ..State::default() };
        let lane_thread = Self {
            state: Mutex::new(state),
            ready: Condvar::new(),
            runtime: Handle::current(),
            threads: Arc::clone(threads),
        };
        let lane_thread = Arc::new(lane_thread);
        lane_thread.hold_clock(&mut lane_thread.state());
        lane_thread.start_thread(0);
        lane_thread
    }

    /// The lane thread whose future this thread polls at present.
    pub(super) fn current() -> Option<Arc<Self>> {
        CURRENT.with_borrow(Clone::clone)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start_thread(self: &Arc<Self>, number: u64) {
        let lane_thread = Arc::clone(self);
        let thread = std::thread::Builder::new().name("ergon-blocking".to_owned());
        if let Err(error) = thread.spawn(move || lane_thread.serve(number)) {
            self.close(Some(Box::new(format!("the system gives no thread: {error}"))));
        }
    }

    /// Runs a thread for as long as it is the current one.
    fn serve(self: Arc<Self>, number: u64) {
        let _runtime = self.runtime.enter();
        loop {
            match self.next(number) {
                Turn::Poll(future) => self.poll(future),
                Turn::Call(Work { job, scope, calls }) => {
                    job(scope, calls);
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
            // Nothing to do: a paused clock may advance now.
            state.clock = None;
            state.waits = true;
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waits = false;
        }
    }

    /// Records that a call returned. Returns whether its thread is still the current one.
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
        let before = CURRENT.replace(Some(Arc::clone(self)));
        let polled =
            catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut Context::from_waker(&waker))));
        CURRENT.replace(before);
        match polled {
            Ok(Poll::Pending) => {
                let mut state = self.state();
                if !state.over {
                    state.future = Some(future);
                }
            }
            Ok(Poll::Ready(())) => self.close(None),
            Err(panicked) => {
                // A future that panicked must not be polled again, and its drop may panic too.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(future)));
                self.close(Some(panicked));
            }
        }
    }

    /// Polls the future while its thread is in a call. If the poll drops the call, a new thread takes over.
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
            if state.call == InCall::Abandoned {
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

    /// Ends the lane thread and drops the rest of its future.
    fn close(&self, panicked: Option<Box<dyn Any + Send>>) {
        let mut state = self.state();
        state.over = true;
        state.panicked = panicked;
        let left = (state.future.take(), state.work.take(), state.clock.take());
        drop(state);
        self.ready.notify_all();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(left)));
    }

    /// A runtime of one thread may have a paused clock, which tokio advances as soon as the runtime is idle. Work on
    /// this thread does not count for tokio, so a blocking task keeps the runtime busy.
    fn hold_clock(&self, state: &mut State) {
        if state.clock.is_none() && self.runtime.runtime_flavor() == RuntimeFlavor::CurrentThread {
            let (hold, until) = mpsc::channel();
            self.runtime.spawn_blocking(move || until.recv());
            state.clock = Some(hold);
        }
    }
}

impl Wake for LaneThread {
    fn wake(self: Arc<Self>) {
        let mut state = self.state();
        if state.over {
            return;
        }
        state.woken = true;
        self.hold_clock(&mut state);
        let beside = state.call != InCall::No && state.future.is_some();
        // A notification costs a system call even if no thread waits, so it is sent only to a thread that waits.
        let waits = state.waits;
        drop(state);
        if beside {
            let lane_thread = Arc::clone(&self);
            self.runtime.spawn(async move { lane_thread.poll_beside() });
        } else if waits {
            self.ready.notify_one();
        }
    }
}

/// Ends a lane thread when the caller that waits for it is dropped.
pub(super) struct Leaving(pub(super) Arc<LaneThread>);

impl Drop for Leaving {
    fn drop(&mut self) {
        if !self.0.state().over {
            self.0.close(None);
        }
    }
}
