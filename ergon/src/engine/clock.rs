//! The clock of a lane: the start of the running step, and one timer for all time limits.

use std::future::{Future, poll_fn};
use std::num::NonZeroU64;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

use super::blocked::Polls;

/// The duration of a step in nanoseconds, at least 1. The type is small, because each finished transaction carries one
/// value for each of its steps.
pub(super) type Nanos = NonZeroU64;

/// The clock of a lane.
#[derive(Debug)]
pub(super) struct Clock {
    /// The start of the running step, which is the end of the step before.
    pub(super) mark: Instant,
    /// Whether time that belongs to no step has passed since the mark.
    stale: bool,
    pub(super) alarm: Alarm,
}

impl Clock {
    pub(super) fn starting_now() -> Self {
        Self { mark: Instant::now(), stale: false, alarm: Alarm::default() }
    }

    /// Marks the time as outdated, because work that is no step follows.
    pub(super) fn rest(&mut self) {
        self.stale = true;
    }

    /// Reads the time if the mark is outdated. Otherwise the mark is reused, because a read of the system's clock is
    /// expensive compared with the rest of a transaction.
    pub(super) fn resume(&mut self) {
        if std::mem::take(&mut self.stale) {
            self.mark = Instant::now();
        }
    }

    /// The time since the start of the running step. The next step starts now.
    #[inline]
    pub(super) fn lap(&mut self) -> Nanos {
        let now = Instant::now();
        let elapsed = now.saturating_duration_since(self.mark);
        self.mark = now;
        // Not `as_nanos`, because that function computes with 128 bits.
        let nanos = elapsed.as_secs().saturating_mul(1_000_000_000);
        Nanos::new(nanos.saturating_add(elapsed.subsec_nanos().into())).unwrap_or(Nanos::MIN)
    }
}

/// A timer that is set once and serves many time limits.
///
/// Setting a timer takes a lock that all timers share, and may wake a thread. A limit that ends after the time that the
/// timer is set to needs no new timer: the timer fires early and is set again. The limits of a lane's transactions
/// follow each other, so the timer is set once for each span of a limit, not once for each transaction.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    /// Measures the polls of the step that the timer is for.
    pub(super) polls: Polls,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Runs a future until `limit`. Returns `None` if the limit ends first. A future that is ready at its first poll
    /// sets no timer.
    ///
    /// # Cancel safety
    /// When dropped, the future is dropped. The timer stays set; it fires without effect.
    pub(super) async fn within<F: Future>(&mut self, limit: Option<Instant>, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|context| match (future.as_mut().poll(context), limit) {
            (Poll::Ready(output), _) => Poll::Ready(Some(output)),
            (Poll::Pending, Some(limit)) => self.poll_until(limit, context).map(|()| None),
            (Poll::Pending, None) => Poll::Pending,
        })
        .await
    }

    /// Ready at `limit`. Until then, the timer is set to `limit` or to an earlier time.
    pub(super) fn poll_until(&mut self, limit: Instant, context: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(limit)));
        if timer.deadline() > limit {
            timer.as_mut().reset(limit);
        }
        // Unconstrained, because a handler that has used up the cooperative budget of this tokio task must not delay
        // its own time limit.
        while pin!(unconstrained(timer.as_mut())).poll(context).is_ready() {
            if timer.deadline() >= limit || Instant::now() >= limit {
                return Poll::Ready(());
            }
            timer.as_mut().reset(limit);
        }
        Poll::Pending
    }
}

/// Waits until this time; forever if there is none.
pub(super) async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    async fn waited(alarm: &mut Alarm, limit: Duration, takes: Duration) -> (bool, Duration) {
        let began = Instant::now();
        let done = alarm.within(Some(began + limit), sleep(takes)).await.is_some();
        (done, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn each_limit_holds_whatever_the_timer_was_set_to_before() {
        let mut alarm = Alarm::default();
        assert_eq!(waited(&mut alarm, MS * 50, MS * 10).await, (true, MS * 10));
        assert_eq!(waited(&mut alarm, MS * 100, MS * 200).await, (false, MS * 100));
        assert_eq!(waited(&mut alarm, MS * 500, MS * 10).await, (true, MS * 10));
        assert_eq!(waited(&mut alarm, MS * 20, MS * 30).await, (false, MS * 20));
        assert_eq!(waited(&mut alarm, MS * 20, MS * 19).await, (true, MS * 19));
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_that_is_set_before_the_limit_is_not_set_again() {
        let mut alarm = Alarm::default();
        waited(&mut alarm, MS * 1000, MS).await;
        let set_to = alarm.timer.as_ref().unwrap().deadline();
        for _ in 0..100 {
            waited(&mut alarm, MS * 1000, MS).await;
        }
        assert_eq!(alarm.timer.unwrap().deadline(), set_to);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_done_at_once_sets_nothing() {
        let mut alarm = Alarm::default();
        assert_eq!(alarm.within(Some(Instant::now()), async { 7 }).await, Some(7));
        assert!(alarm.timer.is_none());
    }
}
