//! Tests the suite: each broken connector breaks the rule that is made for it, and no other.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use super::*;
use crate::connector::memory::{Memory, MemoryConfig, MemoryQueue};
use crate::connector::{self, Count, FetchById, Receipt, Shard, Sink};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    // Faults of a source.
    Loses,
    Doubles,
    EmptyWhileDataWaits,
    IgnoresMax,
    ForgetsAck,
    ForgetsReject,
    RejectComesAgainUntilClose,
    ForgetsRequeue,
    ForgetsRequeueBesideAcks,
    NeverCounts,
    CountsOnlyTheFirstOfASettle,
    LosesMetadataAtRedelivery,
    NewIdAtRedelivery,
    LosesUnsettledAtClose,
    AcksOnFetch,
    AckUndoneAtClose,
    RejectUndoneAtClose,
    NewIds,
    IdsOfItsOwnSession,
    MiscountsPending,
    CountsAllForEachWorker,
    FindsAnother,
    LeavesWhatItFinds,
    LosesWhenCancelled,
    LosesWhenSeveralFetch,
    CountsOneWhereNothingEverWas,
    FetchHangsClose,
    OverlapsWithOthers,
    DropsMetadata,
    CutsPayload,
    CutsBinary,
    OneOrigin,
    // Faults of a sink.
    LosesDispatched,
    LosesOneOfSeveralAtOnce,
    RefusesNone,
    EmptiesInOpen,
    EmptiesInCheck,
    EmptiesAtRestart,
    LosesWhatItTakesAfterClose,
    DispatchDropsParent,
    DispatchCutsPayload,
    DispatchCutsBinary,
    OneDestination,
    // Faults of both.
    PanicsWhenCounting,
    PanicsAtLargePayloads,
    PanicsInOpen,
}

#[derive(Clone)]
struct FaultyConfig(MemoryConfig, Fault);

struct Faulty {
    memory: Memory,
    queue: Arc<MemoryQueue>,
    fault: Fault,
    context: Context,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    fetches: usize,
    /// The number of fetches that wait for data.
    waiting: usize,
    fetching: usize,
    dispatching: usize,
    closed: bool,
    /// Deliveries that are not settled.
    in_hand: Vec<InHand>,
    /// Settled transactions that are delivered again after the next open.
    undone: Vec<Transaction>,
    /// Settled transactions that are delivered again while the connector is open.
    again: Vec<Transaction>,
}

struct InHand {
    tag: u64,
    epoch: u64,
    transaction: Transaction,
}

impl ConnectorConfig for FaultyConfig {
    type Connector = Faulty;

    fn build(&self, context: &Context) -> Result<Faulty, ConnectorError> {
        let Self(config, fault) = self;
        Ok(Faulty {
            memory: config.build(context)?,
            queue: MemoryQueue::named(&config.name),
            fault: *fault,
            context: context.clone(),
            state: Mutex::default(),
        })
    }
}

impl Connector for Faulty {
    const KIND: &'static str = "faulty";

    async fn open(&self) -> Result<(), ConnectorError> {
        assert!(self.fault != Fault::PanicsInOpen, "the library has a fault");
        if self.fault == Fault::EmptiesInOpen && self.is_sink() && !self.context.is_restart {
            self.queue.drain();
        }
        Ok(())
    }

    async fn start(&self) -> Result<(), ConnectorError> {
        if self.fault == Fault::EmptiesAtRestart && self.is_sink() {
            self.queue.drain();
        }
        Ok(())
    }

    async fn check(&self) -> Result<(), ConnectorError> {
        if self.fault == Fault::EmptiesInCheck {
            self.queue.drain();
        }
        Ok(())
    }

