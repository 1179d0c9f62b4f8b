//! A panic of the task's code becomes an error with its message and its place.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::pin::pin;
use std::sync::Once;
use std::task::Poll;

use super::TransactionError;

thread_local! {
    /// How many guards of this module are around the running code.
    static GUARDED: Cell<u32> = const { Cell::new(0) };
    /// Where the last guarded panic happened.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs code of the task's; its panic is returned as a system error. The [hook](install_hook) stands already.
#[inline]
pub(crate) fn guard<R>(code: impl FnOnce() -> R) -> Result<R, TransactionError> {
    unwinding(code).map_err(TransactionError::system)
}

/// Runs code of a task, a connector or a service, outside of any transaction; its panic is returned in words.
pub(crate) fn caught<R>(code: impl FnOnce() -> R) -> Result<R, String> {
    install_hook();
    unwinding(code)
}

/// The same for a future, until it is done.
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

#[inline]
fn unwinding<R>(code: impl FnOnce() -> R) -> Result<R, String> {
    GUARDED.set(GUARDED.get().saturating_add(1));
    let result = panic::catch_unwind(AssertUnwindSafe(code));
    GUARDED.set(GUARDED.get().saturating_sub(1));
    result.map_err(into_words)
}

/// Makes guarded panics remember their place instead of printing; all others print as before.
///
/// Done once for a process; the hook that stood before is kept and called.
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

/// Drops a panic's payload, which may itself panic, and so may what that one leaves behind.
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
