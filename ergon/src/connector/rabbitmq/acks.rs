//! Computes the acknowledgements of a channel. One acknowledgement can settle many delivery tags, which saves the
//! broker work.
//!
//! The module also counts how often this worker gave back a message of a classic queue. The broker of a classic queue
//! reports only that there was an earlier delivery.

use std::collections::HashMap;

use crate::connector::Delivery;
use crate::connector::kit::Frontier;
use crate::transaction::TransactionId;

/// The verdict that the broker receives for one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Ack,
    Reject,
    Requeue,
}

/// One method to send, for one or more deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) verdict: Verdict,
    pub(super) tag: u64,
    /// Whether it is for all unsettled deliveries up to the tag.
    pub(super) multiple: bool,
}

/// The methods to send, in this order, and the method that settles each delivery of the call.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Steps {
    pub(super) steps: Vec<Step>,
    /// The index of the step for each delivery of the call; `None` for a tag that was settled before.
    pub(super) step_of: Vec<Option<usize>>,
}

/// The delivery tags of one channel. The broker numbers them from 1, and each is settled once.
#[derive(Debug)]
pub(super) struct Acks(Frontier);

impl Acks {
    pub(super) fn new() -> Self {
        Self(Frontier::starting_at(1))
    }

    /// Returns the number of unsettled tags, if `highest` is the last delivered tag.
    pub(super) fn unsettled(&self, highest: u64) -> u64 {
        self.0.unsettled_below(highest + 1)
    }

    /// Settles deliveries: one acknowledgement for all tags that are contiguous from the lowest unsettled tag, and
    /// single acknowledgements for the others.
    pub(super) fn settle(&mut self, told: &[(u64, Verdict)]) -> Steps {
        let mut steps = Steps { steps: Vec::new(), step_of: vec![None; told.len()] };
        let mut fresh: Vec<usize> = Vec::with_capacity(told.len());
        for (index, (tag, _)) in told.iter().enumerate() {
            if self.0.settle(*tag) {
                fresh.push(index);
            }
        }
        let is_contiguous = |tag: u64| tag < self.0.position();
        let mut together: Option<(u64, Vec<usize>)> = None;
        for index in fresh {
            let Some((tag, verdict)) = told.get(index).copied() else { continue };
            if verdict == Verdict::Ack && is_contiguous(tag) {
                let (highest, items) = together.get_or_insert_default();
                *highest = (*highest).max(tag);
                items.push(index);
            } else {
                steps.push(Step { verdict, tag, multiple: false }, &[index]);
            }
        }
        // The acknowledgement of several tags follows the single steps. By then the rejected tags below it are
        // settled, so it does not acknowledge them.
        if let Some((tag, items)) = together {
            steps.push(Step { verdict: Verdict::Ack, tag, multiple: items.len() > 1 }, &items);
        }
        steps
    }
}

impl Steps {
    fn push(&mut self, step: Step, items: &[usize]) {
        for item in items {
            if let Some(step_of) = self.step_of.get_mut(*item) {
                *step_of = Some(self.steps.len());
            }
        }
        self.steps.push(step);
    }
}

/// The most ids that are remembered. Beyond it the counts start again, because ids that another worker settled would
/// otherwise stay for ever.
const REMEMBERED: usize = 10_000;

/// Counts the messages that are given back again and again, so that `max_deliveries` applies to a classic queue too.
#[derive(Debug, Default)]
pub(super) struct Returns {
    /// The ids of unsettled deliveries that were delivered before, by tag.
    ids: HashMap<u64, TransactionId>,
    /// How often each message was given back after its second delivery.
    times: HashMap<TransactionId, u32>,
}

impl Returns {
    /// Returns whether the broker reports only that the message was delivered before, without a count.
    fn is_uncounted(delivery: &Delivery) -> bool {
        let transaction = delivery.transaction();
        transaction.deliveries() > 1 && transaction.metadata().get("x-delivery-count").is_none()
    }

    /// Adds the deliveries that this worker has counted to a delivery.
    pub(super) fn count(&mut self, delivery: Delivery) -> Delivery {
        if !Self::is_uncounted(&delivery) {
            return delivery;
        }
        let (transaction, receipt) = delivery.into_parts();
        let id = transaction.shared_id().clone();
        let times = self.times.get(&id).copied().unwrap_or(0);
        self.ids.insert(receipt.tag(), id);
        let deliveries = transaction.deliveries().saturating_add(times);
        Delivery::new(transaction.with_deliveries(deliveries), receipt)
    }