    async fn close(&self) -> Result<(), ConnectorError> {
        let State { in_hand, undone, waiting, .. } =
            std::mem::replace(&mut *self.state(), State { closed: true, ..State::default() });
        match self.fault {
            Fault::LosesUnsettledAtClose => {
                let receipts = in_hand.iter().map(|held| Receipt::new(held.tag).with_epoch(held.epoch));
                let acked = receipts.map(|receipt| Settlement::new(receipt, Disposition::Ack));
                self.memory.settle(acked.collect()).await?;
            }
            Fault::AcksOnFetch => self.queue.extend(in_hand.into_iter().map(|held| held.transaction)),
            Fault::FetchHangsClose if waiting > 0 => std::future::pending().await,
            _ => {}
        }
        self.queue.extend(undone);
        self.memory.close().await
    }

    fn capabilities(&self) -> connector::Capabilities<'_> {
        connector::Capabilities::none().count(self).fetch_by_id(self)
    }
}

impl Count for Faulty {
    async fn count(&self) -> Result<u64, ConnectorError> {
        assert!(self.fault != Fault::PanicsWhenCounting, "the library has a fault");
        let alone = self.context.shard.count == 1;
        Ok(match self.fault {
            Fault::MiscountsPending if alone && self.queue.inspect().handed_out > 0 => {
                self.memory.count().await? + 1
            }
            Fault::CountsOneWhereNothingEverWas => {
                let now = self.queue.inspect();
                if (now.waiting, now.handed_out, now.acked) == (0, 0, 0) {
                    1
                } else {
                    self.memory.count().await?
                }
            }
            Fault::CountsAllForEachWorker => self.queue.inspect().waiting as u64,
            _ => self.memory.count().await?,
        })
    }
}

impl FetchById for Faulty {
    async fn fetch_by_id(&self, id: &str) -> Result<Option<Delivery>, ConnectorError> {
        let id = if self.fault == Fault::IdsOfItsOwnSession { id.split('@').next().unwrap() } else { id };
        let Some(found) = self.memory.fetch_by_id(id).await? else { return Ok(None) };
        match self.fault {
            Fault::FindsAnother => {
                let another = self.memory.fetch(&FetchRequest::new(1)).await?.pop();
                self.memory.settle(vec![found.settle(Disposition::Requeue)]).await?;
                Ok(another)
            }
            Fault::LeavesWhatItFinds => {
                let copy = Delivery::new(found.transaction().clone(), Receipt::new(u64::MAX));
                self.memory.settle(vec![found.settle(Disposition::Requeue)]).await?;
                Ok(Some(copy))
            }
            Fault::AcksOnFetch => Ok(self.acked_on_fetch(vec![found]).await?.pop()),
            _ => Ok(Some(found)),
        }
    }
}

