//! Batches concurrent calls: items that arrive during a call are passed on together in the next call. So a sink whose
//! cost is per call can keep up with many concurrent dispatches.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::connector::{ConnectorError, ItemOutcome};

/// Performs the calls of a [`Batcher`].
pub trait Call<T>: Send + Sync + 'static {
    /// The error of a call.
    type Error: CallError;

    /// Makes one call with all items, in their order. There is at least one item.
    ///
    /// # Errors
    /// Return an error if items failed; [`CallError::of_item`] gives the error of each item.
    ///
    /// # Cancel safety
    /// The future is dropped when no caller waits for any of the items.
    fn call(&self, items: Vec<T>) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// The error of a call with several items, which gives each item its own error.
pub trait CallError: Sized + Send + 'static {
    /// Returns the error of the item with this index in the call; `None` if that item did not fail.
    fn of_item(&self, index: usize) -> Option<Self>;

    /// Returns the error of an item whose call panicked.
    fn panicked() -> Self;
}

/// Gives each item of a partial error its own error. The cause stays with the error of the whole call.
impl CallError for ConnectorError {
    fn of_item(&self, index: usize) -> Option<Self> {
        let own = self.item(index)?;
        let error = match own.outcome(0) {
            ItemOutcome::Unknown => Self::unknown(own.message()),
            _ if own.is_closed() => Self::closed(own.message()),
            _ if own.is_permanent() => Self::permanent(own.message()),
            _ => Self::transient(own.message()),
        };
        Some(match own.hint() {
            Some(hint) => error.with_hint(hint),
            None => error,
        })
    }

    fn panicked() -> Self {
        Self::unknown("the call panicked")
    }
}

/// Collects items during a call, and passes them on together in the next call.
///
/// No item waits for other items: the first one starts a call immediately. When the waiting items fill one call,
/// another call starts, concurrently with the calls under way. Use it in a sink whose cost is per call (a commit, a
/// flush, a request), to batch concurrent dispatches.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use std::sync::Arc;
///
/// use ergon::connector::ConnectorError;
/// use ergon::connector::kit::{Batcher, Call};
///
/// #[derive(Clone, Default)]
/// struct Commits(Arc<AtomicUsize>);
///
/// impl Call<u32> for Commits {
///     type Error = ConnectorError;
///
///     async fn call(&self, rows: Vec<u32>) -> Result<(), ConnectorError> {
///         self.0.fetch_add(1, Ordering::Relaxed); // one commit for all rows
///         tokio::task::yield_now().await;
///         Ok(())
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let commits = Commits::default();
/// let batcher = Batcher::new(commits.clone(), 64);
/// let rows: Vec<_> = (0..64).map(|row| batcher.add(row)).collect();
/// for row in rows {
///     row.await?;
/// }
/// assert_eq!(commits.0.load(Ordering::Relaxed), 1);
/// # Ok::<(), ConnectorError>(()) }).unwrap();
/// ```
pub struct Batcher<C: Call<T>, T>(Arc<Shared<C, T>>)
where
    T: Send + 'static;

struct Shared<C: Call<T>, T: Send + 'static> {
    call: C,
    most: usize,
    state: Mutex<State<T, C::Error>>,
}

struct State<T, E> {
    waiting: Vec<Waiting<T, E>>,
    /// The number of calls under way. The tokio task of a call takes the waiting items when the call ends.
    calls: usize,
}

struct Waiting<T, E> {
    item: T,
    done: oneshot::Sender<Result<(), E>>,
}

/// The outcome of one item of a [`Batcher`]: a future of the item's own result.
///
/// # Errors
/// The output is the error of the item's call, if that call failed for this item or panicked.
///
/// # Cancel safety
/// If it is dropped before the call of its item starts, the item is not passed on. If it is dropped later, the item may
/// be passed on.
#[must_use = "an item whose outcome is dropped may not be handed over"]
pub struct Added<E>(oneshot::Receiver<Result<(), E>>);

impl<C: Call<T>, T: Send + 'static> Batcher<C, T> {
    /// Makes a batcher that passes on at most `most` items in one call; 0 counts as 1.
    pub fn new(call: C, most: usize) -> Self {
        let state = Mutex::new(State { waiting: Vec::new(), calls: 0 });
        Self(Arc::new(Shared { call, most: most.max(1), state }))
    }

    /// Adds one item. The returned future ends with the call of the item.
    ///
    /// # Panics
    /// Panics when called outside of a tokio runtime.
    pub fn add(&self, item: T) -> Added<C::Error> {
        let (begins, outcome) = self.0.join(item);
        if begins {
            let calling = Calling(Arc::clone(&self.0));
            // A separate task, because a caller that is cancelled must not cancel the call of the other callers.
            tokio::spawn(async move { calling.run().await });
        }
        outcome
    }
}

impl<C: Call<T>, T: Send + 'static> Shared<C, T> {
    /// Adds an item to those that wait. Returns whether the caller has to start a call.
    fn join(&self, item: T) -> (bool, Added<C::Error>) {
        let (done, outcome) = oneshot::channel();
        let mut state = self.state();
        state.waiting.push(Waiting { item, done });
        // `==` and not `>=`, so that each full batch starts exactly one call.
        let begins = state.calls == 0 || state.waiting.len() == self.most;
        state.calls += usize::from(begins);
        (begins, Added(outcome))
    }

    fn state(&self) -> MutexGuard<'_, State<T, C::Error>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The items of the next call; `None` if no item waits, which ends the calling task.
    fn next(&self) -> Option<Vec<Waiting<T, C::Error>>> {
        let mut state = self.state();
        // A caller that stopped waiting, for example because of a time limit, may dispatch its item again. Passing the
        // item on now would duplicate it.
        state.waiting.retain(|waiting| !waiting.done.is_closed());
        let count = state.waiting.len().min(self.most);
        if count == 0 {
            state.calls = state.calls.saturating_sub(1);
            return None;
        }
        Some(state.waiting.drain(..count).collect())
    }
}

