//! Spawns work that still belongs to the transaction of the handler that spawns it.

use std::future::poll_fn;
use std::pin::pin;

use tokio::task::JoinHandle;
use tracing::{Instrument, Span};

use crate::telemetry::Scope;
use crate::telemetry::calls::Calls;

/// Spawns a future that belongs to the current transaction; otherwise the same as [`tokio::spawn`].
///
/// The log lines of the future carry the ids of the transaction. Dispatches of the future carry its trace. Spans of the
/// future nest in the caller's span.
///
/// Await the returned handle in the handler. Work that continues after its handler has ended belongs to no attempt, is
/// not retried, and is lost when the program ends.
///
/// # Panics
/// Panics when called outside of a tokio runtime.
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

/// Spawns blocking code on its own thread, as [`tokio::task::spawn_blocking`] does. The code belongs to the current
/// transaction, as with [`spawn`].
///
/// # Panics
/// Panics when called outside of a tokio runtime.
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
