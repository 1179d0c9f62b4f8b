//! A queue of items that become due: the earliest comes first. Items that are due at the same time keep their order.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use tokio::time::Instant;

/// Items, each with the time at which it is due.
#[derive(Debug)]
pub(super) struct DelayQueue<T> {
    heap: BinaryHeap<Delayed<T>>,
    /// The number of items that were put in. It orders items that are due at the same time.
    number: u64,
}

#[derive(Debug)]
struct Delayed<T> {
    due: Instant,
    number: u64,
    item: T,
}

impl<T> DelayQueue<T> {
    /// Adds an item.
    pub(super) fn push(&mut self, due: Instant, item: T) {
        self.number = self.number.wrapping_add(1);
        self.heap.push(Delayed { due, number: self.number, item });
    }

    /// When the first item is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.heap.peek().map(|first| first.due)
    }

    /// Takes out the first item if it is due.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<T> {
        if self.next_due()? > now {
            return None;
        }
        self.heap.pop().map(|first| first.item)
    }

    /// Takes out all items, in the order of their due times.
    pub(super) fn take_all(&mut self) -> Vec<T> {
        let mut all = std::mem::take(&mut self.heap).into_sorted_vec();
        // The sort puts the smallest first, and the earliest item is the greatest.
        all.reverse();
        all.into_iter().map(|delayed| delayed.item).collect()
    }
}

impl<T> Default for DelayQueue<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), number: 0 }
    }
}

impl<T> PartialEq for Delayed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Delayed<T> {}

impl<T> PartialOrd for Delayed<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Delayed<T> {
    /// Compares in reverse: the earliest item is the greatest, because the heap yields the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.due, other.number).cmp(&(self.due, self.number))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn items_come_out_by_their_time_and_then_in_the_order_in_which_they_came() {
        let (mut queue, now) = (DelayQueue::default(), Instant::now());
        for (after, item) in [(2, "late"), (1, "first"), (1, "second"), (9, "last"), (1, "third")] {
            queue.push(now + Duration::from_secs(after), item);
        }
        assert_eq!(queue.pop_due(now), None);
        let soon = now + Duration::from_secs(1);
        assert_eq!([queue.pop_due(soon), queue.pop_due(soon)], [Some("first"), Some("second")]);
        assert_eq!(queue.take_all(), ["third", "late", "last"]);
        assert_eq!(queue.next_due(), None);
    }
}
