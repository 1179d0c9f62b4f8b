//! Work beside a handler that still belongs to its transaction.

use std::future::poll_fn;
use std::pin::pin;

use tokio::task::JoinHandle;
use tracing::{Instrument, Span};

use crate::telemetry::Scope;
use crate::telemetry::calls::Calls;

/// Runs a future beside the handler that calls this, as [`tokio::spawn`] does: its log lines carry the ids of the
/// transaction, what it dispatches its trace, and its spans nest in the caller's.
///
/// Whoever spawns awaits: work that goes on when its handler has ended belongs to no attempt any more, is not retried,
/// and is lost when the program ends.
///
/// # Panics
/// When called outside of a runtime.
///
/// ```
/// use ergon::prelude::*;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let stock = ergon::spawn(async { 7 });
/// let price = ergon::spawn(async { 12 });
/// assert_eq!(stock.await.system()? * price.await.system()?, 84);
/// # Ok::<(), TransactionError>(()) }).unwrap();
/// ```
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let (scope, calls) = (Scope::current(), Calls::current());
    tokio::spawn(scoped(scope, calls, future).instrument(Span::current()))
}

/// The same for code that blocks, on a thread of its own; see [`tokio::task::spawn_blocking`].
///
/// # Panics
/// When called outside of a runtime.
pub fn spawn_blocking<R: Send + 'static>(code: impl FnOnce() -> R + Send + 'static) -> JoinHandle<R> {
    let (mut scope, mut calls, span) = (Scope::current(), Calls::current(), Span::current());
    tokio::task::spawn_blocking(move || {
        span.in_scope(|| Calls::enter(&mut calls, || Scope::enter(&mut scope, code)))
    })
}

async fn scoped<F: Future>(mut scope: Option<Scope>, mut calls: Option<Calls>, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| Calls::enter(&mut calls, || Scope::enter(&mut scope, || future.as_mut().poll(context))))
        .await
}
