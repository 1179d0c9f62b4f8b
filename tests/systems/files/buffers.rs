//! Tests sinks with buffers: the engine flushes them before it settles, and gives back each delivery of which a flush
//! lost a transaction.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ergon::connector::SinkBuffer;
use ergon::connector::prelude::*;
use ergon::prelude::*;
use ergon::testing;

const COUNT: u32 = 1000;

/// The source and the sink of a run, and the order of events between them.
#[derive(Debug, Clone, Default)]
struct Ledger(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    next: u32,
    returned: VecDeque<u32>,
    acknowledged: Vec<u32>,
    /// Transactions that were pushed and not flushed, each with the number that the engine gave it.
    held: Vec<(u64, u32)>,
    /// Transactions that were flushed.
    there: Vec<u32>,
    lost: Vec<u64>,
    /// The number of flushes with at least one transaction.
    flushes: u32,
    /// The number of the next flushes that fail.
    fails: u32,
}

impl Ledger {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone)]
struct NumbersConfig(Ledger);
struct Numbers(Ledger);

impl ConnectorConfig for NumbersConfig {
    type Connector = Numbers;

    fn build(&self, _: &Context) -> Result<Numbers, ConnectorError> {
        Ok(Numbers(self.0.clone()))
    }
}

impl Connector for Numbers {
    const KIND: &'static str = "numbers";
}

impl Source for Numbers {
    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        let mut state = self.0.state();
        let mut next = || {
            state.returned.pop_front().or_else(|| {
                state.next += 1;
                (state.next <= COUNT).then_some(state.next)
            })
        };
        let numbers: Vec<u32> = std::iter::from_fn(&mut next).take(request.max()).collect();
        let delivery =
            |n: u32| Delivery::new(Transaction::new(n.to_string(), &n).unwrap(), Receipt::new(u64::from(n)));
        Ok(numbers.into_iter().map(delivery).collect())
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), ConnectorError> {
        let mut state = self.0.state();
        for settlement in settlements {
            let n = u32::try_from(settlement.receipt().tag()).unwrap();
            match settlement.disposition() {
                Disposition::Ack => {
                    assert!(state.there.contains(&n), "{n} is acknowledged and not at the other side");
                    state.acknowledged.push(n);
                }
                _ => state.returned.push_back(n),
            }
        }
        Ok(())
    }
}

#[derive(Clone)]
struct PagesConfig(Ledger);
struct Pages(Ledger);

impl ConnectorConfig for PagesConfig {
    type Connector = Pages;

    fn build(&self, _: &Context) -> Result<Pages, ConnectorError> {
        Ok(Pages(self.0.clone()))
    }
}

impl Connector for Pages {
    const KIND: &'static str = "pages";
}

impl Sink for Pages {
    async fn dispatch(&self, transactions: Vec<Transaction>) -> Result<(), ConnectorError> {
        self.flush()?;
        let numbers = transactions.iter().map(|transaction| transaction.decode::<u32>().unwrap());
        self.0.state().there.extend(numbers);
        Ok(())
    }

    fn buffer(&self) -> Option<&dyn SinkBuffer> {
        Some(self)
    }
}

impl SinkBuffer for Pages {
    fn push(&self, transactions: &[Transaction], first: u64) -> Option<Result<(), ConnectorError>> {
        let numbers = transactions.iter().map(|transaction| transaction.decode::<u32>().unwrap());
        self.0.state().held.extend((first..).zip(numbers));
        Some(Ok(()))
    }

    fn flush(&self) -> Result<(), ConnectorError> {
        let mut state = self.0.state();
        let held = std::mem::take(&mut state.held);
        if held.is_empty() {
            return Ok(());
        }
        state.flushes += 1;
        if let Some(left) = state.fails.checked_sub(1) {
            state.fails = left;
            state.lost.extend(held.iter().map(|(number, _)| *number));
            return Err(ConnectorError::transient("the printer is out of paper"));
        }
        state.there.extend(held.iter().map(|(_, n)| *n));
        Ok(())
    }

    fn lost(&self) -> Vec<u64> {
        self.0.state().lost.clone()
    }
}

#[ergon::task(connectors(input, output), consumer(batch_size = 100))]
struct Print;

impl Consumer for Print {
    type Payload = u32;
    type Output = ();

    async fn process_transaction(&self, _: &Transaction<u32>) -> Result<()> {
        Ok(())
    }

    async fn handle_process_success(&self, n: &Transaction<u32>, (): &()) -> Result<()> {
        self.output_connector.dispatch(n.forward()).await
    }
}

async fn printed(ledger: &Ledger, lanes: usize) -> ergon::telemetry::Tally {
    let config = Print::config(PrintWiring {
        input: NumbersConfig(ledger.clone()),
        output: PagesConfig(ledger.clone()),
    });
    let report = testing::run(config.consumer(|policy| policy.concurrency = lanes)).await.unwrap();
    let mut state = ledger.state();
    state.there.sort_unstable();
    state.acknowledged.sort_unstable();
    let all: Vec<u32> = (1..=COUNT).collect();
    assert_eq!((&state.there, &state.acknowledged), (&all, &all), "{lanes} lanes");
    report.tally
}

#[tokio::test]
async fn what_is_pushed_is_flushed_before_it_is_settled_and_many_together() {
    for lanes in [1, 64] {
        let ledger = Ledger::default();
        let tally = printed(&ledger, lanes).await;
        assert_eq!((tally.succeeded, tally.requeued), (u64::from(COUNT), 0));
        let flushes = ledger.state().flushes;
        assert!(flushes < COUNT, "{lanes} lanes: {flushes} flushes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_a_flush_lost_comes_again() {
    for (lanes, fails) in [(1, 1), (8, 3), (64, 2)] {
        let ledger = Ledger::default();
        ledger.state().fails = fails;
        let tally = printed(&ledger, lanes).await;
        let lost = ledger.state().lost.len() as u64;
        assert!(lost >= u64::from(fails), "{lost} were lost");
        assert_eq!((tally.succeeded, tally.given_back), (u64::from(COUNT), lost));
    }
}
