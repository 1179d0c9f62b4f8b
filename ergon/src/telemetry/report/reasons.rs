//! Counts the reasons of rejected transactions.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde::{Deserialize, Serialize};

use super::pattern;

/// The number of different reasons that are counted separately.
const APART: usize = 512;
/// The length of a message that is kept, in bytes.
const KEPT: usize = 200;

/// The reasons, counted by their [`pattern`]: messages that differ only in ids and numbers are one reason.
///
/// Up to [`APART`] reasons the counts are exact, and the sum of several workers' counts is the count of one. Beyond that,
/// counts are lower bounds that miss at most `missed`, which is less than the `APART`th part of all. A more frequent reason
/// is never forgotten (the mergeable summary of Misra and Gries).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reasons {
    by_pattern: HashMap<String, Reason>,
    /// The number of occurrences that any one count may miss.
    missed: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Reason {
    count: u64,
    /// The message, if it was the same each time.
    message: Option<String>,
}

impl Reasons {
    /// Counts a reason once.
    pub(super) fn add(&mut self, message: &str) {
        let pattern = pattern::of(message, KEPT);
        let message = message.get(..message.floor_char_boundary(KEPT)).unwrap_or_default();
        match self.by_pattern.entry(pattern) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                known.count += 1;
                if known.message.as_deref() != Some(message) {
                    known.message = None;
                }
            }
            Entry::Vacant(new) => {
                new.insert(Reason { count: 1, message: Some(message.to_owned()) });
            }
        }
        self.forget_rare();
    }

    /// Adds the counts of another worker or loop.
    pub(super) fn add_all(&mut self, other: &Self) {
        self.missed += other.missed;
        for (pattern, reason) in &other.by_pattern {
            match self.by_pattern.get_mut(pattern) {
                Some(known) => {
                    known.count += reason.count;
                    if known.message != reason.message {
                        known.message = None;
                    }
                }
                None => {
                    self.by_pattern.insert(pattern.clone(), reason.clone());
                }
            }
        }
        self.forget_rare();
    }

    /// Forgets the rarest reasons if there are too many: subtracts the same number from each count.
    fn forget_rare(&mut self) {
        if self.by_pattern.len() <= APART {
            return;
        }
        let mut counts: Vec<u64> = self.by_pattern.values().map(|reason| reason.count).collect();
        counts.sort_unstable_by(|one, other| other.cmp(one));
        let taken = counts.get(APART).copied().unwrap_or_default();
        self.missed += taken;
        self.by_pattern.retain(|_, reason| {
            reason.count = reason.count.saturating_sub(taken);
            reason.count > 0
        });
    }

    /// The most frequent first; equally frequent reasons in alphabetical order.
    pub(super) fn by_frequency(&self) -> Vec<(&str, u64)> {
        let shown = |(pattern, reason)| {
            let (pattern, reason): (&String, &Reason) = (pattern, reason);
            (reason.message.as_deref().unwrap_or(pattern), reason.count)
        };
        let mut all: Vec<_> = self.by_pattern.iter().map(shown).collect();
        all.sort_by(|(one, count), (other, more)| more.cmp(count).then_with(|| one.cmp(other)));
        all
    }

    /// Whether each count is exact. Otherwise the true count of a reason may be higher.
    pub(super) fn are_exact(&self) -> bool {
        self.missed == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counted<'m>(messages: impl IntoIterator<Item = &'m str>) -> Reasons {
        let mut reasons = Reasons::default();
        messages.into_iter().for_each(|message| reasons.add(message));
        reasons
    }

    #[test]
    fn the_most_frequent_reason_is_first() {
        let reasons = counted(["a", "b", "b", "a", "b"]);
        assert_eq!(reasons.by_frequency(), [("b", 3), ("a", 2)]);
        let mut whole = counted(["a", "a"]);
        whole.add_all(&reasons);
        assert_eq!(whole.by_frequency(), [("a", 4), ("b", 3)]);
    }

    #[test]
    fn reasons_that_differ_in_ids_and_numbers_are_one_and_one_that_never_differs_is_shown_as_it_is() {
        let odd: Vec<String> = (0..1000).map(|number| format!("order {number} is odd")).collect();
        let always = std::iter::repeat_n("quantity is 0 or less", 300);
        let reasons = counted(odd.iter().map(String::as_str).chain(always));
        assert_eq!(reasons.by_frequency(), [("order … is odd", 1000), ("quantity is 0 or less", 300)]);
        assert!(reasons.are_exact());
    }

    #[test]
    fn reasons_that_all_differ_take_no_more_room_and_push_no_frequent_one_out() {
        let mut reasons = Reasons::default();
        let letters = |number: u32| -> String {
            number.to_string().bytes().map(|digit| char::from(b'a' + digit - b'0')).collect()
        };
        for number in 0..10_000 {
            reasons.add(&format!("no {}", letters(number)));
            if number % 10 == 0 {
                reasons.add(&"ü".repeat(500));
            }
        }
        assert!(reasons.by_pattern.len() <= APART && !reasons.are_exact());
        let (message, count) = reasons.by_frequency()[0];
        assert_eq!(message, "ü".repeat(100));
        assert!(count <= 1000 && count + reasons.missed >= 1000, "{count}, {} missed", reasons.missed);
        assert!(reasons.missed <= 11_000 / APART as u64, "{} missed", reasons.missed);
    }

    /// Messages of a few kinds with different ids and numbers, or of many kinds.
    fn message() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<u32>().prop_map(|number| format!("order {number} is odd")),
            any::<u16>().prop_map(|number| format!("no such customer: \"c{number}\"")),
            (0..3u8).prop_map(|number| format!("price of {number}.5 EUR is too low")),
            "[a-c]{1,2}",
            Just("the order has no items".to_owned()),
        ]
    }

    proptest! {
        #[test]
        fn what_several_workers_count_comes_to_the_same_as_counting_in_one(
            workers in proptest::collection::vec(proptest::collection::vec(message(), 0..60), 0..6),
        ) {
            let one = counted(workers.iter().flatten().map(String::as_str));
            let mut merged = Reasons::default();
            for worker in &workers {
                // The form in which counts are sent from one process to another.
                let line = serde_json::to_string(&counted(worker.iter().map(String::as_str))).unwrap();
                merged.add_all(&serde_json::from_str(&line).unwrap());
            }
            prop_assert_eq!(&merged, &one);
            prop_assert_eq!(merged.by_frequency(), one.by_frequency());
        }

        #[test]
        fn a_count_is_never_too_high_and_too_low_by_no_more_than_is_said(
            workers in proptest::collection::vec(proptest::collection::vec("[a-k]{1,3}", 0..2000), 1..4),
        ) {
            let mut merged = Reasons::default();
            for worker in &workers {
                merged.add_all(&counted(worker.iter().map(String::as_str)));
            }
            let all: u64 = workers.iter().map(|worker| worker.len() as u64).sum();
            prop_assert!(merged.by_pattern.len() <= APART);
            prop_assert!(merged.missed <= all / APART as u64 + 1);
            let mut truth = HashMap::<&str, u64>::new();
            workers.iter().flatten().for_each(|message| *truth.entry(message).or_default() += 1);
            let counts: HashMap<&str, u64> = merged.by_frequency().into_iter().collect();
            for (message, count) in truth {
                let counted = counts.get(message).copied().unwrap_or_default();
                prop_assert!(counted <= count && counted + merged.missed >= count, "{counted} of {count}");
            }
        }
    }
}
