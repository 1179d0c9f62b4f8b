//! Which published messages came back; pure.
//!
//! The broker returns a message that no queue takes before it confirms it. The client keeps what was returned in order,
//! and attaches the first of it to the next confirm it gets, whichever message that is for. So what came back is found
//! by its id, and a message whose confirm carries another's is decided only when none can be left to come.
//!
//! Confirms are seen in another order than the client got them, but all it had got when the first was seen are seen
//! together. So one without a returned message says of all in earlier batches that none is left, and of itself; not of
//! the others in its batch, which may have come after it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use lapin::types::ShortString;

/// What became of a published message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// The broker has it.
    Taken,
    /// The broker does not have it, for this reason: no queue took it.
    Returned(String),
    /// The broker refused it.
    Refused,
}

/// A confirm as the client tells of it.
#[derive(Debug)]
pub(super) struct Confirm {
    /// The id of the message it is for.
    pub(super) id: ShortString,
    /// The id of the returned message it carries, and why that one was returned.
    pub(super) attached: Option<(ShortString, String)>,
    /// Whether the broker refuses the message.
    pub(super) nacked: bool,
}

/// Decides messages by their confirms.
#[derive(Debug)]
pub(super) struct Confirms<T> {
    /// Ids and reasons of returned messages that no message was decided by; one id may be on its way several times.
    returned: HashMap<ShortString, Vec<String>>,
    /// Confirmed with another's returned message: their own may still be attached to a later confirm.
    undecided: Vec<(ShortString, T)>,
}

impl<T> Confirms<T> {
    pub(super) fn new() -> Self {
        Self { returned: HashMap::new(), undecided: Vec::new() }
    }

    /// Takes in the confirms that were seen together, and whether no other message is on its way; hands each message
    /// that is decided by them to `decided`.
    pub(super) fn take(
        &mut self,
        batch: Vec<(T, Confirm)>,
        last: bool,
        mut decided: impl FnMut(T, Decision),
    ) {
        let mut none_left = last;
        let (mut certain, mut open) = (Vec::new(), Vec::new());
        for (item, Confirm { id, attached, nacked }) in batch {
            let alone = attached.is_none();
            none_left |= alone;
            if let Some((id, reason)) = attached {
                self.returned.entry(id).or_default().push(reason);
            }
            if nacked {
                decided(item, Decision::Refused);
            } else if alone || last {
                certain.push((id, item));
            } else {
                open.push((id, item));
            }
        }
        let earlier = std::mem::take(&mut self.undecided);
        if none_left {
            certain.extend(earlier);
        } else {
            open.extend(earlier);
        }
        for (id, item) in certain {
            let decision = self.decide(&id);
            decided(item, decision);
        }
        // After those that are certain: one of the same id would take what is theirs.
        for (id, item) in open {
            if self.returned.contains_key(&id) {
                let decision = self.decide(&id);
                decided(item, decision);
            } else {
                self.undecided.push((id, item));
            }
        }
    }

    fn decide(&mut self, id: &ShortString) -> Decision {
        let Entry::Occupied(mut reasons) = self.returned.entry(id.clone()) else { return Decision::Taken };
        let reason = reasons.get_mut().pop();
        if reasons.get().is_empty() {
            reasons.remove();
        }
        reason.map_or(Decision::Taken, Decision::Returned)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    /// What the broker does with a message.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Fate {
        Routed,
        Unroutable,
        Nacked,
    }

    /// Plays broker and client: unroutable messages are returned as many confirms ahead of their own as `ahead` says, the
    /// later ones first; what was returned waits for the next confirm. A batch ends after a confirm of `ends`; what is in
    /// it is seen backwards.
    fn decisions(
        ids: &[u8],
        fates: &[Fate],
        order: &[usize],
        ahead: &[usize],
        ends: &[bool],
    ) -> Vec<Option<Decision>> {
        let short = |index: usize| ShortString::from(format!("id-{}", ids[index]));
        let (mut confirms, mut waiting) = (Confirms::new(), VecDeque::new());
        let mut was_returned = vec![false; ids.len()];
        let mut decided = vec![None; ids.len()];
        let mut batch = Vec::new();
        for (position, index) in order.iter().enumerate() {
            let later = order[position..].iter().enumerate().rev();
            for (_, message) in later.filter(|(confirms, message)| *confirms <= ahead[**message]) {
                if fates[*message] == Fate::Unroutable
                    && !std::mem::replace(&mut was_returned[*message], true)
                {
                    waiting.push_back((short(*message), format!("reason {}", ids[*message])));
                }
            }
            let (attached, nacked) = (waiting.pop_front(), fates[*index] == Fate::Nacked);
            batch.insert(0, (*index, Confirm { id: short(*index), attached, nacked }));
            let last = position + 1 == order.len();
            if ends[position] || last {
                confirms.take(std::mem::take(&mut batch), last, |item: usize, decision| {
                    assert!(decided[item].replace(decision).is_none(), "{item} is decided twice");
                });
                let known = |(id, _): &(ShortString, usize)| confirms.returned.contains_key(id);
                assert!(!confirms.undecided.iter().any(known), "what came back is told at once");
            }
        }
        assert!(confirms.undecided.is_empty());
        decided
    }

    fn fate() -> impl Strategy<Value = Fate> {
        prop_oneof![3 => Just(Fate::Routed), 2 => Just(Fate::Unroutable), 1 => Just(Fate::Nacked)]
    }

    proptest! {
        /// Whatever comes in which order: each message is decided once, and rightly.
        #[test]
        fn every_message_is_decided_rightly(
            fates in prop::collection::vec(fate(), 12),
            order in Just((0..12_usize).collect::<Vec<_>>()).prop_shuffle(),
            ahead in prop::collection::vec(0..4_usize, 12),
            ends in prop::collection::vec(any::<bool>(), 12),
        ) {
            let ids: Vec<u8> = (0..12).collect();
            for (index, decision) in decisions(&ids, &fates, &order, &ahead, &ends).into_iter().enumerate() {
                let expected = match fates[index] {
                    Fate::Routed => Decision::Taken,
                    Fate::Unroutable => Decision::Returned(format!("reason {index}")),
                    Fate::Nacked => Decision::Refused,
                };
                prop_assert_eq!(decision, Some(expected), "message {}", index);
            }
        }

        /// Messages of one id cannot be told apart, but as many are told as were returned.
        #[test]
        fn of_one_id_as_many_are_told_as_came_back(
            ids in prop::collection::vec(0..3_u8, 12),
            unroutable in prop::collection::vec(any::<bool>(), 12),
            order in Just((0..12_usize).collect::<Vec<_>>()).prop_shuffle(),
            ahead in prop::collection::vec(0..4_usize, 12),
            ends in prop::collection::vec(any::<bool>(), 12),
        ) {
            let fates: Vec<Fate> =
                unroutable.iter().map(|lost| if *lost { Fate::Unroutable } else { Fate::Routed }).collect();
            let decided = decisions(&ids, &fates, &order, &ahead, &ends);
            for id in 0..3 {
                let count = |is: &dyn Fn(usize) -> bool| (0..12).filter(|index| ids[*index] == id && is(*index)).count();
                let told = count(&|index| matches!(decided[index], Some(Decision::Returned(_))));
                prop_assert_eq!(told, count(&|index| unroutable[index]), "id {}", id);
            }
        }
    }
}
