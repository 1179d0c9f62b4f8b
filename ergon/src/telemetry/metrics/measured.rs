//! Holds the instruments of a loop, and the clock for the age of transactions.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::bound::Bound;

/// A loop with metrics.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) bound: Bound,
    /// The instant of the last reading of the machine's clock, because reading it for each transaction is expensive.
    anchor: Instant,
    /// The machine's clock at the anchor, in nanoseconds since the epoch. Each fetch reads it again, because the clock may
    /// be set.
    shows: AtomicU64,
}

impl Measured {
    pub(super) fn new(bound: Bound) -> Self {
        Self { bound, anchor: Instant::now(), shows: AtomicU64::new(0) }
    }

    pub(super) fn look_at_the_clock(&self, now: Instant) {
        let since_anchor = nanos(now.saturating_duration_since(self.anchor));
        let shows = nanos(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        self.shows.store(shows.saturating_sub(since_anchor), Ordering::Relaxed);
    }

    /// The age at `mark`, in seconds; 0 if the creation time is ahead of this clock.
    pub(super) fn age(&self, mark: Instant, created_at: SystemTime) -> f32 {
        let since_anchor = nanos(mark.saturating_duration_since(self.anchor));
        let shows = self.shows.load(Ordering::Relaxed).saturating_add(since_anchor);
        let created = nanos(created_at.duration_since(UNIX_EPOCH).unwrap_or_default());
        Duration::from_nanos(shows.saturating_sub(created)).as_secs_f32()
    }
}

fn nanos(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000_000).saturating_add(time.subsec_nanos().into())
}