    /// Records the verdicts of deliveries.
    pub(super) fn settle(&mut self, told: &[(u64, Verdict)]) {
        if self.ids.is_empty() {
            return;
        }
        for (tag, verdict) in told {
            let Some(id) = self.ids.remove(tag) else { continue };
            if *verdict != Verdict::Requeue {
                self.times.remove(&id);
                continue;
            }
            if self.times.len() >= REMEMBERED {
                self.times.clear();
            }
            *self.times.entry(id).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ACK: Verdict = Verdict::Ack;

    fn acks(tags: &[u64]) -> Vec<(u64, Verdict)> {
        tags.iter().map(|tag| (*tag, ACK)).collect()
    }

    fn step(verdict: Verdict, tag: u64, multiple: bool) -> Step {
        Step { verdict, tag, multiple }
    }

    #[test]
    fn contiguous_tags_go_in_one_acknowledgement() {
        let mut tags = Acks::new();
        assert_eq!(tags.settle(&acks(&[3, 1, 2])).steps, [step(ACK, 3, true)]);
        assert_eq!(tags.settle(&acks(&[4])).steps, [step(ACK, 4, false)]);
    }

    #[test]
    fn what_lies_beyond_a_gap_is_acked_singly() {
        let mut tags = Acks::new();
        let steps = tags.settle(&acks(&[1, 2, 4, 5])).steps;
        assert_eq!(steps, [step(ACK, 4, false), step(ACK, 5, false), step(ACK, 2, true)]);
        // 4 and 5 are settled: 3 closes the gap.
        assert_eq!(tags.settle(&acks(&[6, 3])).steps, [step(ACK, 6, true)]);
    }

    #[test]
    fn a_rejected_one_is_not_acked_along() {
        let mut tags = Acks::new();
        let told = [(1, ACK), (2, Verdict::Reject), (3, ACK), (4, Verdict::Requeue)];
        let Steps { steps, step_of } = tags.settle(&told);
        let expected =
            [step(Verdict::Reject, 2, false), step(Verdict::Requeue, 4, false), step(ACK, 3, true)];
        assert_eq!(steps, expected);
        assert_eq!(step_of, [Some(2), Some(0), Some(2), Some(1)]);
    }

    #[test]
    fn a_tag_is_settled_once() {
        let mut tags = Acks::new();
        tags.settle(&acks(&[1, 3]));
        assert_eq!(tags.settle(&acks(&[1, 3])), Steps { steps: Vec::new(), step_of: vec![None, None] });
    }

    #[test]
    fn it_knows_how_many_are_unsettled() {
        let mut tags = Acks::new();
        assert_eq!(tags.unsettled(0), 0);
        tags.settle(&acks(&[1, 3, 5]));
        assert_eq!(tags.unsettled(8), 5);
        tags.settle(&acks(&[2]));
        assert_eq!(tags.unsettled(8), 4);
    }

    proptest! {
        /// A broker that tracks the unsettled tags receives each tag exactly once, with the right verdict.
        #[test]
        fn the_broker_is_told_of_each_tag_once(
            order in Just((1..=40_u64).collect::<Vec<_>>()).prop_shuffle(),
            verdicts in prop::collection::vec(0..3_usize, 40),
            sizes in prop::collection::vec(1..9_usize, 40),
        ) {
            let verdict = |tag: u64| {
                let at = usize::try_from(tag).unwrap() - 1;
                [ACK, Verdict::Reject, Verdict::Requeue][verdicts[at]]
            };
            let mut tags = Acks::new();
            let mut unsettled: std::collections::BTreeSet<u64> = (1..=40).collect();
            let mut rest = order.as_slice();
            for size in sizes {
                let (batch, more) = rest.split_at(size.min(rest.len()));
                rest = more;
                let told: Vec<_> = batch.iter().map(|tag| (*tag, verdict(*tag))).collect();
                for step in tags.settle(&told).steps {
                    let upto = if step.multiple { 1 } else { step.tag };
                    let settled: Vec<_> = unsettled.range(upto..=step.tag).copied().collect();
                    prop_assert!(settled.contains(&step.tag), "unknown delivery tag {}", step.tag);
                    for tag in settled {
                        prop_assert!(batch.contains(&tag) && verdict(tag) == step.verdict);
                        unsettled.remove(&tag);
                    }
                }
            }
            prop_assert!(unsettled.iter().all(|tag| rest.contains(tag)));
        }
    }
}
