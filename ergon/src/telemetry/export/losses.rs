//! Counts queued and lost telemetry, and logs losses at most once a minute.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::telemetry::event::TelemetryLost;

/// The text of an item that is not counted. Most items have less text, and so cost no counting.
const SHORT: usize = 512;

/// The maximum amount of queued text that is counted. Beyond it new items are lost, even if the queue has room.
const MOST_TEXT: usize = 8 << 20;

/// The time after a log line about losses without another one.
const SILENCE: Duration = Duration::from_secs(60);

/// The queued and the lost items of one signal.
#[derive(Debug)]
pub(crate) struct Losses {
    /// `spans`, `log lines` or `metrics`.
    signal: &'static str,
    /// Items with a place in the queue, until the collector has them or they are lost.
    waiting: AtomicUsize,
    /// The counted text in them, in bytes.
    text: AtomicUsize,
    /// Lost items since the last log line.
    unlogged: AtomicU64,
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    logged: Option<Instant>,
    error: Option<String>,
}

impl Losses {
    pub(crate) fn new(signal: &'static str) -> Self {
        let (waiting, text, unlogged) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicU64::new(0));
        Self { signal, waiting, text, unlogged, last: Mutex::default() }
    }

    /// Reserves a place in a queue of `most`; `false` if the queue is full and the item is lost.
    #[inline]
    pub(crate) fn enter(&self, most: usize) -> bool {
        // While nothing is sent, each new item is lost. That must cost one change of shared state, not three.
        let room =
            self.waiting.load(Ordering::Relaxed) < most && self.text.load(Ordering::Relaxed) < MOST_TEXT;
        if room && self.waiting.fetch_add(1, Ordering::Relaxed) < most {
            return true;
        }
        if room {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        self.unlogged.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// Counts the bytes of text in an item that has a place.
    #[inline]
    pub(crate) fn hold(&self, text: usize) {
        if text > SHORT {
            self.text.fetch_add(text - SHORT, Ordering::Relaxed);
        }
    }

    /// Frees places; the bytes of text in each item are given.
    pub(crate) fn leave(&self, texts: impl Iterator<Item = usize>) {
        let (count, text) =
            texts.fold((0, 0), |(count, sum), text| (count + 1, sum + text.saturating_sub(SHORT)));
        self.text.fetch_sub(text, Ordering::Relaxed);
        self.waiting.fetch_sub(count, Ordering::Relaxed);
    }

    /// Counts items that the collector did not accept.
    pub(crate) fn failed(&self, count: u64, error: String) {
        self.unlogged.fetch_add(count, Ordering::Relaxed);
        self.last.lock().unwrap_or_else(PoisonError::into_inner).error = Some(error);
    }

    /// Logs the losses, at most once a minute, and always at the `end` of the program.
    pub(crate) fn log(&self, now: Instant, end: bool) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = last.logged.is_some_and(|logged| now.saturating_duration_since(logged) < SILENCE);
        if silent && !end {
            return;
        }
        // Items that are still queued at the end of the program are lost too.
        let late = if end { self.waiting.load(Ordering::Relaxed) as u64 } else { 0 };
        let count = self.unlogged.swap(0, Ordering::Relaxed) + late;
        if count == 0 {
            return;
        }
        last.logged = Some(now);
        let reason =
            last.error.take().unwrap_or_else(|| "they are produced faster than they can be sent".to_owned());
        TelemetryLost { signal: self.signal, count, reason: &reason }.emit();
    }

    #[cfg(test)]
    pub(super) fn unlogged(&self) -> u64 {
        self.unlogged.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_leaves_no_room_before_the_places_are_taken() {
        let losses = Losses::new("spans");
        let long = MOST_TEXT / 4;
        let enter = |text| {
            let entered = losses.enter(100);
            if entered {
                losses.hold(text);
            }
            entered
        };
        // The first items are counted a little shorter than they are.
        assert_eq!((0..10).filter(|_| enter(long)).count(), 5);
        assert!(!enter(1), "there is no room for a short item either");
        losses.leave([long; 5].into_iter());
        assert!((0..50).all(|_| enter(SHORT)));
        losses.leave([SHORT; 50].into_iter());
        let left = (losses.waiting.load(Ordering::Relaxed), losses.text.load(Ordering::Relaxed));
        assert_eq!((left, losses.unlogged()), ((0, 0), 6));
    }

    #[test]
    fn what_is_lost_is_told_at_once_then_once_a_minute_and_at_the_end() {
        let (losses, start) = (Losses::new("spans"), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(losses.enter(1) && !losses.enter(1) && !losses.enter(1));
        assert_eq!(losses.unlogged(), 2);
        losses.log(start, false);
        assert_eq!(losses.unlogged(), 0);
        losses.failed(2, "refused".to_owned());
        losses.log(after(59), false);
        assert_eq!(losses.unlogged(), 2);
        losses.log(after(60), false);
        assert_eq!(losses.unlogged(), 0);
        losses.leave([0].into_iter());
        losses.failed(1, "refused".to_owned());
        losses.log(after(61), true);
        assert_eq!(losses.unlogged(), 0);
    }
}