impl<C: Call<T>, T: Send + 'static> Clone for Batcher<C, T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C: Call<T>, T: Send + 'static> fmt::Debug for Batcher<C, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batcher").field("most", &self.0.most).finish_non_exhaustive()
    }
}

impl<E: CallError> Future for Added<E> {
    type Output = Result<(), E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), E>> {
        let outcome = Pin::new(&mut self.0).poll(context);
        outcome.map(|reported| reported.unwrap_or_else(|_| Err(E::panicked())))
    }
}

impl<E> fmt::Debug for Added<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Added")
    }
}

/// Makes the calls. If a call panics, its callers get an error, and the next item starts another call.
struct Calling<C: Call<T>, T: Send + 'static>(Arc<Shared<C, T>>);

impl<C: Call<T>, T: Send + 'static> Calling<C, T> {
    async fn run(self) {
        while let Some(waiting) = self.0.next() {
            let (items, mut done): (Vec<_>, Vec<_>) =
                waiting.into_iter().map(|waiting| (waiting.item, waiting.done)).unzip();
            let abandoned = async {
                for done in &mut done {
                    done.closed().await;
                }
            };
            // A call is dropped when all of its callers have stopped waiting, as a call without a batcher is dropped at
            // its time limit. The call is polled first, so its result wins if both are ready.
            let result = tokio::select! {
                biased;
                result = self.0.call.call(items) => Some(result),
                () = abandoned => None,
            };
            if let Some(result) = result {
                report(done, &result);
            }
        }
    }
}

impl<C: Call<T>, T: Send + 'static> Drop for Calling<C, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut state = self.0.state();
            state.calls = state.calls.saturating_sub(1);
            if state.calls == 0 {
                // No task is left that would pass on the waiting items, so their callers get an error.
                state.waiting.clear();
            }
        }
    }
}

/// Reports to each caller the outcome of its item.
fn report<E: CallError>(done: Vec<oneshot::Sender<Result<(), E>>>, result: &Result<(), E>) {
    for (index, done) in done.into_iter().enumerate() {
        let own = result.as_ref().err().and_then(|error| error.of_item(index));
        // The caller may have stopped waiting.
        let _ = done.send(own.map_or(Ok(()), Err));
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    /// Records the number of items of each call, and blocks each call until it is let through.
    struct Gate {
        calls: Mutex<Vec<usize>>,
        through: Semaphore,
    }

    impl Call<usize> for Arc<Gate> {
        type Error = ConnectorError;

        async fn call(&self, items: Vec<usize>) -> Result<(), ConnectorError> {
            self.calls.lock().unwrap().push(items.len());
            let _through = self.through.acquire().await;
            assert!(!items.contains(&13), "the library has a fault");
            let failed = |(index, item): (usize, &usize)| match item % 4 {
                1 => Some((
                    index,
                    ConnectorError::transient(format!("{item} is odd")).with_hint("try another"),
                )),
                3 => Some((index, ConnectorError::unknown(format!("{item} is unknown")))),
                _ => None,
            };
            let failures: Vec<_> = items.iter().enumerate().filter_map(failed).collect();
            if failures.is_empty() { Ok(()) } else { Err(ConnectorError::partial(failures)) }
        }
    }

    fn gate() -> (Arc<Gate>, Batcher<Arc<Gate>, usize>) {
        let gate = Arc::new(Gate { calls: Mutex::default(), through: Semaphore::new(0) });
        (Arc::clone(&gate), Batcher::new(gate, 2))
    }

    async fn settled() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_whole_call_goes_beside_the_one_under_way() {
        let (gate, batcher) = gate();
        let dispatches = (0..4).map(|n| {
            let batcher = batcher.clone();
            tokio::spawn(async move { batcher.add(n * 2).await })
        });
        let dispatches: Vec<_> = dispatches.collect();
        settled().await;
        let under_way = gate.calls.lock().unwrap().clone();
        assert!(under_way.len() > 1 && under_way.contains(&2), "{under_way:?} are under way at once");
        gate.through.add_permits(4);
        for dispatch in dispatches {
            dispatch.await.unwrap().unwrap();
        }
        assert_eq!(gate.calls.lock().unwrap().iter().sum::<usize>(), 4);
    }

    #[tokio::test]
    async fn each_item_has_its_own_error() {
        let (gate, batcher) = gate();
        gate.through.add_permits(4);
        let (odd, unknown, done) = (batcher.add(1), batcher.add(3), batcher.add(4));
        let error = odd.await.unwrap_err();
        assert_eq!(
            (error.message(), error.hint(), error.outcome(0)),
            ("1 is odd", Some("try another"), ItemOutcome::NotDone)
        );
        assert_eq!(unknown.await.unwrap_err().outcome(0), ItemOutcome::Unknown);
        done.await.unwrap();
    }

    #[tokio::test]
    async fn an_item_that_no_caller_waits_for_is_not_handed_over() {
        let (gate, batcher) = gate();
        let first = batcher.add(0);
        settled().await;
        drop(batcher.add(2));
        let last = batcher.add(4);
        gate.through.add_permits(4);
        first.await.unwrap();
        last.await.unwrap();
        assert_eq!(*gate.calls.lock().unwrap(), [1, 1]);
    }

    #[tokio::test]
    async fn a_panic_fails_the_items_of_its_call_and_no_later_one() {
        let (gate, batcher) = gate();
        gate.through.add_permits(4);
        assert_eq!(batcher.add(13).await.unwrap_err().message(), "the call panicked");
        batcher.add(2).await.unwrap();
    }
}
