//! Turns panics of the user's code into errors with the message and place of the panic.
//!
//! The process must survive such a panic, and the standard hook would print it in the middle of log lines and progress
//! bars. Each call of user code therefore runs inside a guard, and a panic inside a guard is not printed.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::pin::pin;
use std::sync::Once;
use std::task::Poll;

use super::TransactionError;

thread_local! {
    /// The number of guards around the code that runs on this thread. A number, because guards nest: a guarded step may
    /// dispatch, and the dispatch is guarded too.
    static GUARDED: Cell<u32> = const { Cell::new(0) };
    /// The place of the last guarded panic on this thread.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs the task's code, and returns its panic as a system error. The caller has installed the [hook](install_hook).
#[inline]
pub(crate) fn guard<R>(code: impl FnOnce() -> R) -> Result<R, TransactionError> {
    unwinding(code).map_err(TransactionError::system)
}

/// Runs code of a task, a connector or a service outside of any transaction, and returns its panic as text.
pub(crate) fn caught<R>(code: impl FnOnce() -> R) -> Result<R, String> {
    install_hook();
    unwinding(code)
}

/// Polls a future of user code to its end, and returns its panic as text.
pub(crate) async fn caught_in<F: Future>(future: F) -> Result<F::Output, String> {
    install_hook();
    let mut future = pin!(future);
    poll_fn(|context| match unwinding(|| future.as_mut().poll(context)) {
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(panicked) => Poll::Ready(Err(panicked)),
    })
    .await
}

/// Runs code with one more guard, and catches its panic.
#[inline]
fn unwinding<R>(code: impl FnOnce() -> R) -> Result<R, String> {
    GUARDED.set(GUARDED.get().saturating_add(1));
    // The unwound code is not called again, and state that it shares with others is behind locks, which are poisoned.
    let result = panic::catch_unwind(AssertUnwindSafe(code));
    GUARDED.set(GUARDED.get().saturating_sub(1));
    result.map_err(into_words)
}

/// Installs a panic hook that remembers the place of guarded panics instead of printing them. All other panics go to
/// the previous hook. Installed once per process.
pub(crate) fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            if GUARDED.get() == 0 {
                before(info);
            } else {
                PLACE.set(info.location().map(ToString::to_string));
            }
        }));
    });
}

/// Renders the message and the place of a panic.
fn into_words(payload: Box<dyn Any + Send>) -> String {
    let said = match payload.downcast::<String>() {
        Ok(text) => Some(*text),
        Err(payload) => match payload.downcast::<&'static str>() {
            Ok(text) => Some((*text).to_owned()),
            Err(other) => {
                discard(other);
                None
            }
        },
    };
    let said = said.unwrap_or_else(|| "a value that is no text".to_owned());
    match PLACE.take() {
        Some(place) => format!("panicked at {place}: {said}"),
        None => format!("panicked: {said}"),
    }
}

/// Drops the payload of a panic. The drop may panic too. The payload of that second panic is leaked, because each
/// further drop could panic again.
fn discard(payload: Box<dyn Any + Send>) {
    if let Err(again) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(again);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    #[test]
    fn the_error_has_message_and_place() {
        install_hook();
        let error = guard(|| panic!("no {}", "stock")).unwrap_err();
        let message = error.message();
        assert!(message.starts_with("panicked at ergon/src/transaction/panic.rs:"), "{message}");
        assert!(message.ends_with(": no stock"), "{message}");
    }

    #[test]
    fn a_payload_that_panics_when_dropped_is_survived() {
        install_hook();
        let error = guard(|| panic::panic_any(Bomb)).unwrap_err();
        assert!(error.message().contains("a value that is no text"));
    }
}
