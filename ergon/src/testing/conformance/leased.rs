//! Tests the rules of leases: for each rule, a connector that breaks this rule must fail this rule and no other rule.

use std::sync::{Mutex, MutexGuard, OnceLock};

use tokio::time::Instant;

use super::*;
use crate::connector::kit::{Extend, Leases};

const LENGTH: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    ExtendsOnce,
    NeverReportsLost,
    AppliesStaleSettlements,
    AppliesWhatItRefuses,
}

/// A queue that delivers a message again when its lease has ended.
#[derive(Default)]
struct Queue {
    messages: Mutex<Vec<Message>>,
}

struct Message {
    transaction: Transaction,
    /// The time from which the message may be delivered: the end of its lease, if it has a lease.
    visible: Instant,
    deliveries: u32,
    /// The number of extensions of the present lease.
    extensions: u32,
}

/// Identifies a message, and one of its deliveries.
#[derive(Clone)]
struct Token {
    id: String,
    delivery: u32,
}

impl Queue {
    fn messages(&self) -> MutexGuard<'_, Vec<Message>> {
        self.messages.lock().unwrap()
    }

    /// Changes the message of a token, if this delivery of it is the latest and its lease has not ended.
    fn leased(&self, token: &Token, change: impl FnOnce(&mut Message)) -> bool {
        let mut messages = self.messages();
        let latest = |message: &&mut Message| {
            message.transaction.id() == token.id
                && message.deliveries == token.delivery
                && message.visible > Instant::now()
        };
        messages.iter_mut().find(latest).map(change).is_some()
    }

    fn remove(&self, token: &Token) {
        self.messages().retain(|message| message.transaction.id() != token.id);
    }
}

#[derive(Clone)]
struct LeasedConfig(Arc<Queue>, Fault);

struct Leased {
    queue: Arc<Queue>,
    fault: Fault,
    leases: OnceLock<Leases<Token>>,
}

struct Client(Arc<Queue>, Fault);

impl Extend<Token> for Client {
    async fn extend(&self, tokens: Vec<Token>) -> Result<Vec<usize>, ConnectorError> {
        let Self(queue, fault) = self;
        let ends = Instant::now() + LENGTH;
        let extend = |message: &mut Message| {
            if *fault != Fault::ExtendsOnce || message.extensions == 0 {
                message.visible = ends;
            }
            message.extensions += 1;
        };
        let lost = tokens.iter().enumerate().filter(|(_, token)| !queue.leased(token, extend));
        let lost = lost.map(|(index, _)| index).collect();
        Ok(if *fault == Fault::NeverReportsLost { Vec::new() } else { lost })
    }
}

impl ConnectorConfig for LeasedConfig {
    type Connector = Leased;

    fn build(&self, _: &Context) -> Result<Leased, ConnectorError> {
        Ok(Leased { queue: Arc::clone(&self.0), fault: self.1, leases: OnceLock::new() })
    }
}

impl Leased {
    fn leases(&self) -> &Leases<Token> {
        let client = || Client(Arc::clone(&self.queue), self.fault);
        self.leases.get_or_init(|| Leases::start("conformance.connector", LENGTH, client()))
    }

    fn settle_one(&self, settlement: &Settlement) -> Result<(), ConnectorError> {
        let token = self.leases().release(settlement.receipt())?;
        let (now, mut done) = (Instant::now(), false);
        let settled = self.queue.leased(&token, |message| match settlement.disposition() {
            Disposition::Requeue => message.visible = now,
            Disposition::RetryAfter(wait) => message.visible = now + wait,
            Disposition::Ack | Disposition::Reject => done = true,
        });
        if done
            || (!settled
                && matches!(self.fault, Fault::AppliesStaleSettlements | Fault::AppliesWhatItRefuses))
        {
            self.queue.remove(&token);
        }
        let accepted = settled || self.fault == Fault::AppliesStaleSettlements;
        if accepted { Ok(()) } else { Err(ConnectorError::unknown("the lease is lost")) }
    }
}

impl Connector for Leased {
    const KIND: &'static str = "leased";

    async fn close(&self) -> Result<(), ConnectorError> {
        for token in self.leases().close() {
            self.queue.leased(&token, |message| message.visible = Instant::now());
        }
        Ok(())
    }
}

impl Source for Leased {
    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        let now = Instant::now();
        let mut messages = self.queue.messages();
        let visible = messages.iter_mut().filter(|message| message.visible <= now).take(request.max());
        let deliver = |message: &mut Message| {
            (message.visible, message.deliveries, message.extensions) =
                (now + LENGTH, message.deliveries + 1, 0);
            let token = Token { id: message.transaction.id().to_owned(), delivery: message.deliveries };
            let transaction = message.transaction.clone().with_deliveries(message.deliveries);
            Delivery::new(transaction, self.leases().hold(token, now))
        };
        Ok(visible.map(deliver).collect())
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), ConnectorError> {
        let settled = settlements.iter().map(|settlement| self.settle_one(settlement)).enumerate();
        let failed: Vec<_> = settled.filter_map(|(index, settled)| Some((index, settled.err()?))).collect();
        if failed.is_empty() { Ok(()) } else { Err(ConnectorError::partial(failed)) }
    }
}

struct LeasedQueues(Fault);

impl Fixture for LeasedQueues {
    type Config = LeasedConfig;

    async fn filled(&self, _: &str, transactions: Vec<Transaction>) -> LeasedConfig {
        let visible = Instant::now();
        let message = |transaction| Message { transaction, visible, deliveries: 0, extensions: 0 };
        let messages = transactions.into_iter().map(message).collect();
        LeasedConfig(Arc::new(Queue { messages: Mutex::new(messages) }), self.0)
    }

    async fn contents(&self, _: &LeasedConfig) -> Vec<Transaction> {
        Vec::new()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { leases: Some(LENGTH), ..Capabilities::default() }
    }

    async fn take_back(&self, config: &LeasedConfig) {
        config.0.messages().iter_mut().for_each(|message| message.visible = Instant::now());
    }
}

#[tokio::test(start_paused = true)]
async fn each_fault_of_a_leased_source_breaks_the_rule_that_is_there_for_it() {
    let (keeps, reports, refuses) = (
        "keeps a delivery while it extends its lease",
        "reports a lease that is lost",
        "refuses a settlement after its lease is lost",
    );
    for (fault, rule) in [
        (Fault::None, None),
        (Fault::ExtendsOnce, Some(keeps)),
        (Fault::NeverReportsLost, Some(reports)),
        (Fault::AppliesStaleSettlements, Some(refuses)),
        (Fault::AppliesWhatItRefuses, Some(refuses)),
    ] {
        let outcomes = source::rules(&LeasedQueues(fault)).await;
        assert!([keeps, reports, refuses].iter().all(|rule| outcomes.iter().any(|(name, _)| name == rule)));
        let broken: Vec<_> = outcomes.into_iter().filter(|(_, outcome)| outcome.is_err()).collect();
        let names: Vec<_> = broken.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, rule.into_iter().collect::<Vec<_>>(), "{fault:?}: {broken:?}");
    }
}