impl Source for Faulty {
    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        let fetches = {
            let mut state = self.state();
            state.fetches += 1;
            state.fetches
        };
        if self.fault == Fault::EmptyWhileDataWaits && fetches.is_multiple_of(3) && !request.waits() {
            return Ok(Vec::new());
        }
        let more = usize::from(self.fault == Fault::IgnoresMax && request.max() == 0);
        let _fetching = Fetching::begin(self);
        let asked = FetchRequest::new(request.max() + more);
        if self.fault == Fault::LosesWhenSeveralFetch {
            tokio::task::yield_now().await;
        }
        self.state().waiting += usize::from(request.waits());
        let asked = if request.waits() { asked.waiting() } else { asked };
        let ended = self.memory.fetch(&asked).await;
        self.state().waiting -= usize::from(request.waits());
        let mut deliveries = ended?;
        let again = std::mem::take(&mut self.state().again);
        deliveries.extend(again.into_iter().map(|again| Delivery::new(again, Receipt::new(u64::MAX))));
        match self.fault {
            // Only the first rule fetches as many at a time.
            Fault::Loses if deliveries.len() > 900 => {
                let lost = deliveries.pop().map(|delivery| delivery.settle(Disposition::Ack));
                self.memory.settle(lost.into_iter().collect()).await?;
            }
            Fault::Doubles if deliveries.len() > 900 => {
                let last = deliveries.pop();
                deliveries.extend(self.doubled(deliveries.first(), last).await?);
            }
            Fault::LosesWhenCancelled => tokio::task::yield_now().await,
            Fault::LosesWhenSeveralFetch => {
                let alone = self.state().fetching == 1;
                let lost = if alone { None } else { deliveries.pop() };
                self.memory
                    .settle(lost.map(|lost| lost.settle(Disposition::Ack)).into_iter().collect())
                    .await?;
            }
            Fault::AcksOnFetch => deliveries = self.acked_on_fetch(deliveries).await?,
            Fault::OverlapsWithOthers
                if self.context.shard == Shard { index: 1, count: 2 } && fetches == 1 =>
            {
                let last = deliveries.pop();
                deliveries.extend(self.doubled(deliveries.first(), last).await?);
            }
            _ => {}
        }
        let deliveries: Vec<_> = deliveries.into_iter().map(|delivery| self.distorted(delivery)).collect();
        if self.fault == Fault::LosesUnsettledAtClose {
            self.state().in_hand.extend(deliveries.iter().map(in_hand));
        }
        Ok(deliveries)
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), ConnectorError> {
        let mut passed_on = Vec::new();
        let acks = settlements.iter().any(|settlement| settlement.disposition() == Disposition::Ack);
        for (index, settlement) in settlements.into_iter().enumerate() {
            let (disposition, tag) = (settlement.disposition(), settlement.receipt().tag());
            let given_back = matches!(disposition, Disposition::Requeue | Disposition::RetryAfter(_));
            let kept = settlement.receipt().token::<Transaction>().cloned();
            self.state().in_hand.retain(|held| held.tag != tag);
            let disposition = match (self.fault, disposition) {
                (Fault::ForgetsAck, Disposition::Ack) | (Fault::ForgetsReject, Disposition::Reject) => {
                    Disposition::Requeue
                }
                (Fault::ForgetsRequeue, Disposition::Requeue) => Disposition::Ack,
                (Fault::ForgetsRequeueBesideAcks, Disposition::Requeue) if acks => Disposition::Ack,
                (_, disposition) => disposition,
            };
            let again = |transaction: Transaction, more: u32| {
                let deliveries = transaction.deliveries() + more;
                self.queue.push(transaction.with_deliveries(deliveries));
            };
            match (self.fault, kept) {
                (Fault::AcksOnFetch, Some(kept)) => {
                    if given_back {
                        again(kept, 1);
                    }
                    continue;
                }
                (Fault::CountsOnlyTheFirstOfASettle, Some(kept)) if given_back && index > 0 => {
                    again(kept, 0);
                    passed_on.push(Settlement::new(settlement.into_receipt(), Disposition::Ack));
                    continue;
                }
                (Fault::AckUndoneAtClose, Some(kept)) if disposition == Disposition::Ack => {
                    self.state().undone.push(kept);
                }
                (Fault::RejectComesAgainUntilClose, Some(kept)) if disposition == Disposition::Reject => {
                    // A queue of this connector alone, which ends with it.
                    self.state().again.push(kept);
                }
                (Fault::RejectUndoneAtClose, Some(kept)) if disposition == Disposition::Reject => {
                    self.state().undone.push(kept);
                }
                _ => {}
            }
            passed_on.push(Settlement::new(settlement.into_receipt(), disposition));
        }
        self.memory.settle(passed_on).await
    }

    fn reads_from(&self) -> Vec<Endpoint> {
        if self.fault == Fault::OneOrigin {
            vec![Endpoint::new("the queue")]
        } else {
            self.memory.reads_from()
        }
    }
}

