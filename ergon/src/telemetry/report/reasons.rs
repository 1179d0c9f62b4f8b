//! Why transactions were refused, and how often for each reason.

use serde::{Deserialize, Serialize};

/// How many different reasons are told apart; a message that names an id or a number is another one each time.
const TOLD_APART: usize = 16;
/// How much of a message counts, in bytes.
const COUNTED: usize = 200;

/// The reasons that came up most; how often is never told too high.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reasons(Vec<(String, u64)>);

impl Reasons {
    /// Counts a reason so many times. One that is new takes the place of one that came up no more often.
    pub(super) fn add(&mut self, message: &str, times: u64) {
        let message = message.get(..message.floor_char_boundary(COUNTED)).unwrap_or_default();
        if let Some((_, count)) = self.0.iter_mut().find(|(known, _)| known == message) {
            *count += times;
            return;
        }
        if self.0.len() == TOLD_APART {
            let rarest = self.0.iter().enumerate().min_by_key(|(_, (_, count))| *count);
            let Some((index, _)) = rarest.filter(|(_, (_, count))| *count <= times) else { return };
            self.0.remove(index);
        }
        self.0.push((message.to_owned(), times));
    }

    pub(super) fn add_all(&mut self, other: &Self) {
        for (message, times) in &other.0 {
            self.add(message, *times);
        }
    }

    /// The most frequent first.
    pub(super) fn by_frequency(&self) -> Vec<(&str, u64)> {
        let mut all: Vec<_> = self.0.iter().map(|(message, count)| (message.as_str(), *count)).collect();
        // Of those that came up as often, the earlier stays first.
        all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_reason_is_first() {
        let mut reasons = Reasons::default();
        for message in ["a", "b", "b", "a", "b"] {
            reasons.add(message, 1);
        }
        assert_eq!(reasons.by_frequency(), [("b", 3), ("a", 2)]);
        let mut whole = Reasons::default();
        whole.add("a", 2);
        whole.add_all(&reasons);
        assert_eq!(whole.by_frequency(), [("a", 4), ("b", 3)]);
    }

    #[test]
    fn reasons_that_all_differ_take_no_more_room_and_push_no_frequent_one_out() {
        let mut reasons = Reasons::default();
        for number in 0..1000 {
            reasons.add(&format!("order {number} is odd"), 1);
            if number % 10 == 0 {
                reasons.add(&"ü".repeat(500), 1);
            }
        }
        assert_eq!(reasons.0.len(), TOLD_APART);
        assert_eq!(reasons.by_frequency()[0], (&*"ü".repeat(100), 100));
    }
}
