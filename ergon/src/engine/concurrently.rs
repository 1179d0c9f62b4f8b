//! Runs many small pieces of work inside one step: a limited number at a time, without spawning, and keeping every
//! result.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, Sleep, sleep};

use crate::transaction::{Result, TransactionError, panic};

/// Runs `f` for each item, at most `limit` items at a time, and collects every result in the order of the items.
///
/// When one item finishes, the next one starts, so that a slow item holds back no other. A failure ends only its own
/// item. A panic is the system error of its item. [`timeout`](RunConcurrently::timeout) limits the time of all items
/// together. Items are pulled one at a time, when one may start. A `limit` of 0 counts as 1.
///
/// No task is spawned: all items run where the returned future is awaited, and may borrow from there. An item that
/// computes for a long time without an `.await` holds back the other items.
///
/// # Panics
/// Panics when `items` panics while the next item is pulled.
///
/// # Cancel safety
/// When the future is dropped, every running item is dropped at its current `.await`, and no other item starts. The
/// results so far are lost.
///
/// ```
/// use ergon::prelude::*;
/// use std::time::Duration;
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let prices = [("apple", 3), ("pear", 4)];
/// let orders = ["pear", "plum", "apple"];
///
/// let done = ergon::run_concurrently(orders, 8, |sku| {
///     let prices = &prices;
///     async move {
///         let price = prices.iter().find(|(known, _)| *known == sku);
///         price.map(|(_, price)| *price).ok_or_else(|| TransactionError::business(format!("no price of {sku}")))
///     }
/// })
/// .timeout(Duration::from_secs(30))
/// .await;
///
/// assert_eq!((done.succeeded, done.failed, done.timed_out), (2, 1, 0));
/// assert_eq!(done.results[0].as_ref().unwrap(), &4);
/// assert_eq!(done.into_result().unwrap_err().message(), "no price of plum");
/// # });
/// ```
pub fn run_concurrently<I, M, F, T>(items: I, limit: usize, f: M) -> RunConcurrently<I::IntoIter, M, F, T>
where
    I: IntoIterator,
    M: FnMut(I::Item) -> F,
    F: Future<Output = Result<T>>,
{
    panic::install_hook();
    RunConcurrently {
        waiting: Some(items.into_iter()),
        make: f,
        limit: limit.max(1),
        timeout: None,
        timer: None,
        running: FuturesUnordered::new(),
        results: Vec::new(),
    }
}

/// The future of [`run_concurrently`]. Its output is a [`Concurrent`].
#[must_use = "nothing runs until it is awaited"]
pub struct RunConcurrently<I, M, F, T> {
    /// The items that have not started; `None` when there are no more.
    waiting: Option<I>,
    /// Makes the future of an item.
    make: M,
    limit: usize,
    timeout: Option<Duration>,
    /// Made at the first poll, if there is a time limit.
    timer: Option<Pin<Box<Sleep>>>,
    running: FuturesUnordered<Running<F>>,
    /// One result for each item that has started; `None` while the item runs.
    results: Vec<Option<Result<T>>>,
}

/// The results of [`run_concurrently`].
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let done = ergon::run_concurrently(1..=3, 2, |n| async move { Ok(n * n) }).await;
/// assert_eq!(done.succeeded, 3);
/// assert_eq!(done.into_result()?, [1, 4, 9]);
/// # Ok::<(), ergon::TransactionError>(()) }).unwrap();
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Concurrent<T> {
    /// One result for each item, in the order of the items.
    pub results: Vec<Result<T>>,
    /// The number of items that succeeded.
    pub succeeded: usize,
    /// The number of items that returned an error or panicked.
    pub failed: usize,
    /// The number of items that were cut off, or never started, because the time limit of all items ended. Their errors
    /// are of category timeout.
    pub timed_out: usize,
}

impl<T> Concurrent<T> {
    /// Returns all values in the order of the items, if every item succeeded.
    ///
    /// # Errors
    /// Returns the first error, in the order of the items.
    pub fn into_result(self) -> Result<Vec<T>> {
        self.results.into_iter().collect()
    }
}

