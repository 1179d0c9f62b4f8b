//! Lets blocking code ask whether its attempt is cancelled, through a flag in a thread-local. Unlike a future, a
//! running function cannot be dropped, so it has to ask.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

thread_local! {
    static CANCELLED: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// Runs `code` on this thread. It counts as cancelled while `flag` is set.
pub(crate) fn cancellable<R>(flag: &Arc<AtomicBool>, code: impl FnOnce() -> R) -> R {
    let _before = Before(CANCELLED.replace(Some(Arc::clone(flag))));
    code()
}

/// Whether the code that runs on this thread is cancelled.
pub(super) fn is_cancelled() -> bool {
    // `Relaxed`, because the flag publishes no other data.
    CANCELLED.with_borrow(|flag| flag.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed)))
}

/// Restores the previous flag, even after a panic, because threads are reused.
struct Before(Option<Arc<AtomicBool>>);

impl Drop for Before {
    fn drop(&mut self) {
        CANCELLED.replace(self.0.take());
    }
}
