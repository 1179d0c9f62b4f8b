//! What waits to be exported, and what could not be: counted, and told at most once a minute.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::telemetry::event::TelemetryLost;

/// How long is kept silent after having told of a loss.
const SILENCE: Duration = Duration::from_secs(60);

/// What of one signal waits to be exported, and what could not be.
#[derive(Debug)]
pub(crate) struct Losses {
    /// `spans`, `log lines` or `metrics`.
    signal: &'static str,
    /// Things that have a place in the queue, until the collector has them or they are lost.
    waiting: AtomicUsize,
    /// Lost since it was told of last.
    untold: AtomicU64,
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    told: Option<Instant>,
    error: Option<String>,
}

impl Losses {
    pub(crate) fn new(signal: &'static str) -> Self {
        Self { signal, waiting: AtomicUsize::new(0), untold: AtomicU64::new(0), last: Mutex::default() }
    }

    /// Takes a place in a queue of `most`; `false` if there is none, and the thing is lost.
    #[inline]
    pub(crate) fn enter(&self, most: usize) -> bool {
        if self.waiting.fetch_add(1, Ordering::Relaxed) < most {
            return true;
        }
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.untold.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// Gives places back.
    pub(crate) fn leave(&self, count: usize) {
        self.waiting.fetch_sub(count, Ordering::Relaxed);
    }

    /// Counts what the collector did not take.
    pub(crate) fn failed(&self, count: u64, error: String) {
        self.untold.fetch_add(count, Ordering::Relaxed);
        self.last.lock().unwrap_or_else(PoisonError::into_inner).error = Some(error);
    }

    /// Tells of what was lost, if it is time to; at the `end` of the program it is.
    pub(crate) fn tell(&self, now: Instant, end: bool) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = last.told.is_some_and(|told| now.saturating_duration_since(told) < SILENCE);
        if silent && !end {
            return;
        }
        // What still waits when the program ends is lost too.
        let late = if end { self.waiting.load(Ordering::Relaxed) as u64 } else { 0 };
        let count = self.untold.swap(0, Ordering::Relaxed) + late;
        if count == 0 {
            return;
        }
        last.told = Some(now);
        let reason = last.error.take().unwrap_or_else(|| "they come faster than they can be sent".to_owned());
        TelemetryLost { signal: self.signal, count, reason: &reason }.emit();
    }

    #[cfg(test)]
    fn untold(&self) -> u64 {
        self.untold.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_told_at_once_then_once_a_minute_and_at_the_end() {
        let (losses, start) = (Losses::new("spans"), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(losses.enter(1) && !losses.enter(1) && !losses.enter(1));
        assert_eq!(losses.untold(), 2);
        losses.tell(start, false);
        assert_eq!(losses.untold(), 0);
        losses.failed(2, "refused".to_owned());
        losses.tell(after(59), false);
        assert_eq!(losses.untold(), 2);
        losses.tell(after(60), false);
        assert_eq!(losses.untold(), 0);
        losses.leave(1);
        losses.failed(1, "refused".to_owned());
        losses.tell(after(61), true);
        assert_eq!(losses.untold(), 0);
    }
}
