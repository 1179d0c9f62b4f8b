//! Counts the retries of calls in handlers: requests of a service, functions under `run_fn`. They are not attempts of a
//! step, so the run counts them separately.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::metrics;
use crate::transaction::Category;

thread_local! {
    static CURRENT: RefCell<Option<Calls>> = const { RefCell::new(None) };
}

/// The calls within one loop. Clones share the count.
#[derive(Debug, Clone)]
pub(crate) struct Calls(Arc<Counted>);

#[derive(Debug)]
struct Counted {
    task: &'static str,
    retries: AtomicU64,
}

impl Calls {
    /// Counts the calls of a loop of this task.
    pub(crate) fn of(task: &'static str) -> Self {
        Self(Arc::new(Counted { task, retries: AtomicU64::new(0) }))
    }

    /// The number of retries of calls.
    pub(crate) fn retries(&self) -> u64 {
        self.0.retries.load(Ordering::Relaxed)
    }

    /// Runs a future whose calls are counted here.
    pub(crate) async fn within<F: Future>(self, future: F) -> F::Output {
        let (mut calls, mut future) = (Some(self), pin!(future));
        poll_fn(|context| Self::enter(&mut calls, || future.as_mut().poll(context))).await
    }

    /// Runs code whose calls are counted by `calls`, or by the current counter if `calls` is none.
    pub(crate) fn enter<R>(calls: &mut Option<Self>, code: impl FnOnce() -> R) -> R {
        if calls.is_none() {
            return code();
        }
        let _entered = Entered::new(calls);
        code()
    }

    /// The counter of the running code, for another thread that works for it.
    pub(crate) fn current() -> Option<Self> {
        CURRENT.with(|current| current.try_borrow().ok()?.clone())
    }

    /// Counts a retry of a call after an error of this category. Returns whether the code belongs to a loop.
    pub(crate) fn retried(category: Category) -> bool {
        let Some(Self(counted)) = Self::current() else { return false };
        counted.retries.fetch_add(1, Ordering::Relaxed);
        metrics::call_retried(counted.task, category);
        true
    }

    /// Whether the running code belongs to a loop.
    pub(crate) fn is_counted() -> bool {
        CURRENT.with(|current| current.try_borrow().is_ok_and(|current| current.is_some()))
    }
}

/// Sets the current counter, and restores the previous one on drop, also after a panic.
struct Entered<'a>(&'a mut Option<Calls>);

impl<'a> Entered<'a> {
    fn new(calls: &'a mut Option<Calls>) -> Self {
        swap(calls);
        Self(calls)
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        swap(self.0);
    }
}

fn swap(calls: &mut Option<Calls>) {
    CURRENT.with(|current| {
        if let Ok(mut current) = current.try_borrow_mut() {
            std::mem::swap(&mut *current, calls);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_counted_where_they_belong() {
        let (outer, inner) = (Calls::of("outer"), Calls::of("inner"));
        assert!(!Calls::retried(Category::System), "no loop counts");
        Calls::enter(&mut Some(outer.clone()), || {
            Calls::retried(Category::System);
            Calls::enter(&mut Some(inner.clone()), || Calls::retried(Category::Timeout));
            Calls::enter(&mut None, || Calls::retried(Category::System));
        });
        let panicked = std::panic::AssertUnwindSafe(|| {
            Calls::enter(&mut Some(outer.clone()), || std::panic::panic_any(1));
        });
        assert!(std::panic::catch_unwind(panicked).is_err());
        assert_eq!((outer.retries(), inner.retries(), Calls::is_counted()), (2, 1, false));
    }
}