impl<I, M, F, T> RunConcurrently<I, M, F, T> {
    /// Limits the time of all items together, counted from the first poll. Default: no limit.
    ///
    /// When the limit ends, running items are dropped at their current `.await`, and no other item starts. Finished
    /// items keep their results. The other items get an error of category timeout; to count them, the rest of `items`
    /// is pulled.
    ///
    /// # Panics
    /// Awaiting the future panics outside of a tokio runtime whose clock is enabled.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    fn arm(&mut self) {
        if let (None, Some(timeout)) = (&self.timer, self.timeout) {
            self.timer = Some(Box::pin(sleep(timeout)));
        }
    }

    fn time_is_over(&self) -> bool {
        self.timer.as_ref().is_some_and(|timer| timer.deadline() <= Instant::now())
    }

    fn poll_timer(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.timer {
            Some(timer) => timer.as_mut().poll(context),
            None => Poll::Pending,
        }
    }

    /// The error of an item that the time limit cut off.
    fn timed_out(&self, what: &str) -> TransactionError {
        let limit = crate::policy::duration::display(self.timeout.unwrap_or_default());
        TransactionError::timeout(format!("{what} when the limit of {limit} for all items ran out"))
    }
}

impl<I, M, F, T> RunConcurrently<I, M, F, T>
where
    I: Iterator,
    M: FnMut(I::Item) -> F,
    F: Future<Output = Result<T>>,
{
    /// Starts items until `limit` of them run.
    fn fill(&mut self) {
        while self.running.len() < self.limit && !self.time_is_over() {
            let Some(item) = self.waiting.as_mut().and_then(Iterator::next) else {
                self.waiting = None;
                return;
            };
            let index = self.results.len();
            match panic::guard(|| Box::pin((self.make)(item))) {
                Ok(future) => {
                    self.running.push(Running { index, future: Some(future) });
                    self.results.push(None);
                }
                Err(panicked) => self.results.push(Some(Err(panicked))),
            }
        }
    }

    /// Polls items until all have ended, or all that run wait.
    fn poll_items(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            // Items that never wait would otherwise keep the thread for themselves.
            ready!(pin!(consume_budget()).poll(context));
            self.fill();
            let Some((index, result)) = ready!(self.running.poll_next_unpin(context)) else {
                return Poll::Ready(());
            };
            if let Some(slot) = self.results.get_mut(index) {
                *slot = Some(result);
            }
        }
    }

    /// Collects the results, and drops the items that still run.
    fn finish(&mut self) -> Concurrent<T> {
        for running in &mut self.running {
            running.discard();
        }
        self.running.clear();
        let ended = std::mem::take(&mut self.results);
        let left = self.waiting.take().map_or(0, Iterator::count);
        let timed_out = left + ended.iter().filter(|result| result.is_none()).count();
        let mut results: Vec<_> = ended
            .into_iter()
            .map(|result| result.unwrap_or_else(|| Err(self.timed_out("cut off"))))
            .collect();
        results.extend((0..left).map(|_| Err(self.timed_out("not begun"))));
        let succeeded = results.iter().filter(|result| result.is_ok()).count();
        Concurrent { succeeded, failed: results.len() - succeeded - timed_out, timed_out, results }
    }
}

impl<I, M, F, T> Future for RunConcurrently<I, M, F, T>
where
    I: Iterator,
    M: FnMut(I::Item) -> F,
    F: Future<Output = Result<T>>,
{
    type Output = Concurrent<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Concurrent<T>> {
        self.arm();
        if self.poll_items(context).is_pending() {
            ready!(self.poll_timer(context));
        }
        Poll::Ready(self.finish())
    }
}

// Every future that is polled in here has its own box.
impl<I, M, F, T> Unpin for RunConcurrently<I, M, F, T> {}

impl<I, M, F, T> fmt::Debug for RunConcurrently<I, M, F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunConcurrently")
            .field("limit", &self.limit)
            .field("timeout", &self.timeout)
            .field("begun", &self.results.len())
            .field("running", &self.running.len())
            .finish_non_exhaustive()
    }
}

/// A running item.
struct Running<F> {
    index: usize,
    /// `None` when the item has ended. Boxed, because the type of an item's future cannot be named, and a box can be
    /// moved while it runs.
    future: Option<Pin<Box<F>>>,
}

impl<F> Running<F> {
    /// Drops the item's future. A panic of its drop is ignored, because the item has its error already.
    fn discard(&mut self) {
        let _dropped = panic::guard(|| self.future = None);
    }
}

