//! A future and the thread in charge of it.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::future::BoxFuture;
use tokio::runtime::{Handle, RuntimeFlavor};

use super::Threads;

pub(super) type Work = Box<dyn FnOnce() + Send>;

thread_local! {
    /// The lane thread whose future is being polled on this thread.
    static CURRENT: RefCell<Option<Arc<LaneThread>>> = const { RefCell::new(None) };
}

/// A future and the thread in charge of it.
pub(super) struct LaneThread {
    state: Mutex<State>,
    /// Wakes the thread in charge.
    ready: Condvar,
    runtime: Handle,
    threads: Arc<Threads>,
}

#[derive(Default)]
pub(super) struct State {
    /// None while it is polled, and when it is over.
    future: Option<BoxFuture<'static, ()>>,
    woken: bool,
    /// The thread in charge waits to be woken.
    waits: bool,
    over: bool,
    /// What the thread in charge is to call next.
    pub(super) work: Option<Work>,
    /// The call that the thread in charge is in.
    pub(super) call: InCall,
    /// Whom to wake when it returned, besides the lane thread's own future.
    pub(super) caller: Option<Waker>,
    /// Counts the threads of this lane thread; the last one is in charge.
    in_charge: u64,
    pub(super) panicked: Option<Box<dyn Any + Send>>,
    /// Keeps a paused clock from being advanced while there is something to do here.
    clock: Option<mpsc::Sender<()>>,
}

/// Whether a thread is in a call, and whether that is still waited for.
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

    /// The lane thread whose future is being polled on this thread.
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
            state.waits = true;
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waits = false;
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

    /// Ends the lane thread; what is left of the future is dropped.
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

impl Wake for LaneThread {
    fn wake(self: Arc<Self>) {
        let mut state = self.state();
        if state.over {
            return;
        }
        state.woken = true;
        self.hold_clock(&mut state);
        let beside = state.call != InCall::No && state.future.is_some();
        // Waking nobody costs a call to the system as well.
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

/// Ends a lane thread when whoever waits for it does not any more.
pub(super) struct Leaving(pub(super) Arc<LaneThread>);

impl Drop for Leaving {
    fn drop(&mut self) {
        if !self.0.state().over {
            self.0.close(None);
        }
    }
}