impl Sink for Faulty {
    async fn dispatch(&self, mut transactions: Vec<Transaction>) -> Result<(), ConnectorError> {
        let (closed, immediate) = {
            let mut state = self.state();
            state.dispatching += 1;
            (state.closed, state.dispatching)
        };
        match self.fault {
            // Only the first rule dispatches as many in one call.
            Fault::LosesDispatched if transactions.len() > 200 => drop(transactions.pop()),
            Fault::LosesOneOfSeveralAtOnce => {
                tokio::task::yield_now().await;
                if immediate > 1 && transactions.len() > 1 {
                    transactions.pop();
                }
            }
            Fault::RefusesNone if transactions.is_empty() => {
                return Err(ConnectorError::permanent("nothing to dispatch"));
            }
            Fault::LosesWhatItTakesAfterClose if closed => transactions.clear(),
            Fault::DispatchDropsParent => {
                let orphan = |transaction: &Transaction| {
                    let made = Transaction::builder().id(transaction.id());
                    made.payload(transaction.payload().clone()).build()
                };
                transactions = transactions.iter().map(orphan).collect();
            }
            Fault::DispatchCutsPayload => {
                transactions = transactions.iter().map(|all| cut(all, 100_000)).collect();
            }
            Fault::DispatchCutsBinary => transactions = transactions.iter().map(text_only).collect(),
            _ => {}
        }
        self.state().dispatching -= 1;
        self.memory.dispatch(transactions).await
    }

    fn writes_to(&self) -> Vec<Endpoint> {
        if self.fault == Fault::OneDestination {
            vec![Endpoint::new("the queue")]
        } else {
            self.memory.writes_to()
        }
    }
}

impl Faulty {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn is_sink(&self) -> bool {
        self.context.direction == Direction::Sink
    }

    /// One of the deliveries a second time, instead of the last one.
    async fn doubled(
        &self,
        first: Option<&Delivery>,
        last: Option<Delivery>,
    ) -> Result<Option<Delivery>, ConnectorError> {
        let given_back = last.map(|last| last.settle(Disposition::Requeue));
        self.memory.settle(given_back.into_iter().collect()).await?;
        Ok(first.map(|first| Delivery::new(first.transaction().clone(), Receipt::new(u64::MAX))))
    }

    /// Acknowledges the deliveries immediately, and keeps copies for those that are given back later.
    async fn acked_on_fetch(&self, deliveries: Vec<Delivery>) -> Result<Vec<Delivery>, ConnectorError> {
        let (mut copies, mut acked) = (Vec::new(), Vec::new());
        for delivery in deliveries {
            let copy = delivery.transaction().clone();
            let mut state = self.state();
            state.fetches += 1;
            let tag = 1_000_000 + state.fetches as u64;
            copies.push(Delivery::new(copy.clone(), Receipt::new(tag).with_token(copy)));
            state.in_hand.extend(copies.last().map(in_hand));
            acked.push(delivery.settle(Disposition::Ack));
        }
        self.memory.settle(acked).await?;
        Ok(copies)
    }

    fn distorted(&self, delivery: Delivery) -> Delivery {
        let (transaction, receipt) = delivery.into_parts();
        let made = || Transaction::builder().payload(transaction.payload().clone());
        let again = transaction.deliveries() > 1;
        let distorted = match self.fault {
            Fault::NeverCounts => transaction.clone().with_deliveries(1),
            Fault::NewIds => made().build(),
            Fault::DropsMetadata if transaction.metadata().get("grüße").is_some() => {
                made().id(transaction.id()).build()
            }
            Fault::LosesMetadataAtRedelivery if again => {
                made().id(transaction.id()).build().with_deliveries(transaction.deliveries())
            }
            Fault::NewIdAtRedelivery if transaction.deliveries() == 3 => {
                let metadata = transaction.metadata().get("note").cloned();
                let again = made().build().with_deliveries(3);
                again.annotate(metadata.map(|note| ("note", note)))
            }
            Fault::IdsOfItsOwnSession if transaction.metadata().get("grüße").is_none() => {
                let note = transaction.metadata().get("note").cloned();
                let id = format!("{}@{}", transaction.id(), receipt.epoch());
                let deliveries = transaction.deliveries();
                made().id(id).build().with_deliveries(deliveries).annotate(note.map(|note| ("note", note)))
            }
            Fault::PanicsAtLargePayloads if transaction.payload().to_bytes().unwrap().len() > 100_000 => {
                panic!("the library has a fault")
            }
            Fault::CutsPayload => cut(&transaction, 100_000),
            Fault::CutsBinary => text_only(&transaction),
            _ => transaction.clone(),
        };
        let token = matches!(
            self.fault,
            Fault::CountsOnlyTheFirstOfASettle
                | Fault::RejectComesAgainUntilClose
                | Fault::AckUndoneAtClose
                | Fault::RejectUndoneAtClose
        );
        Delivery::new(distorted, if token { receipt.with_token(transaction) } else { receipt })
    }
}

