//! Which share of the work is whose, where several workers do it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// This process's place among the workers of its task; none where it is no worker.
static PLACE: OnceLock<Shard> = OnceLock::new();

/// Whether the task's own code has asked for it.
static ASKED: AtomicBool = AtomicBool::new(false);

/// Which share of the work is this worker's: those whose index, modulo `count`, is `index`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// This worker's index, from 0.
    pub index: usize,
    /// How many workers there are, at least 1.
    pub count: usize,
}

impl Shard {
    /// The share of the process that asks: its own where it is one of several workers, else the whole.
    ///
    /// A connector is told its share by [`Context::shard`](super::Context::shard). This is for whoever makes work
    /// instead of fetching it: a producer's stream is made in each worker.
    ///
    /// ```
    /// use ergon::connector::Shard;
    ///
    /// let mine: Vec<u64> = (0..4).filter(|n| Shard::current().owns(*n)).collect();
    /// assert_eq!(mine, [0, 1, 2, 3]); // no worker of several
    /// ```
    pub fn current() -> Self {
        ASKED.store(true, Ordering::Relaxed);
        PLACE.get().copied().unwrap_or_default()
    }

    /// Says whether the item with this index, counted from 0, is this worker's.
    ///
    /// ```
    /// let second = ergon::connector::Shard { index: 1, count: 2 };
    /// assert!(!second.owns(0) && second.owns(1) && second.owns(3));
    /// ```
    pub fn owns(self, item: u64) -> bool {
        item % (self.count.max(1) as u64) == self.index as u64
    }

    /// This worker's share of a whole that belongs to no worker in particular; the shares of all add up to it.
    ///
    /// ```
    /// let second = ergon::connector::Shard { index: 1, count: 2 };
    /// assert_eq!(second.share(9), 4);
    /// ```
    pub fn share(self, whole: u64) -> u64 {
        let (index, count) = (self.index as u64, self.count.max(1) as u64);
        whole / count + u64::from(index < whole % count)
    }

    /// Makes it the share of this process.
    pub(crate) fn take_place(self) {
        // A process is one worker, from its start to its end.
        let _ = PLACE.set(self);
    }

    /// How many workers do the same work, as nobody asks which share is whose; told to the first of them alone.
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