impl<T, F: Future<Output = Result<T>>> Future for Running<F> {
    type Output = (usize, Result<T>);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let index = self.index;
        // The future is dropped inside the guard, so that a panic of its drop is caught too.
        let polled = panic::guard(|| {
            let Some(future) = &mut self.future else { return Poll::Pending };
            let result = ready!(future.as_mut().poll(context));
            self.future = None;
            Poll::Ready(result)
        });
        match polled {
            Ok(polled) => polled.map(|result| (index, result)),
            Err(panicked) => {
                self.discard();
                Poll::Ready((index, Err(panicked)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::sync::Arc;

    use tokio::task::yield_now;
    use tokio::time::timeout;

    use super::*;
    use crate::transaction::Category;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Counts how many values of this type are alive.
    struct Counted<'a>(&'a Cell<usize>);

    impl<'a> Counted<'a> {
        fn new(alive: &'a Cell<usize>) -> Self {
            alive.set(alive.get() + 1);
            Self(alive)
        }
    }

    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() - 1);
        }
    }

    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    fn messages<T>(done: &Concurrent<T>) -> Vec<Option<&str>> {
        done.results.iter().map(|result| result.as_ref().err().map(TransactionError::message)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn results_stand_in_the_order_of_the_items() {
        let done = run_concurrently(0..10, 4, |n| async move {
            sleep(seconds(10 - n)).await;
            Ok(n)
        })
        .await;
        assert_eq!((done.succeeded, done.failed, done.timed_out), (10, 0, 0));
        assert_eq!(done.into_result().unwrap(), (0..10).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_is_reached_and_never_passed() {
        let (alive, most) = (Cell::new(0), Cell::new(0));
        let done = run_concurrently(0..50, 7, |n| {
            let (alive, most) = (&alive, &most);
            async move {
                let _counted = Counted::new(alive);
                most.set(most.get().max(alive.get()));
                sleep(seconds(n % 5)).await;
                Ok(())
            }
        });
        assert_eq!(done.await.succeeded, 50);
        assert_eq!((alive.get(), most.get()), (0, 7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_of_0_counts_as_1() {
        let began = Instant::now();
        let done = run_concurrently(0..3, 0, |_| async {
            sleep(seconds(1)).await;
            Ok(())
        });
        assert_eq!(done.await.succeeded, 3);
        assert_eq!(began.elapsed(), seconds(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_item_holds_back_no_other() {
        let began = Instant::now();
        let ended = RefCell::new(Vec::new());
        let done = run_concurrently([10, 1, 1, 1, 1], 2, |wait| {
            let ended = &ended;
            async move {
                sleep(seconds(wait)).await;
                ended.borrow_mut().push(began.elapsed().as_secs());
                Ok(())
            }
        });
        assert_eq!(done.await.succeeded, 5);
        assert_eq!(ended.take(), [1, 2, 3, 4, 10]);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_to_do_is_done_at_once() {
        let done = run_concurrently([0; 0], 8, |n| async move { Ok(n) }).timeout(seconds(1)).await;
        assert_eq!((done.results.len(), done.succeeded, done.failed, done.timed_out), (0, 0, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_ends_only_its_own_item() {
        let done = run_concurrently(0..4, 2, |n| async move {
            if n % 2 == 1 { Err(TransactionError::business(format!("{n} is odd"))) } else { Ok(n) }
        })
        .await;
        assert_eq!((done.succeeded, done.failed, done.timed_out), (2, 2, 0));
        assert_eq!(messages(&done), [None, Some("1 is odd"), None, Some("3 is odd")]);
        assert_eq!(done.into_result().unwrap_err().message(), "1 is odd");
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_limit_cuts_off_what_runs_and_what_waits() {
        let (began, made) = (Instant::now(), Cell::new(0));
        let done = run_concurrently([1, 9, 2, 9, 1, 1], 2, |wait| {
            made.set(made.get() + 1);
            async move {
                sleep(seconds(wait)).await;
                Ok(wait)
            }
        })
        .timeout(seconds(5))
        .await;
        assert_eq!(began.elapsed(), seconds(5));
        assert_eq!((done.succeeded, done.failed, done.timed_out), (2, 0, 4));
        assert_eq!(made.get(), 4, "what waits is not begun");
        let cut_off = Some("cut off when the limit of 5s for all items ran out");
        let not_begun = Some("not begun when the limit of 5s for all items ran out");
        assert_eq!(messages(&done), [None, cut_off, None, cut_off, not_begun, not_begun]);
        assert_eq!(done.into_result().unwrap_err().category(), Category::Timeout);
    }

    #[tokio::test(start_paused = true)]
    async fn an_item_that_is_done_when_the_time_runs_out_counts_and_no_further_one_begins() {
        let made = Cell::new(0);
        let done = run_concurrently(0..2, 1, |_| {
            made.set(made.get() + 1);
            sleep_and_succeed(seconds(5))
        });
        let done = done.timeout(seconds(5)).await;
        assert_eq!((done.succeeded, done.timed_out, made.get()), (1, 1, 1));
    }

    async fn sleep_and_succeed(wait: Duration) -> Result<()> {
        sleep(wait).await;
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_counts_from_the_first_poll() {
        let done = run_concurrently([1], 1, |_| sleep_and_succeed(seconds(1))).timeout(seconds(2));
        sleep(seconds(60)).await;
        assert_eq!(done.await.succeeded, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_limit_without_end_is_none() {
        let done = run_concurrently([1], 1, |_| sleep_and_succeed(seconds(1))).timeout(Duration::MAX);
        assert_eq!(done.await.succeeded, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn items_that_never_wait_let_others_run_and_the_time_run_out() {
        let work = async {
            let done = run_concurrently(0..1_000_000, 2, |n| async move { Ok(n) });
            done.timeout(seconds(1)).await.succeeded
        };
        let clock = async {
            yield_now().await;
            tokio::time::advance(seconds(1)).await;
        };
        let (succeeded, ()) = tokio::join!(work, clock);
        assert!((1..1_000_000).contains(&succeeded), "{succeeded}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_the_items_own_error() {
        let done = run_concurrently(0..5, 2, |n| {
            assert!(n != 1, "no future of {n}");
            async move {
                let _bomb = (n == 2).then(|| Bomb);
                sleep(seconds(1)).await;
                assert!(n != 3, "no result of {n}");
                Ok(n)
            }
        })
        .await;
        assert_eq!((done.succeeded, done.failed, done.timed_out), (2, 3, 0));
        for (index, said) in [(1, "no future of 1"), (2, "dropped"), (3, "no result of 3")] {
            let error = done.results[index].as_ref().unwrap_err();
            assert_eq!(error.category(), Category::System);
            assert!(error.message().starts_with("panicked at ergon/src/engine/concurrently.rs:"), "{error}");
            assert!(error.message().ends_with(said), "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_of_what_is_cut_off_stops_nothing() {
        let done = run_concurrently([true, false], 2, |bomb| async move {
            let _bomb = bomb.then(|| Bomb);
            sleep_and_succeed(seconds(9)).await
        });
        assert_eq!(done.timeout(seconds(1)).await.timed_out, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn items_are_pulled_only_when_there_is_room() {
        let (pulled, finished) = (Cell::new(0), Cell::new(0));
        let items = (0..20).inspect(|_| {
            pulled.set(pulled.get() + 1);
            assert!(
                pulled.get() <= finished.get() + 3,
                "{} pulled, {} finished",
                pulled.get(),
                finished.get()
            );
        });
        let done = run_concurrently(items, 3, |n| {
            let finished = &finished;
            async move {
                sleep(seconds(n % 4)).await;
                finished.set(finished.get() + 1);
                Ok(())
            }
        });
        assert_eq!(pulled.get(), 0, "nothing before the first poll");
        assert_eq!(done.await.succeeded, 20);
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_it_drops_what_runs_and_begins_nothing_more() {
        let (alive, begun) = (Cell::new(0), Cell::new(0));
        let done = run_concurrently(0..10, 4, |_| {
            let (alive, begun) = (&alive, &begun);
            async move {
                begun.set(begun.get() + 1);
                let _counted = Counted::new(alive);
                sleep_and_succeed(seconds(60)).await
            }
        });
        assert!(timeout(seconds(1), done).await.is_err());
        assert_eq!((alive.get(), begun.get()), (0, 4));
    }

    /// Compiles only if the future can be awaited in a handler: it borrows the items and the captures of `f`, and is
    /// `Send`.
    #[tokio::test(start_paused = true)]
    async fn it_can_be_awaited_in_a_handler() {
        #[expect(clippy::manual_async_fn, reason = "`Send` is what is tested")]
        fn handler(lines: &[String]) -> impl Future<Output = Result<Vec<usize>>> + Send {
            async move {
                let extra = Arc::new(1);
                let done =
                    run_concurrently(lines.iter().filter(|line| !line.is_empty()), 2, |line: &String| {
                        let extra = &extra;
                        async move {
                            yield_now().await;
                            Ok(line.len() + **extra)
                        }
                    });
                done.timeout(seconds(1)).await.into_result()
            }
        }
        let lines = ["one".to_owned(), String::new(), "three".to_owned()];
        assert_eq!(handler(&lines).await.unwrap(), [4, 6]);
    }
}
