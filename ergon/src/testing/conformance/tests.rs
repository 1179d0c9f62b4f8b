//! The suite itself: each fault is found by the rule that is there for it.

use super::*;
use crate::connector::memory::{Memory, MemoryConfig, MemoryQueue};
use crate::connector::{self, Count, Disposition, Place, Receipt, Settlement, Sink};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    Loses,
    Doubles,
    IgnoresMax,
    ForgetsAck,
    ForgetsRequeue,
    NeverCounts,
    NewIds,
    MiscountsPending,
    LosesWhenCancelled,
    DropsMetadata,
    CutsPayload,
    LosesDispatched,
    OneOrigin,
    OneDestination,
}

#[derive(Clone)]
struct FaultyConfig(MemoryConfig, Fault);

struct Faulty(Memory, Fault);

impl ConnectorConfig for FaultyConfig {
    type Connector = Faulty;

    fn build(&self, context: &Context) -> Result<Faulty, ConnectorError> {
        Ok(Faulty(self.0.build(context)?, self.1))
    }
}

impl Connector for Faulty {
    const KIND: &'static str = "faulty";

    fn abilities(&self) -> connector::Abilities<'_> {
        connector::Abilities::none().count(self)
    }
}

impl Count for Faulty {
    async fn count(&self) -> Result<u64, ConnectorError> {
        Ok(self.0.count().await? + u64::from(self.1 == Fault::MiscountsPending))
    }
}

impl Source for Faulty {
    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        let more = usize::from(self.1 == Fault::IgnoresMax);
        let mut deliveries = self.0.fetch(&FetchRequest::new(request.max() + more)).await?;
        match self.1 {
            Fault::Loses if deliveries.len() > 50 => drop(deliveries.pop()),
            Fault::Doubles => {
                let double = deliveries.first().map(|delivery| delivery.transaction().clone());
                deliveries
                    .extend(double.map(|transaction| Delivery::new(transaction, Receipt::new(u64::MAX))));
            }
            Fault::LosesWhenCancelled => tokio::task::yield_now().await,
            _ => {}
        }
        Ok(deliveries.into_iter().map(|delivery| self.distorted(delivery)).collect())
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), ConnectorError> {
        let distorted = settlements.into_iter().map(|settlement| {
            let disposition = match (self.1, settlement.disposition()) {
                (Fault::ForgetsAck, Disposition::Ack) => Disposition::Requeue,
                (Fault::ForgetsRequeue, Disposition::Requeue) => Disposition::Ack,
                (_, disposition) => disposition,
            };
            Settlement::new(settlement.into_receipt(), disposition)
        });
        self.0.settle(distorted.collect()).await
    }

    fn origins(&self) -> Vec<Place> {
        if self.1 == Fault::OneOrigin { vec![Place::new("the queue")] } else { self.0.origins() }
    }
}

impl Sink for Faulty {
    async fn dispatch(&self, mut transactions: Vec<Transaction>) -> Result<(), ConnectorError> {
        if self.1 == Fault::LosesDispatched {
            transactions.pop();
        }
        self.0.dispatch(transactions).await
    }

    fn destinations(&self) -> Vec<Place> {
        if self.1 == Fault::OneDestination { vec![Place::new("the queue")] } else { self.0.destinations() }
    }
}

impl Faulty {
    fn distorted(&self, delivery: Delivery) -> Delivery {
        let (transaction, receipt) = delivery.into_parts();
        let made = || Transaction::builder().payload(transaction.payload().clone());
        let transaction = match self.1 {
            Fault::NeverCounts => transaction.with_deliveries(1),
            Fault::NewIds => made().build(),
            Fault::DropsMetadata => made().id(transaction.id()).build(),
            Fault::CutsPayload => {
                let mut bytes = transaction.payload().to_bytes().unwrap();
                bytes.truncate(100_000);
                let payload = Payload::bytes(transaction.payload().content_type().clone(), bytes);
                Transaction::builder().id(transaction.id()).payload(payload).build()
            }
            _ => transaction,
        };
        Delivery::new(transaction, receipt)
    }
}

struct FaultyQueues(Fault);

impl Fixture for FaultyQueues {
    type Config = FaultyConfig;

    async fn filled(&self, place: &str, transactions: Vec<Transaction>) -> FaultyConfig {
        let name = format!("{place}-{:?}", self.0);
        MemoryQueue::named(&name).extend(transactions);
        FaultyConfig(MemoryConfig::new(name), self.0)
    }

    async fn contents(&self, config: &FaultyConfig) -> Vec<Transaction> {
        MemoryQueue::named(&config.0.name).drain()
    }
}

#[tokio::test(start_paused = true)]
async fn each_fault_breaks_the_rule_that_is_there_for_it() {
    let expected = [
        (Fault::Loses, "delivers all, each once"),
        (Fault::Doubles, "delivers all, each once"),
        (Fault::IgnoresMax, "respects the maximum"),
        (Fault::ForgetsAck, "settles once"),
        (Fault::ForgetsRequeue, "gives back what is dropped"),
        (Fault::NeverCounts, "counts redeliveries"),
        (Fault::NewIds, "keeps ids over a reopen"),
        (Fault::MiscountsPending, "counts what is pending"),
        (Fault::LosesWhenCancelled, "loses nothing when a fetch is cancelled"),
        (Fault::DropsMetadata, "carries metadata"),
        (Fault::CutsPayload, "carries 1 MiB"),
        (Fault::LosesDispatched, "takes all"),
        (Fault::OneOrigin, "tells places apart"),
        (Fault::OneDestination, "tells places apart"),
    ];
    for (fault, rule) in expected {
        let fixture = FaultyQueues(fault);
        let outcomes = [source::rules(&fixture).await, sink::rules(&fixture).await].concat();
        let broken: Vec<_> =
            outcomes.iter().filter(|(_, outcome)| outcome.is_err()).map(|(name, _)| name).collect();
        assert!(broken.contains(&&rule), "{fault:?} breaks only {broken:?}");
    }
}

#[tokio::test]
#[should_panic(expected = "the sink `faulty` breaks")]
async fn a_broken_rule_fails_the_test() {
    sink(&FaultyQueues(Fault::LosesDispatched)).await;
}

#[tokio::test]
async fn without_a_fault_no_rule_is_broken() {
    duplex(&FaultyQueues(Fault::None)).await;
}
