//! Lets blocking code ask whether it is still wanted.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

thread_local! {
    static CANCELLED: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// Runs `code` on this thread, cancelled as soon as `flag` is set.
pub(crate) fn cancellable<R>(flag: &Arc<AtomicBool>, code: impl FnOnce() -> R) -> R {
    let _before = Before(CANCELLED.replace(Some(Arc::clone(flag))));
    code()
}

/// Says whether the code that runs on this thread was given up.
pub(super) fn is_cancelled() -> bool {
    CANCELLED.with_borrow(|flag| flag.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed)))
}

/// Puts back what stood before, after a panic too.
struct Before(Option<Arc<AtomicBool>>);

impl Drop for Before {
    fn drop(&mut self) {
        CANCELLED.replace(self.0.take());
    }
}
