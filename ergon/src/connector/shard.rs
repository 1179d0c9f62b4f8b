//! The share of the work that belongs to one of several workers, so that each item is processed by exactly one worker.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// The share of this process. Not set in a process that is not a worker.
static PLACE: OnceLock<Shard> = OnceLock::new();

/// Whether the program's own code has asked for the share. If it has not, a producer probably makes everything in each
/// worker.
static ASKED: AtomicBool = AtomicBool::new(false);

/// The share of one worker: the items whose index modulo `count` is `index`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// This worker's index, from 0.
    pub index: usize,
    /// The number of workers, at least 1.
    pub count: usize,
}

impl Shard {
    /// The share of this process: a worker's share, or everything in a process without workers.
    ///
    /// A connector finds its share in [`Context::shard`](super::Context::shard). This function is for code that makes
    /// work instead of fetching it, such as a producer's stream, which every worker makes.
    ///
    /// ```
    /// use ergon::connector::Shard;
    ///
    /// let mine: Vec<u64> = (0..4).filter(|n| Shard::current().owns(*n)).collect();
    /// assert_eq!(mine, [0, 1, 2, 3]); // no worker of several
    /// ```
    pub fn current() -> Self {
        // `Relaxed`, because the flag is only read for a warning.
        ASKED.store(true, Ordering::Relaxed);
        PLACE.get().copied().unwrap_or_default()
    }

    /// Whether the item with this index, counted from 0, belongs to this worker.
    ///
    /// ```
    /// let second = ergon::connector::Shard { index: 1, count: 2 };
    /// assert!(!second.owns(0) && second.owns(1) && second.owns(3));
    /// ```
    pub fn owns(self, item: u64) -> bool {
        item % (self.count.max(1) as u64) == self.index as u64
    }

    /// This worker's share of a number of items that no worker owns in particular. The shares of all workers add up to
    /// `whole`.
    ///
    /// ```
    /// let second = ergon::connector::Shard { index: 1, count: 2 };
    /// assert_eq!(second.share(9), 4);
    /// ```
    pub fn share(self, whole: u64) -> u64 {
        let (index, count) = (self.index as u64, self.count.max(1) as u64);
        whole / count + u64::from(index < whole % count)
    }

    /// Makes this share that of the process.
    pub(crate) fn take_place(self) {
        // A second call cannot happen, because a process is one worker from its start to its end.
        let _ = PLACE.set(self);
    }

    /// The number of workers that do the same work because no code has asked for its share. `None` except in the first
    /// worker, so that only one warning appears.
    pub(crate) fn all_do_all() -> Option<usize> {
        let Self { index, count } = *PLACE.get()?;
        (index == 0 && count > 1 && !ASKED.load(Ordering::Relaxed)).then_some(count)
    }
}

impl Default for Shard {
    fn default() -> Self {
        Self { index: 0, count: 1 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_shares_of_a_whole_add_up(whole in any::<u64>(), count in 1usize..50) {
            let shares: Vec<u64> = (0..count).map(|index| Shard { index, count }.share(whole)).collect();
            prop_assert_eq!(shares.iter().sum::<u64>(), whole);
            prop_assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
        }
    }
}
