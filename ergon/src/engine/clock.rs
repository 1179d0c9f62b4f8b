//! The time of a lane: when its step began, and one timer for all its limits.

use std::future::{Future, poll_fn};
use std::num::NonZeroU64;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

use super::blocked::Polls;

/// How long a step took, in nanoseconds, at least one. A small number: it is carried with each transaction.
pub(super) type Nanos = NonZeroU64;

/// What a lane knows of the time.
#[derive(Debug)]
pub(super) struct Clock {
    /// When the running step began; the end of the one before.
    pub(super) mark: Instant,
    /// Whether something that is no step took its time since the mark.
    stale: bool,
    pub(super) alarm: Alarm,
}

impl Clock {
    pub(super) fn starting_now() -> Self {
        Self { mark: Instant::now(), stale: false, alarm: Alarm::default() }
    }

    /// Takes in that what follows is no step, so that the mark does not tell the time any more.
    pub(super) fn rest(&mut self) {
        self.stale = true;
    }

    /// Marks the time if the mark does not tell it any more: reading the clock of the system is dear.
    pub(super) fn resume(&mut self) {
        if std::mem::take(&mut self.stale) {
            self.mark = Instant::now();
        }
    }

    /// The time since the running step began; the next one begins now.
    #[inline]
    pub(super) fn lap(&mut self) -> Nanos {
        let now = Instant::now();
        let elapsed = now.saturating_duration_since(self.mark);
        self.mark = now;
        let nanos = elapsed.as_secs().saturating_mul(1_000_000_000);
        Nanos::new(nanos.saturating_add(elapsed.subsec_nanos().into())).unwrap_or(Nanos::MIN)
    }
}

/// A timer that is set once and serves many limits.
///
/// Setting a timer takes a lock that all timers share, and may wake a thread. A limit that lies behind the time the
/// timer is set to needs none of its own: the timer rings early, and is set again. As the limits of a lane's
/// transactions lie one behind the other, that is once for each span of a limit, not once for each transaction.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    /// How the step that the timer is for uses its thread.
    pub(super) polls: Polls,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Runs a future until `limit`; `None` if it was not done by then. Nothing is set if it is done at once.
    ///
    /// # Cancel safety
    /// When dropped, the future is dropped; the timer stays set, and rings in vain.
    pub(super) async fn within<F: Future>(&mut self, limit: Option<Instant>, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|context| match (future.as_mut().poll(context), limit) {
            (Poll::Ready(output), _) => Poll::Ready(Some(output)),
            (Poll::Pending, Some(limit)) => self.poll_until(limit, context).map(|()| None),
            (Poll::Pending, None) => Poll::Pending,
        })
        .await
    }

    /// Ready when `limit` is over; until then the timer is set to it, or to an earlier time.
    pub(super) fn poll_until(&mut self, limit: Instant, context: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(limit)));
        if timer.deadline() > limit {
            timer.as_mut().reset(limit);
        }
        // Not held back when the future has used up what this task may do at a time.
        while pin!(unconstrained(timer.as_mut())).poll(context).is_ready() {
            if timer.deadline() >= limit || Instant::now() >= limit {
                return Poll::Ready(());
            }
            timer.as_mut().reset(limit);
        }
        Poll::Pending
    }
}

/// Waits until this time; for ever if there is none.
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
