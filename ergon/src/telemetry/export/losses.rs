//! What waits to be exported, and what could not be: counted, and told at most once a minute.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::telemetry::event::TelemetryLost;

/// How much text of a thing is not counted: most have less, and so cost no counting.
const SHORT: usize = 512;

/// Beyond this much text that waits and is counted, what is new is lost, however few the things are.
const MOST_TEXT: usize = 8 << 20;

/// How long is kept silent after having told of a loss.
const SILENCE: Duration = Duration::from_secs(60);

/// What of one signal waits to be exported, and what could not be.
#[derive(Debug)]
pub(crate) struct Losses {
    /// `spans`, `log lines` or `metrics`.
    signal: &'static str,
    /// Things that have a place in the queue, until the collector has them or they are lost.
    waiting: AtomicUsize,
    /// The text in them beyond what is short, in bytes.
    text: AtomicUsize,
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
        let (waiting, text, untold) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicU64::new(0));
        Self { signal, waiting, text, untold, last: Mutex::default() }
    }

    /// Takes a place in a queue of `most`; `false` if there is none, and the thing is lost.
    #[inline]
    pub(crate) fn enter(&self, most: usize) -> bool {
        // As long as nothing is sent, each that comes is lost: that must cost one change of what threads share, not three.
        let room =
            self.waiting.load(Ordering::Relaxed) < most && self.text.load(Ordering::Relaxed) < MOST_TEXT;
        if room && self.waiting.fetch_add(1, Ordering::Relaxed) < most {
            return true;
        }
        if room {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        self.untold.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// Takes in how many bytes of text are in a thing that has a place.
    #[inline]
    pub(crate) fn hold(&self, text: usize) {
        if text > SHORT {
            self.text.fetch_add(text - SHORT, Ordering::Relaxed);
        }
    }

    /// Gives places back; of each how many bytes of text are in the thing.
    pub(crate) fn leave(&self, texts: impl Iterator<Item = usize>) {
        let (count, text) =
            texts.fold((0, 0), |(count, sum), text| (count + 1, sum + text.saturating_sub(SHORT)));
        self.text.fetch_sub(text, Ordering::Relaxed);
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
    pub(super) fn untold(&self) -> u64 {
        self.untold.load(Ordering::Relaxed)
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
        // The first of them are counted a little shorter than they are.
        assert_eq!((0..10).filter(|_| enter(long)).count(), 5);
        assert!(!enter(1), "there is no room for a short one either");
        losses.leave([long; 5].into_iter());
        assert!((0..50).all(|_| enter(SHORT)));
        losses.leave([SHORT; 50].into_iter());
        let left = (losses.waiting.load(Ordering::Relaxed), losses.text.load(Ordering::Relaxed));
        assert_eq!((left, losses.untold()), ((0, 0), 6));
    }

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
        losses.leave([0].into_iter());
        losses.failed(1, "refused".to_owned());
        losses.tell(after(61), true);
        assert_eq!(losses.untold(), 0);
    }
}
