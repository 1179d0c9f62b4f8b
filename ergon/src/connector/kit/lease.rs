//! Extends leases while a worker holds their deliveries, so that the external system does not deliver them a second
//! time. Reports leases that are lost.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::task::AtomicWaker;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::connector::{ConnectorError, Receipt};
use crate::telemetry::lease::{LeaseLost, LeasesNotExtended};

/// The shortest interval between two extensions. It keeps a lease without length from causing a busy loop.
const SHORTEST: Duration = Duration::from_millis(10);

/// Extends leases in the external system, for a [`Leases`]. `T` identifies a lease there.
pub trait Extend<T>: Send + Sync + 'static {
    /// The number of leases that one call may extend; at least 1. Default: no limit.
    const MOST: usize = usize::MAX;

    /// Extends leases in one call, each to its full length from now. Returns the indices of the leases that are lost:
    /// their deliveries were delivered again or no longer exist.
    ///
    /// # Errors
    /// Return an error if no lease was extended. The call is repeated until the leases end.
    ///
    /// # Cancel safety
    /// The future is dropped when the call takes longer than a third of the lease's length or half of the remaining
    /// time, so that there is time for another call.
    fn extend(&self, tokens: Vec<T>) -> impl Future<Output = Result<Vec<usize>, ConnectorError>> + Send;
}

/// The leases of all deliveries of a source that are not settled.
///
/// Some systems deliver a transaction again after a time: SQS after its visibility timeout, `JetStream` after its ack
/// wait, a queue in a table after its lease. This type extends each lease at a third of its length, for as long as the
/// worker holds the delivery: before it is started, while it is processed, and while it waits for a retry or for its
/// dead letter. So a handler that takes ten minutes runs once with a lease of thirty seconds. Leases that are due at
/// about the same time are extended in one call.
///
/// A lease is lost when the external system reports it, or when the lease ends before it could be extended. The engine
/// then cancels the handler at its next `.await`. [`release`](Self::release) returns an error, and the delivery counts
/// as unknown, because the external system delivers it again. The metric `ergon.leases.lost` counts lost leases.
///
/// `T` identifies a lease in the external system: a receipt handle, or a row and its lease token.
///
/// ```
/// use std::time::Duration;
///
/// use ergon::connector::kit::{Extend, Leases};
/// use ergon::connector::prelude::*;
/// use tokio::time::Instant;
///
/// struct Queue; // the client of the other side
///
/// impl Extend<String> for Queue {
///     async fn extend(&self, handles: Vec<String>) -> Result<Vec<usize>, ConnectorError> {
///         Ok(Vec::new()) // a batched call, which says which handles are not valid any more
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let leases = Leases::start("ship-orders.input", Duration::from_secs(30), Queue);
///
/// // In `fetch`: the lease began when the call was sent.
/// let since = Instant::now();
/// let order = Transaction::new("order-1", &"two apples").unwrap();
/// let delivery = Delivery::new(order, leases.hold("handle-1".to_owned(), since));
///
/// // In `settle`: the token settles the delivery at the other side.
/// let (_, receipt) = delivery.into_parts();
/// assert_eq!(leases.release(&receipt)?, "handle-1");
/// assert!(leases.release(&receipt).is_err(), "it is released once");
/// # Ok::<(), ConnectorError>(()) }).unwrap();
/// ```
pub struct Leases<T> {
    shared: Arc<Shared<T>>,
    keeper: AbortHandle,
}

struct Shared<T> {
    /// The name of the connector, for log lines and the metric.
    connector: String,
    length: Duration,
    state: Mutex<State<T>>,
    /// Wakes the keeper, because a lease is due earlier than its next wake-up.
    earlier: Notify,
}

struct State<T> {
    kept: HashMap<u64, Kept<T>>,
    /// The number of the latest lease.
    number: u64,
    /// The next wake-up of the keeper; `None` while it waits for a lease or extends leases.
    wakes: Option<Instant>,
}

struct Kept<T> {
    token: T,
    lease: Lease,
    /// The time of the next extension.
    due: Instant,
    /// The end of the lease.
    ends: Instant,
}

/// Signals the loss of a lease to the lane that processes its delivery. It is the token of the receipt.
#[derive(Clone)]
pub(crate) struct Lease(Arc<Signal>);

#[derive(Default)]
struct Signal {
    lost: AtomicBool,
    /// The waker of that lane.
    waker: AtomicWaker,
}

impl Lease {
    /// The lease of a receipt, if its source has leases.
    pub(crate) fn of(receipt: &Receipt) -> Option<&Self> {
        receipt.token()
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.0.lost.load(Ordering::SeqCst)
    }