/// Counts a fetch that is under way, until it ends or is dropped.
struct Fetching<'a>(&'a Faulty);

impl<'a> Fetching<'a> {
    fn begin(faulty: &'a Faulty) -> Self {
        faulty.state().fetching += 1;
        Self(faulty)
    }
}

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.fetching = state.fetching.saturating_sub(1);
    }
}

fn in_hand(delivery: &Delivery) -> InHand {
    let receipt = delivery.receipt();
    InHand { tag: receipt.tag(), epoch: receipt.epoch(), transaction: delivery.transaction().clone() }
}

/// Cuts the payload to at most `most` bytes.
fn cut(transaction: &Transaction, most: usize) -> Transaction {
    let bytes = transaction.payload().to_bytes().unwrap();
    if bytes.len() <= most {
        return transaction.clone();
    }
    let payload = Payload::bytes(transaction.payload().content_type().clone(), bytes.slice(..most));
    Transaction::builder().id(transaction.id()).payload(payload).build()
}

/// Replaces a payload that is not text by text.
fn text_only(transaction: &Transaction) -> Transaction {
    let bytes = transaction.payload().to_bytes().unwrap();
    if std::str::from_utf8(&bytes).is_ok() {
        return transaction.clone();
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let payload = Payload::bytes(transaction.payload().content_type().clone(), text);
    Transaction::builder().id(transaction.id()).payload(payload).build()
}

/// Makes connectors with a fault, at queues that no other fixture uses.
struct FaultyQueues {
    fault: Fault,
    number: usize,
}

impl FaultyQueues {
    fn new(fault: Fault) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        Self { fault, number: NUMBER.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Fixture for FaultyQueues {
    type Config = FaultyConfig;

    async fn filled(&self, place: &str, transactions: Vec<Transaction>) -> FaultyConfig {
        let name = format!("{place}-{}", self.number);
        MemoryQueue::named(&name).extend(transactions);
        FaultyConfig(MemoryConfig::new(name), self.fault)
    }

    async fn contents(&self, config: &FaultyConfig) -> Vec<Transaction> {
        MemoryQueue::named(&config.0.name).drain()
    }
}

async fn all_rules(fault: Fault) -> Vec<Outcome> {
    let fixture = FaultyQueues::new(fault);
    [source::rules(&fixture).await, sink::rules(&fixture).await].concat()
}

/// The rules that a connector with this fault breaks.
async fn broken(fault: Fault) -> Vec<&'static str> {
    let outcomes = all_rules(fault).await;
    outcomes.into_iter().filter(|(_, outcome)| outcome.is_err()).map(|(name, _)| name).collect()
}

/// Connectors that break exactly one rule; at least one for each rule.
const ONE_RULE: &[(Fault, &str)] = &[
    (Fault::Loses, "delivers all, each once"),
    (Fault::Doubles, "delivers all, each once"),
    (Fault::EmptyWhileDataWaits, "is empty only when nothing waits"),
    (Fault::IgnoresMax, "respects the maximum"),
    (Fault::RejectComesAgainUntilClose, "settles once"),
    (Fault::ForgetsRequeueBesideAcks, "gives back what is dropped"),
    (Fault::NeverCounts, "counts redeliveries"),
    (Fault::CountsOnlyTheFirstOfASettle, "redelivers each as it was"),
    (Fault::LosesMetadataAtRedelivery, "redelivers each as it was"),
    (Fault::NewIdAtRedelivery, "redelivers each as it was"),
    (Fault::LosesUnsettledAtClose, "keeps at close what was not settled"),
    (Fault::AcksOnFetch, "keeps what was not settled when it is dropped"),
    (Fault::AckUndoneAtClose, "remembers what was acked"),
    (Fault::RejectUndoneAtClose, "remembers what was rejected"),
    (Fault::IdsOfItsOwnSession, "keeps ids over a reopen"),
    (Fault::MiscountsPending, "counts what is pending"),
    (Fault::CountsAllForEachWorker, "counts the share of each worker"),
    (Fault::CountsOneWhereNothingEverWas, "is empty when there is nothing"),
    (Fault::FindsAnother, "finds one by its id"),
    (Fault::LeavesWhatItFinds, "finds one by its id"),
    (Fault::LosesWhenCancelled, "loses nothing when a fetch is cancelled"),
    (Fault::LosesWhenSeveralFetch, "serves several fetches at once"),
    (Fault::FetchHangsClose, "closes while a fetch waits"),
    (Fault::OverlapsWithOthers, "is shared by two workers without overlap"),
    (Fault::DropsMetadata, "carries metadata"),
    (Fault::CutsPayload, "carries 1 MiB"),
    (Fault::PanicsAtLargePayloads, "carries 1 MiB"),
    (Fault::CutsBinary, "carries any bytes"),
    (Fault::OneOrigin, "tells places apart"),
    (Fault::LosesDispatched, "takes all"),
    (Fault::LosesOneOfSeveralAtOnce, "takes several dispatches at once"),
    (Fault::RefusesNone, "takes none"),
    (Fault::EmptiesInOpen, "leaves what is there until it begins"),
    (Fault::EmptiesInCheck, "leaves what is there until it begins"),
    (Fault::EmptiesAtRestart, "continues with what is there after a restart"),
    (Fault::LosesWhatItTakesAfterClose, "loses nothing that it takes after its close"),
    (Fault::DispatchDropsParent, "carries metadata"),
    (Fault::DispatchCutsPayload, "carries 1 MiB"),
    (Fault::DispatchCutsBinary, "carries any bytes"),
    (Fault::OneDestination, "tells places apart"),
];

/// Connectors that break more rules than the one that is made for them.
const MORE_THAN_ONE: &[(Fault, &str)] = &[
    (Fault::ForgetsAck, "settles once"),
    (Fault::ForgetsReject, "settles once"),
    (Fault::ForgetsRequeue, "gives back what is dropped"),
    (Fault::NewIds, "keeps ids over a reopen"),
    (Fault::PanicsWhenCounting, "counts what is pending"),
];

#[tokio::test(start_paused = true)]
async fn each_fault_breaks_the_rule_that_is_there_for_it() {
    for (fault, rule) in ONE_RULE {
        assert_eq!(broken(*fault).await, [*rule], "{fault:?}");
    }
    for (fault, rule) in MORE_THAN_ONE {
        let broken = broken(*fault).await;
        assert!(broken.contains(rule) && broken.len() > 1, "{fault:?} breaks {broken:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_rule_has_a_fault_that_breaks_it_alone() {
    let rules = all_rules(Fault::None).await;
    assert!(rules.len() > 25);
    for (rule, _) in rules {
        assert!(ONE_RULE.iter().any(|(_, broken)| *broken == rule), "no fault breaks `{rule}` alone");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_panics_is_tried_by_all_other_rules() {
    let outcomes = all_rules(Fault::PanicsInOpen).await;
    assert_eq!(outcomes.len(), all_rules(Fault::None).await.len());
    let panicked = |(_, outcome): &&Outcome| {
        let reason = outcome.as_ref().expect_err("nothing works");
        reason.starts_with("the connector panicked at ") && reason.ends_with("the library has a fault")
    };
    // Rules that never open the connector are kept: they only ask for endpoints.
    let opened: Vec<_> = outcomes.iter().filter(|(name, _)| *name != "tells places apart").collect();
    assert_eq!(opened.iter().copied().filter(panicked).count(), opened.len());
}

#[tokio::test]
#[should_panic(expected = "the sink `faulty` breaks")]
async fn a_broken_rule_fails_the_test() {
    sink(&FaultyQueues::new(Fault::LosesDispatched)).await;
}

#[tokio::test]
async fn without_a_fault_no_rule_is_broken() {
    duplex(&FaultyQueues::new(Fault::None)).await;
}
