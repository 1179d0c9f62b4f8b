//! Tracks the settled positions of a log, to find the position up to which a source may commit.

use std::collections::VecDeque;
use std::ops::Range;

/// The settled positions of one log: offsets of a partition, delivery tags of a channel, or sequence numbers.
///
/// Transactions finish in any order. A log that is committed by a single number, or acknowledged up to a tag, needs the
/// position below which every position is settled: the frontier. Every position from the first one on counts as
/// unsettled until it is passed to [`settle`](Self::settle) or [`skip`](Self::skip).
///
/// Settling positions in order needs no memory. Each gap needs memory for one range, for any number of positions after
/// it.
///
/// ```
/// use ergon::connector::kit::Frontier;
///
/// let mut partition = Frontier::starting_at(100);
/// partition.settle(101);
/// partition.settle(102);
/// assert_eq!(partition.position(), 100); // 100 is in process: nothing can be committed
/// partition.settle(100);
/// assert_eq!(partition.position(), 103); // the offset to commit
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frontier {
    /// The lowest position that is not settled.
    position: u64,
    /// The settled positions above `position`: sorted, disjoint, and not adjacent.
    beyond: VecDeque<Range<u64>>,
    /// The number of positions in `beyond`.
    count: u64,
}

impl Frontier {
    /// Makes a frontier whose lowest unsettled position is `first`.
    pub const fn starting_at(first: u64) -> Self {
        Self { position: first, beyond: VecDeque::new(), count: 0 }
    }

    /// Returns the lowest unsettled position: every position below it is settled.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Settles one position. Returns whether it was unsettled.
    pub fn settle(&mut self, position: u64) -> bool {
        self.settle_all(position..position.saturating_add(1)) > 0
    }

    /// Settles positions that the log never delivers, because a compaction removed them or because they hold a marker.
    /// The end of the range is exclusive.
    ///
    /// ```
    /// use ergon::connector::kit::Frontier;
    ///
    /// let mut partition = Frontier::starting_at(7);
    /// partition.settle(7);
    /// partition.skip(8..1_000_000); // the record after 7 has the offset 1,000,000
    /// assert_eq!(partition.position(), 1_000_000);
    /// ```
    pub fn skip(&mut self, positions: Range<u64>) {
        self.settle_all(positions);
    }

    /// Returns whether a position is settled.
    pub fn is_settled(&self, position: u64) -> bool {
        let after = self.beyond.partition_point(|range| range.end <= position);
        position < self.position || self.beyond.get(after).is_some_and(|range| range.contains(&position))
    }

    /// Returns the number of unsettled positions below `end`. The result is meaningful only if no position at or above
    /// `end` is settled.
    pub fn unsettled_below(&self, end: u64) -> u64 {
        end.saturating_sub(self.position).saturating_sub(self.count)
    }

    /// Settles the positions of a range. Returns how many of them were unsettled.
    fn settle_all(&mut self, positions: Range<u64>) -> u64 {
        let Range { mut start, mut end } = positions;
        start = start.max(self.position);
        if start >= end {
            return 0;
        }
        let asked = end - start;
        // Ranges that touch the new range are merged with it.
        let from = self.beyond.partition_point(|range| range.end < start);
        let mut known = 0;
        while let Some(range) = self.beyond.get(from).filter(|range| range.start <= end) {
            known += range.end.min(end).saturating_sub(range.start.max(start));
            (start, end) = (start.min(range.start), end.max(range.end));
            self.count -= range.end - range.start;
            self.beyond.remove(from);
        }
        if start <= self.position {
            self.position = end;
        } else {
            self.count += end - start;
            self.beyond.insert(from, start..end);
        }
        asked - known
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// A model of a frontier that stores every settled position.
    struct Model {
        first: u64,
        settled: BTreeSet<u64>,
    }

    impl Model {
        fn position(&self) -> u64 {
            (self.first..u64::MAX).find(|position| !self.settled.contains(position)).unwrap()
        }

        fn settle(&mut self, position: u64) -> bool {
            position >= self.first && self.settled.insert(position)
        }
    }

    proptest! {
        #[test]
        fn a_frontier_agrees_with_a_set_of_positions(
            first in 0..20_u64,
            steps in prop::collection::vec((0..80_u64, 0..6_u64), 0..200),
        ) {
            let (mut frontier, mut model) = (Frontier::starting_at(first), Model { first, settled: BTreeSet::new() });
            for (position, length) in steps {
                if length < 4 {
                    prop_assert_eq!(frontier.settle(position), model.settle(position));
                } else {
                    frontier.skip(position..position + length);
                    (position..position + length).for_each(|position| { model.settle(position); });
                }
                prop_assert_eq!(frontier.position(), model.position());
                let unsettled = (first..100).filter(|position| !model.settled.contains(position)).count();
                prop_assert_eq!(frontier.unsettled_below(100), unsettled as u64);
                for position in 0..100 {
                    let settled = position < first || model.settled.contains(&position);
                    prop_assert_eq!(frontier.is_settled(position), settled, "{}", position);
                }
                let ranges: Vec<_> = frontier.beyond.iter().cloned().collect();
                prop_assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start), "{:?}", ranges);
            }
        }
    }

    #[test]
    fn positions_at_the_end_of_the_numbers_are_settled() {
        let mut frontier = Frontier::starting_at(u64::MAX - 2);
        assert!(frontier.settle(u64::MAX - 1) && !frontier.settle(u64::MAX - 1));
        assert!(frontier.settle(u64::MAX - 2));
        assert_eq!(frontier.position(), u64::MAX);
    }
}