    /// Ready when the lease is lost. Until then, the waker is registered; only one task may wait at a time.
    pub(crate) fn poll_lost(&self, waker: &Waker) -> Poll<()> {
        self.0.waker.register(waker);
        if self.is_lost() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn lose(&self) {
        // Stored before the wake-up, and loaded after the registration: a lane either sees the loss or is woken.
        self.0.lost.store(true, Ordering::SeqCst);
        self.0.waker.wake();
    }
}

impl<T: Clone + Send + Sync + 'static> Leases<T> {
    /// Starts to keep leases of this length. They are extended until the value is dropped or [closed](Self::close).
    ///
    /// `connector` is the name of the connector for log lines and the metric:
    /// [`Context::label`](crate::connector::Context::label).
    ///
    /// # Panics
    /// Panics when called outside of a tokio runtime.
    pub fn start(connector: impl Into<String>, length: Duration, extend: impl Extend<T>) -> Self {
        let state = Mutex::new(State { kept: HashMap::new(), number: 0, wakes: None });
        let shared = Arc::new(Shared { connector: connector.into(), length, state, earlier: Notify::new() });
        let keeper = tokio::spawn(keep(Arc::clone(&shared), extend)).abort_handle();
        Self { shared, keeper }
    }

    /// Keeps the lease of a fetched delivery until [`release`](Self::release). `since` is the latest possible start of
    /// the lease: the time before the call that fetched the delivery.
    ///
    /// Returns the receipt of the delivery. Its tag and token belong to this type. Its epoch is free for the source.
    pub fn hold(&self, token: T, since: Instant) -> Receipt {
        let lease = Lease(Arc::default());
        let mut state = self.shared.state();
        state.number = state.number.wrapping_add(1);
        let number = state.number;
        let kept = self.shared.kept(token, lease.clone(), since);
        let is_earlier = state.wakes.is_none_or(|wakes| kept.due < wakes);
        state.kept.insert(number, kept);
        drop(state);
        if is_earlier {
            // The permit is stored, so a keeper that does not wait yet is woken too.
            self.shared.earlier.notify_one();
        }
        Receipt::new(number).with_token(lease)
    }

    /// Returns the token of a delivery that is to be settled. Its lease is not extended any more.
    ///
    /// # Errors
    /// Returns an [unknown](ConnectorError::unknown) error if the lease is lost or was released before. Do not send the
    /// settlement then.
    pub fn release(&self, receipt: &Receipt) -> Result<T, ConnectorError> {
        let kept = self.shared.state().kept.remove(&receipt.tag());
        match kept {
            Some(kept) if kept.ends > Instant::now() => Ok(kept.token),
            Some(kept) => {
                self.shared.lose([kept], "they ended before they were extended");
                Err(lost())
            }
            None => Err(lost()),
        }
    }

    /// Says whether the lease of a receipt is kept: it is not settled, and not lost. For
    /// [`Source::holds`](crate::connector::Source::holds).
    pub fn holds(&self, receipt: &Receipt) -> bool {
        let now = Instant::now();
        self.shared.state().kept.get(&receipt.tag()).is_some_and(|kept| kept.ends > now)
    }

    /// Returns the number of leases.
    pub fn len(&self) -> usize {
        self.shared.state().kept.len()
    }

    /// Returns whether there are no leases.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Stops extending, and returns the tokens of all deliveries that are not settled, so that `close` of the connector
    /// can give them back.
    pub fn close(&self) -> Vec<T> {
        self.keeper.abort();
        let kept = std::mem::take(&mut self.shared.state().kept);
        kept.into_values().map(|kept| kept.token).collect()
    }
}

impl<T> Drop for Leases<T> {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl<T> fmt::Debug for Leases<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { connector, length, .. } = &*self.shared;
        f.debug_struct("Leases").field("connector", connector).field("length", length).finish_non_exhaustive()
    }
}

/// The end of a lease that is too long for the clock: 30 years from its start.
fn after(since: Instant, time: Duration) -> Instant {
    since.checked_add(time).unwrap_or_else(|| since + Duration::from_secs(30 * 365 * 24 * 3600))
}

fn lost() -> ConnectorError {
    ConnectorError::unknown("the lease is lost; the source delivers the transaction again")
}

impl<T> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        // A poisoned lock is used too, because a panic while a token is cloned changes no lease.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self, token: T, lease: Lease, since: Instant) -> Kept<T> {
        Kept { token, lease, due: after(since, self.interval()), ends: after(since, self.length) }
    }

    /// The time between two extensions of a lease: a third of its length, so that two calls may fail before it ends.
    fn interval(&self) -> Duration {
        (self.length / 3).max(SHORTEST)
    }

    /// The next wake-up of the keeper. Records it, so that `hold` knows whether to wake the keeper earlier.
    fn next_wake(&self) -> Option<Instant> {
        let mut state = self.state();
        state.wakes = state.kept.values().map(|kept| kept.due.min(kept.ends)).min();
        state.wakes
    }

    fn lose(&self, kept: impl IntoIterator<Item = Kept<T>>, reason: &str) {
        let mut count = 0;
        for kept in kept {
            kept.lease.lose();
            count += 1;
        }
        if count > 0 {
            LeaseLost { connector: &self.connector, count, reason }.emit();
        }
    }
}

