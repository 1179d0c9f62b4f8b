//! Cancels the waits of a loop's lanes when the grace of a stop is over.
//!
//! A `CancellationToken` in each waiting transaction would do the same, but each of its polls takes a lock that all
//! lanes share. One waker for each lane takes no lock.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Waker};

use futures_util::task::AtomicWaker;

/// Whether the waits are to end, and the wakers of the lanes that wait.
#[derive(Debug)]
pub(super) struct Abort {
    ordered: AtomicBool,
    /// One for each lane.
    wakers: Box<[AtomicWaker]>,
}

impl Abort {
    pub(super) fn new(lanes: usize) -> Self {
        Self {
            ordered: AtomicBool::new(false),
            wakers: std::iter::repeat_with(AtomicWaker::new).take(lanes).collect(),
        }
    }

    /// Wakes every waiting lane. From now on, each poll is ready.
    pub(super) fn order(&self) {
        // The flag is stored before the wake-up, and a lane loads it after it has registered its waker. So a lane
        // either sees the flag or is woken.
        self.ordered.store(true, Ordering::SeqCst);
        self.wakers.iter().for_each(AtomicWaker::wake);
    }

    /// Ready when the wait of the lane is to end. Until then, the lane's waker is registered.
    pub(super) fn poll(&self, lane: usize, waker: &Waker) -> Poll<()> {
        if let Some(own) = self.wakers.get(lane) {
            own.register(waker);
        }
        if self.ordered.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn every_lane_that_waits_is_woken_and_one_that_comes_later_does_not_wait() {
        let abort = Arc::new(Abort::new(3));
        let waits = |lane: usize| {
            let abort = Arc::clone(&abort);
            tokio::spawn(async move { poll_fn(|context| abort.poll(lane, context.waker())).await })
        };
        let early = [waits(0), waits(1)];
        sleep(Duration::from_secs(1)).await;
        assert!(early.iter().all(|waiting| !waiting.is_finished()));
        abort.order();
        for waiting in early {
            waiting.await.unwrap();
        }
        waits(2).await.unwrap();
    }
}
