//! Many at once, within a limit: for work inside a handler.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Instant, timeout_at};

use super::attempt::guarded;
use super::panic;
use crate::transaction::{Category, Result, TransactionError};

/// Runs `f` for each item, at most `limit` at once (0 counts as 1), refilled as they finish; awaited, it gives what
/// came of all of them.
///
/// One that fails or panics does not end the others. Items are taken only as places free up.
///
/// # Cancel safety
/// When dropped, everything in flight is dropped, and no further item is taken.
///
/// ```
/// use ergon::prelude::*;
/// use std::time::Duration;
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let skus = ["A-1", "", "B-2"];
/// let done = ergon::run_concurrently(skus, 2, |sku| async move {
///     if sku.is_empty() { Err(TransactionError::business("no article")) } else { Ok(sku.len()) }
/// })
/// .timeout(Duration::from_secs(5))
/// .await;
/// assert_eq!((done.succeeded, done.failed), (2, 1));
/// assert_eq!(*done.results[2].as_ref().unwrap(), 3);
/// assert!(done.into_result().is_err());
/// # });
/// ```
pub fn run_concurrently<'a, I, F, R, T>(items: I, limit: usize, f: F) -> RunConcurrently<'a, T>
where
    I: IntoIterator<IntoIter: Send + 'a>,
    F: FnMut(I::Item) -> R + Send + 'a,
    R: Future<Output = Result<T>> + Send + 'a,
    T: Send + 'a,
{
    let items = items.into_iter();
    let begin: Begin<'a, T> = Box::new(move |timeout| Box::pin(run(items, limit.max(1), f, timeout)));
    RunConcurrently { begin, timeout: None }
}

type Begin<'a, T> = Box<dyn FnOnce(Option<Duration>) -> BoxFuture<'a, Concurrent<T>> + Send + 'a>;

/// Many at once, not begun yet; see [`run_concurrently`].
#[must_use = "nothing runs until it is awaited"]
pub struct RunConcurrently<'a, T> {
    begin: Begin<'a, T>,
    timeout: Option<Duration>,
}

impl<T> RunConcurrently<'_, T> {
    /// Bounds the whole: what is in flight when the time is over is dropped, what has not begun never begins.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

impl<T> fmt::Debug for RunConcurrently<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunConcurrently").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl<'a, T> IntoFuture for RunConcurrently<'a, T> {
    type Output = Concurrent<T>;
    type IntoFuture = BoxFuture<'a, Concurrent<T>>;

    fn into_future(self) -> Self::IntoFuture {
        (self.begin)(self.timeout)
    }
}

async fn run<I, F, R, T>(items: I, limit: usize, mut f: F, timeout: Option<Duration>) -> Concurrent<T>
where
    I: Iterator,
    F: FnMut(I::Item) -> R,
    R: Future<Output = Result<T>>,
{
    panic::install_hook();
    let mut results = Vec::new();
    let mut items = items.enumerate();
    let mut one = |(index, item)| {
        // Its future is made inside, so that a panic of `f` is guarded too.
        let made = panic::guard(|| f(item));
        async move {
            let result = match made {
                Ok(future) => guarded(&mut None, future).await.and_then(|result| result),
                Err(panicked) => Err(panicked),
            };
            (index, result)
        }
    };
    let whole = async {
        let mut running: FuturesUnordered<_> = FuturesUnordered::new();
        loop {
            while running.len() < limit
                && let Some(next) = items.next()
            {
                results.push(None);
                running.push(one(next));
            }
            let Some((index, result)) = running.next().await else { return };
            if let Some(place) = results.get_mut(index) {
                *place = Some(result);
            }
        }
    };
    match timeout.and_then(|timeout| Instant::now().checked_add(timeout)) {
        None => whole.await,
        Some(limit) => {
            // What ran out of time has no result.
            let _ = timeout_at(limit, whole).await;
        }
    }
    results.extend(items.map(|_| None));
    Concurrent::new(results, timeout)
}

/// What came of many that ran at once.
#[derive(Debug)]
#[non_exhaustive]
pub struct Concurrent<T> {
    /// A result for each item, in the order of the items; an error of category timeout where the time ran out.
    pub results: Vec<Result<T>>,
    /// How many ended well.
    pub succeeded: usize,
    /// How many did not, those included whose time ran out.
    pub failed: usize,
    /// Of how many the time ran out, begun or not.
    pub timed_out: usize,
}

impl<T> Concurrent<T> {
    fn new(results: Vec<Option<Result<T>>>, timeout: Option<Duration>) -> Self {
        let timed_out = results.iter().filter(|result| result.is_none()).count();
        let limit = crate::policy::duration::display(timeout.unwrap_or_default());
        let late =
            || TransactionError::new(Category::Timeout, format!("not done within the limit of {limit}"));
        let results: Vec<_> =
            results.into_iter().map(|result| result.unwrap_or_else(|| Err(late()))).collect();
        let succeeded = results.iter().filter(|result| result.is_ok()).count();
        Self { succeeded, failed: results.len() - succeeded, timed_out, results }
    }

    /// All values, in the order of the items.
    ///
    /// # Errors
    /// The first error, in the order of the items.
    pub fn into_result(self) -> Result<Vec<T>> {
        self.results.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::sleep;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn results_come_in_the_order_of_the_items_and_never_more_run_than_the_limit() {
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let done = run_concurrently(0..20_u32, 3, |n| {
            let (running, most) = (&running, &most);
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                sleep(MS * (20 - n)).await;
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(n)
            }
        });
        assert_eq!(done.await.into_result().unwrap(), (0..20).collect::<Vec<_>>());
        assert_eq!(most.into_inner(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_one_does_not_hold_back_the_others() {
        let began = Instant::now();
        let wait = |n: u32| async move {
            sleep(if n == 0 { MS * 10 } else { MS }).await;
            Ok(())
        };
        assert_eq!(run_concurrently(0..11, 2, wait).await.succeeded, 11);
        assert_eq!(began.elapsed(), MS * 10);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_done_in_time_has_timed_out() {
        let wait = |n: u32| async move {
            sleep(MS * 10 * n).await;
            Ok(n)
        };
        let done = run_concurrently(1..=4, 2, wait).timeout(MS * 25).await;
        assert_eq!((done.succeeded, done.failed, done.timed_out), (2, 2, 2));
        assert_eq!(done.results[3].as_ref().unwrap_err().category(), Category::Timeout);
    }

    #[tokio::test]
    async fn errors_and_panics_are_those_of_their_item() {
        let done = run_concurrently(0..3, 8, |n| async move {
            assert_ne!(n, 0, "zero");
            if n == 1 { Err(TransactionError::business("one")) } else { Ok(n) }
        });
        let done = done.await;
        let messages: Vec<_> =
            done.results.iter().map(|result| result.as_ref().err().map(TransactionError::message)).collect();
        assert!(messages[0].is_some_and(|message| message.contains("zero")));
        assert_eq!((messages[1], messages[2]), (Some("one"), None));
    }

    #[tokio::test(start_paused = true)]
    async fn items_are_taken_only_as_places_free_up_and_dropped_with_it() {
        let taken = AtomicUsize::new(0);
        let items = (0..100).inspect(|_| {
            taken.fetch_add(1, Ordering::SeqCst);
        });
        let whole = run_concurrently(items, 4, |_| async {
            sleep(MS * 10).await;
            Ok(())
        });
        assert!(tokio::time::timeout(MS, whole.into_future()).await.is_err());
        assert_eq!(taken.into_inner(), 4);
    }
}