/// The leases that one call extends, and the end of the first of them.
struct Round<T> {
    numbers: Vec<u64>,
    tokens: Vec<T>,
    ends: Instant,
}

/// Extends leases for as long as the [`Leases`] exists.
async fn keep<T, E>(shared: Arc<Shared<T>>, extend: E)
where
    T: Clone + Send + Sync + 'static,
    E: Extend<T>,
{
    loop {
        match shared.next_wake() {
            Some(wakes) => tokio::select! {
                () = sleep_until(wakes) => (),
                () = shared.earlier.notified() => continue,
            },
            None => {
                shared.earlier.notified().await;
                continue;
            }
        }
        let now = Instant::now();
        shared.lose(shared.ended(now), "they ended before they were extended");
        join_all(shared.rounds(now, E::MOST).into_iter().map(|round| shared.extend(&extend, round))).await;
    }
}

impl<T: Clone + Send + Sync + 'static> Shared<T> {
    /// Removes the leases that have ended.
    fn ended(&self, now: Instant) -> Vec<Kept<T>> {
        let mut state = self.state();
        // The keeper is awake. Its next wake-up is not known yet, so each `hold` notifies it.
        state.wakes = None;
        let ended: Vec<u64> =
            state.kept.iter().filter(|(_, kept)| kept.ends <= now).map(|(number, _)| *number).collect();
        ended.iter().filter_map(|number| state.kept.remove(number)).collect()
    }

    /// The leases to extend now: those that are due, and those that are due soon, so that fewer calls are needed.
    fn rounds(&self, now: Instant, most: usize) -> Vec<Round<T>> {
        // Leases that are due within half an interval are extended too, so that the leases of a worker fall into the
        // same calls.
        let soon = after(now, self.interval() / 2);
        let state = self.state();
        let mut due: Vec<_> = state.kept.iter().filter(|(_, kept)| kept.due <= soon).collect();
        due.sort_unstable_by_key(|(number, _)| **number);
        // Leases that are only soon due cause no call by themselves.
        if !due.iter().any(|(_, kept)| kept.due <= now) {
            return Vec::new();
        }
        let round = |chunk: &[(&u64, &Kept<T>)]| Round {
            numbers: chunk.iter().map(|(number, _)| **number).collect(),
            tokens: chunk.iter().map(|(_, kept)| kept.token.clone()).collect(),
            ends: chunk.iter().map(|(_, kept)| kept.ends).min().unwrap_or(now),
        };
        due.chunks(most.max(1)).map(round).collect()
    }

    /// Extends the leases of one call, and records their new ends.
    async fn extend<E: Extend<T>>(&self, extend: &E, Round { numbers, tokens, ends }: Round<T>) {
        let began = Instant::now();
        let left = ends.saturating_duration_since(began);
        let answered = timeout(self.interval().min(left / 2), extend.extend(tokens)).await;
        let refused = match answered {
            Ok(Ok(refused)) => refused,
            Ok(Err(error)) => return self.failed(&numbers, &error.to_string()),
            Err(_) => return self.failed(&numbers, "the external system does not answer"),
        };
        let mut state = self.state();
        let mut gone = Vec::new();
        for (index, number) in numbers.iter().enumerate() {
            if refused.contains(&index) {
                gone.extend(state.kept.remove(number));
            } else if let Some(kept) = state.kept.get_mut(number) {
                // Counted from the start of the call: the external system may have extended it as early as that.
                (kept.due, kept.ends) = (after(began, self.interval()), after(began, self.length));
            }
        }
        drop(state);
        self.lose(gone, "the external system took them back");
    }

    /// Schedules another attempt for leases that were not extended: soon, but several times before a lease ends.
    fn failed(&self, numbers: &[u64], reason: &str) {
        // A lease has two thirds of its length left when it is first due: enough for eight attempts.
        let wait = (self.length / 12).max(SHORTEST);
        let due = after(Instant::now(), wait);
        let mut state = self.state();
        for number in numbers {
            if let Some(kept) = state.kept.get_mut(number) {
                kept.due = due;
            }
        }
        drop(state);
        LeasesNotExtended { connector: &self.connector, count: numbers.len(), reason, wait }.emit();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use tokio::time::sleep;

    use super::*;

    const LENGTH: Duration = Duration::from_secs(30);

    /// The state of the external system, and its behaviour.
    #[derive(Default)]
    struct Side {
        /// The time of each call, and the leases that it extended.
        calls: Mutex<Vec<(Instant, Vec<u32>)>>,
        gone: Mutex<HashSet<u32>>,
        fails: AtomicBool,
        hangs: AtomicBool,
    }

    #[derive(Clone, Default)]
    struct Client(Arc<Side>);

    impl Extend<u32> for Client {
        const MOST: usize = 10;

        async fn extend(&self, tokens: Vec<u32>) -> Result<Vec<usize>, ConnectorError> {
            self.0.calls.lock().unwrap().push((Instant::now(), tokens.clone()));
            if self.0.hangs.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            if self.0.fails.load(Ordering::Relaxed) {
                return Err(ConnectorError::transient("the link is down"));
            }
            let gone = self.0.gone.lock().unwrap();
            Ok((0..tokens.len()).filter(|index| gone.contains(&tokens[*index])).collect())
        }
    }

    impl Client {
        /// The time of each call in seconds, and the number of its leases.
        fn calls(&self, began: Instant) -> Vec<(u64, usize)> {
            let calls = self.0.calls.lock().unwrap();
            calls.iter().map(|(at, tokens)| ((*at - began).as_secs(), tokens.len())).collect()
        }
    }

    fn started() -> (Client, Leases<u32>, Instant) {
        let client = Client::default();
        (client.clone(), Leases::start("task.slot", LENGTH, client), Instant::now())
    }

    fn is_lost(receipt: &Receipt) -> bool {
        Lease::of(receipt).unwrap().is_lost()
    }

    #[tokio::test(start_paused = true)]
    async fn leases_are_extended_at_a_third_of_their_length_and_together() {
        let (client, leases, began) = started();
        let early: Vec<_> = (0..4).map(|token| leases.hold(token, began)).collect();
        sleep(Duration::from_secs(4)).await;
        let late = leases.hold(4, Instant::now());
        sleep(Duration::from_secs(37)).await;
        assert_eq!(client.calls(began), [(10, 5), (20, 5), (30, 5), (40, 5)]);
        for (token, receipt) in (0..).zip(early.iter().chain([&late])) {
            assert!(!is_lost(receipt));
            assert_eq!(leases.release(receipt).unwrap(), token);
        }
        sleep(Duration::from_secs(600)).await;
        assert_eq!((client.calls(began).len(), leases.is_empty()), (4, true));
    }

    #[tokio::test(start_paused = true)]
    async fn one_call_extends_no_more_leases_than_the_other_side_takes() {
        let (client, leases, began) = started();
        let _receipts: Vec<_> = (0..25).map(|token| leases.hold(token, began)).collect();
        sleep(Duration::from_secs(11)).await;
        assert_eq!(client.calls(began), [(10, 10), (10, 10), (10, 5)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_the_other_side_took_back_is_lost_and_its_settlement_refused() {
        let (client, leases, began) = started();
        let receipts: Vec<_> = (0..3).map(|token| leases.hold(token, began)).collect();
        client.0.gone.lock().unwrap().insert(1);
        sleep(Duration::from_secs(11)).await;
        assert_eq!(receipts.iter().map(is_lost).collect::<Vec<_>>(), [false, true, false]);
        let error = leases.release(&receipts[1]).unwrap_err();
        assert_eq!(error.outcome(0), crate::connector::ItemOutcome::Unknown);
        assert_eq!(leases.release(&receipts[2]).unwrap(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_fail_are_repeated_until_the_leases_end() {
        for hangs in [false, true] {
            let (client, leases, began) = started();
            let receipt = leases.hold(7, began);
            let fault = if hangs { &client.0.hangs } else { &client.0.fails };
            fault.store(true, Ordering::Relaxed);
            sleep(Duration::from_secs(25)).await;
            assert!(!is_lost(&receipt) && client.calls(began).len() > 1, "{:?}", client.calls(began));
            fault.store(false, Ordering::Relaxed);
            sleep(Duration::from_secs(60)).await;
            assert!(!is_lost(&receipt), "{:?}", client.calls(began));

            fault.store(true, Ordering::Relaxed);
            let (_, last) = (client.calls(began), Instant::now());
            let lease = Lease::of(&receipt).unwrap().clone();
            std::future::poll_fn(|context| lease.poll_lost(context.waker())).await;
            assert!(last.elapsed() <= LENGTH, "after {:?}", last.elapsed());
            assert!(leases.release(&receipt).is_err());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_ended_while_the_worker_slept_is_not_settled() {
        let (_, leases, _) = started();
        let receipt = leases.hold(1, Instant::now() - LENGTH);
        assert!(leases.release(&receipt).is_err() && is_lost(&receipt));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_settled_at_the_close_comes_back() {
        let (client, leases, began) = started();
        let (first, _second) = (leases.hold(1, began), leases.hold(2, began));
        leases.release(&first).unwrap();
        assert_eq!(leases.close(), [2]);
        sleep(LENGTH).await;
        assert!(client.calls(began).is_empty());
    }
}
