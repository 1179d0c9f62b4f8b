//! Tracks the transaction, step and attempt that the running code belongs to. Only log lines read them.

use std::cell::RefCell;
use std::fmt;

use super::propagation::{Place, TraceContext};
use crate::transaction::TransactionId;

/// A step of a transaction, in which code of the task runs.
///
/// ```
/// use ergon::telemetry::Step;
///
/// assert_eq!(Step::Process.as_str(), "process");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// `process_transaction`, decoding included.
    Process,
    /// `prepare_transaction`: a producer's counterpart of process.
    Prepare,
    /// `handle_process_success`, `handle_prepare_success`.
    Success,
    /// `handle_process_exception`, `handle_prepare_exception`.
    Exception,
}

impl Step {
    /// All steps, in their order.
    pub(crate) const ALL: [Self; 4] = [Self::Process, Self::Prepare, Self::Success, Self::Exception];

    /// Returns the step in lower case, as in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Prepare => "prepare",
            Self::Success => "success",
            Self::Exception => "exception",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Scope>> = const { RefCell::new(None) };
}

/// The transaction, step and attempt of the code on this thread.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub(crate) task: &'static str,
    pub(crate) transaction_id: TransactionId,
    pub(crate) step: Step,
    /// From 1.
    pub(crate) attempt: u32,
    /// The position in a trace, if there is one.
    pub(crate) trace: Option<Place>,
}

impl Scope {
    /// Moves to another span of the same trace.
    pub(crate) fn stand_at(&mut self, context: TraceContext) {
        if let Some(place) = &mut self.trace {
            place.context = context;
        }
    }

    /// Runs `code` inside `scope`, and restores the previous scope afterwards, also after a panic. Without `scope`, the
    /// code belongs to the current scope.
    #[inline]
    pub(crate) fn enter<R>(scope: &mut Option<Self>, code: impl FnOnce() -> R) -> R {
        if scope.is_none() {
            return code();
        }
        let _entered = Entered::new(scope);
        code()
    }

    /// A copy of the current scope, for another thread that works for it.
    pub(crate) fn current() -> Option<Self> {
        CURRENT.with(|current| current.try_borrow().ok()?.clone())
    }

    /// Passes the current scope to `look`, if the code belongs to a transaction.
    pub(crate) fn with_current<R>(look: impl FnOnce(Option<&Self>) -> R) -> R {
        CURRENT.with(|current| match current.try_borrow() {
            Ok(scope) => look(scope.as_ref()),
            Err(_) => look(None),
        })
    }
}

/// Sets the current scope, and restores the previous one on drop, without cloning.
struct Entered<'a>(&'a mut Option<Scope>);

impl<'a> Entered<'a> {
    fn new(scope: &'a mut Option<Scope>) -> Self {
        swap(scope);
        Self(scope)
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        swap(self.0);
    }
}

fn swap(scope: &mut Option<Scope>) {
    CURRENT.with(|current| {
        if let Ok(mut current) = current.try_borrow_mut() {
            std::mem::swap(&mut *current, scope);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> Option<String> {
        Scope::with_current(|scope| scope.map(|scope| scope.transaction_id.to_string()))
    }

    fn scope(id: &str) -> Scope {
        Scope { task: "t", transaction_id: id.into(), step: Step::Process, attempt: 1, trace: None }
    }

    #[test]
    fn scopes_nest_and_end() {
        let (mut outer, mut inner) = (Some(scope("outer")), Some(scope("inner")));
        Scope::enter(&mut outer, || {
            assert_eq!(id().as_deref(), Some("outer"));
            Scope::enter(&mut inner, || assert_eq!(id().as_deref(), Some("inner")));
            assert_eq!(id().as_deref(), Some("outer"));
            Scope::enter(&mut None, || assert_eq!(id().as_deref(), Some("outer")));
        });
        assert_eq!(id(), None);
        assert!(outer.is_some() && inner.is_some());
    }

    #[test]
    fn a_panic_ends_the_scope() {
        let mut scope = Some(scope("outer"));
        let code = std::panic::AssertUnwindSafe(|| Scope::enter(&mut scope, || std::panic::panic_any(1)));
        assert!(std::panic::catch_unwind(code).is_err());
        assert_eq!(id(), None);
    }
}
