//! Decides which published messages the broker has accepted, refused or returned. The module is pure, so that tests can
//! run it in any order of events.
//!
//! The broker returns an unroutable message before it confirms the message. The client queues returned messages, and
//! attaches the first of them to the next confirm, even if that confirm belongs to another message. So a returned
//! message is matched by its id. A message whose confirm carries another message stays undecided until no returned
//! message can follow.
//!
//! The connector sees confirms in another order than the client received them. But it sees confirms in batches: all
//! confirms that the client had received when the first of them was seen. A confirm without a returned message proves
//! two facts: its own message was not returned, and no returned message is left from earlier batches. It proves nothing
//! about the other confirms of its batch, which may be later.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use lapin::types::ShortString;

/// The outcome of a published message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// The broker accepted the message.
    Taken,
    /// The broker returned the message for this reason: no queue accepted it.
    Returned(String),
    /// The broker answered with a nack.
    Refused,
}

/// A confirm as the client reports it.
#[derive(Debug)]
pub(super) struct Confirm {
    /// The id of the confirmed message.
    pub(super) id: ShortString,
    /// The id of the attached returned message, and the reason of the return.
    pub(super) attached: Option<(ShortString, String)>,
    /// Whether the confirm is a nack.
    pub(super) nacked: bool,
}

/// Decides messages by their confirms.
#[derive(Debug)]
pub(super) struct Confirms<T> {
    /// The reasons of returned messages that are not matched yet, by id. Several messages in flight may have the same
    /// id.
    returned: HashMap<ShortString, Vec<String>>,
    /// The messages whose confirms carried another returned message. Their own returned message may be attached to a
    /// later confirm.
    undecided: Vec<(ShortString, T)>,
}

impl<T> Confirms<T> {
    pub(super) fn new() -> Self {
        Self { returned: HashMap::new(), undecided: Vec::new() }
    }

    /// Takes a batch of confirms that were seen together, and whether no other message is in flight. Calls `decided`
    /// for each message that the batch decides.
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
        // The undecided messages follow the certain ones, because an undecided message with the same id would
        // otherwise take the reason of a certain one.
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

    /// The broker's treatment of a message.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Fate {
        Routed,
        Unroutable,
        Nacked,
    }

    /// Simulates broker and client. The broker returns an unroutable message up to `ahead` confirms before its own
    /// confirm, the later messages first. A returned message waits for the next confirm. A batch ends after a confirm
    /// of `ends`, and its confirms are seen in reverse order.
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
        /// In any order of events, each message is decided once, and rightly.
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

        /// Messages with the same id cannot be distinguished, but as many are reported as were returned.
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
