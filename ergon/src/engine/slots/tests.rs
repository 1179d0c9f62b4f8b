use futures_util::FutureExt;

use super::*;
use crate::connector::Receipt;
use crate::transaction::{Payload, Transaction};

fn delivery(id: &str) -> Delivery {
    Delivery::new(Transaction::builder().id(id).payload(Payload::text("")).build(), Receipt::new(0))
}

#[test]
fn what_was_cancelled_leaves_its_slot() {
    let slots = Slots::new(&ConsumerPolicy { concurrency: 2, ..ConsumerPolicy::DEFAULT }, false);
    let (mut one, mut other) = (None, None);
    let fetched = Some(Fetched { asked: 2, deliveries: vec![delivery("a"), delivery("b")] });
    assert!(matches!(slots.next(&mut one, fetched, Haste::None), Next::Run));
    assert!(matches!(slots.next(&mut other, None, Haste::None), Next::Run));
    assert_eq!(slots.load().running, 2);
    // It is aborted unless its processing sets another outcome.
    assert!(matches!(slots.next(&mut one, None, Haste::None), Next::Fetch(1)));
    assert_eq!((slots.load().running, slots.given_back()), (1, 1));
}

#[test]
fn one_settles_at_a_time_and_what_is_finished_meanwhile_is_told_of_afterwards() {
    let woken = |slots: &Slots| slots.due.notified().now_or_never().is_some();
    let slots = Slots::new(&ConsumerPolicy { concurrency: 2, ..ConsumerPolicy::DEFAULT }, false);
    let (mut one, mut other) = (None, None);
    let fetched = Some(Fetched { asked: 2, deliveries: vec![delivery("a"), delivery("b")] });
    let _ = (slots.next(&mut one, fetched, Haste::None), slots.next(&mut other, None, Haste::None));
    let _ = slots.next(&mut one, None, Haste::None);
    assert!(woken(&slots));
    let settling = slots.take_finished().unwrap();
    let _ = slots.next(&mut other, None, Haste::None);
    assert!(slots.take_finished().is_none() && !woken(&slots), "somebody is at it");
    slots.settled(settling, false);
    assert!(woken(&slots));
    assert_eq!(slots.take_finished().unwrap().len(), 1);
}
