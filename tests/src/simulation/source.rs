//! The simulated source: delivers, redelivers, and records every receipt.

use std::time::Duration;

use ergon::connector::prelude::*;
use ergon::connector::{Context, ItemOutcome};
use ergon::prelude::*;
use ergon::transaction::Payload;
use tokio::time::{Instant, sleep_until};

use super::event::Event;
use super::world::{HandedOut, World};

/// The key under which a transaction carries the number of its delivery.
pub(super) const DELIVERY: &str = "delivery";

/// Makes the source of a world.
#[derive(Debug, Clone)]
pub(super) struct SimulatedSourceConfig(pub(super) World);

impl ConnectorConfig for SimulatedSourceConfig {
    type Connector = SimulatedSource;

    fn build(&self, _context: &Context) -> Result<SimulatedSource, ConnectorError> {
        Ok(SimulatedSource { world: self.0.clone() })
    }
}

/// The source of a world.
#[derive(Debug)]
pub(super) struct SimulatedSource {
    world: World,
}

/// The part of a receipt next to its number, so that a receipt of another delivery is recognized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Token {
    transaction: usize,
    deliveries: u32,
}

/// The fault of a settle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Transient,
    Permanent,
    Partial,
    Unknown,
    Panics,
    Hangs,
}

impl Connector for SimulatedSource {
    const KIND: &'static str = "simulated-source";
}

impl Source for SimulatedSource {
    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        let asked = Asked::log(&self.world, request.max());
        if self.world.too_much() {
            std::future::pending::<()>().await;
        }
        self.world.dawdle().await;
        self.fail_to_fetch().await?;
        loop {
            let deliveries = self.hand_out(request.max());
            let waits = self.world.plan.push && request.waits();
            if !deliveries.is_empty() || !waits {
                asked.answered(deliveries.is_empty());
                return Ok(deliveries);
            }
            self.wait().await;
        }
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), ConnectorError> {
        let fault = self.draw_fault();
        let failures = self.take_in(&settlements, fault);
        self.world.arrived.notify_one();
        self.world.dawdle().await;
        match fault {
            Fault::None => Ok(()),
            Fault::Transient => Err(ConnectorError::transient("the link broke before the settle")),
            Fault::Permanent => Err(ConnectorError::permanent("settling is not allowed")),
            Fault::Unknown => Err(ConnectorError::unknown("the link broke after the settle")),
            Fault::Partial => Err(ConnectorError::partial(failures)),
            Fault::Panics => defect(),
            Fault::Hangs => std::future::pending().await,
        }
    }
}

/// A fetch without an answer. If it is dropped without an answer, it failed.
struct Asked<'a>(Option<&'a World>);

impl<'a> Asked<'a> {
    fn log(world: &'a World, max: usize) -> Self {
        world.log(Event::Asked(max));
        Self(Some(world))
    }

    fn answered(mut self, empty: bool) {
        if let Some(world) = self.0.take().filter(|_| empty) {
            world.log(Event::Empty);
        }
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if let Some(world) = self.0 {
            world.log(Event::FetchFailed);
        }
    }
}

#[expect(clippy::panic, reason = "the defect that is simulated")]
fn defect() -> ! {
    panic!("a defect of the source")
}

impl SimulatedSource {
    async fn fail_to_fetch(&self) -> Result<(), ConnectorError> {
        let plan = &self.world.plan;
        if !self.world.fault(plan.rates.fetch, "the fetch fails or hangs") {
            return Ok(());
        }
        let may_hang = plan.stops() || plan.policy.fetch.timeout.is_some();
        let draw = self.world.draw(10);
        if may_hang && draw < 3 {
            return std::future::pending().await;
        }
        match draw {
            9 => Err(ConnectorError::permanent("the queue is gone")),
            _ => Err(ConnectorError::transient("the link is down")),
        }
    }

    fn hand_out(&self, max: usize) -> Vec<Delivery> {
        let now = Instant::now();
        let mut deliveries = Vec::new();
        while deliveries.len() < max
            && let Some(delivery) = self.hand_out_one(now)
        {
            deliveries.push(delivery);
        }
        deliveries
    }

    fn hand_out_one(&self, now: Instant) -> Option<Delivery> {
        let mut state = self.world.state();
        let first = state.waiting.iter().position(|waiting| waiting.from <= now)?;
        let waiting = state.waiting.remove(first)?;
        let planned = self.world.plan.transactions.get(waiting.transaction)?;
        state.last_delivery += 1;
        let (delivery, epoch) = (state.last_delivery, state.rng.u64(1..1 << 40));
        let (transaction, deliveries) = (waiting.transaction, waiting.deliveries + 1);
        state.out.insert(delivery, HandedOut { transaction, deliveries, epoch });
        drop(state);
        self.world.log(Event::HandedOut { delivery, transaction, id: planned.id, deliveries });
        let payload =
            if planned.decodes { Payload::value(Value::from(transaction)) } else { Payload::text("?") };
        let made = Transaction::builder()
            .id(format!("t{}", planned.id))
            .payload(payload)
            .metadata(DELIVERY, delivery)
            .deliveries(deliveries)
            .build();
        let receipt = Receipt::new(delivery).with_epoch(epoch).with_token(Token { transaction, deliveries });
        Some(Delivery::new(made, receipt))
    }

    /// Waits for the next transaction that can be fetched.
    async fn wait(&self) {
        let next = self.world.state().waiting.iter().map(|waiting| waiting.from).min();
        let far = Instant::now() + Duration::from_secs(3600);
        tokio::select! {
            biased;
            () = self.world.arrived.notified() => (),
            () = sleep_until(next.unwrap_or(far)) => (),
        }
    }

    fn draw_fault(&self) -> Fault {
        if !self.world.fault(self.world.plan.rates.settle, "the settle fails or hangs") {
            return Fault::None;
        }
        match self.world.draw(6) {
            0 => Fault::Transient,
            1 => Fault::Permanent,
            2 => Fault::Panics,
            3 if self.world.plan.stops() => Fault::Hangs,
            4 => Fault::Unknown,
            _ => Fault::Partial,
        }
    }

    /// Applies the settlements that arrive. Returns the settlements that failed.
    fn take_in(&self, settlements: &[Settlement], fault: Fault) -> Vec<(usize, ConnectorError)> {
        let mut order: Vec<_> = settlements.iter().enumerate().collect();
        // The deliveries that are given back at a stop arrive in any order, and chance must not depend on this order.
        order.sort_by_key(|(_, settlement)| settlement.receipt().tag());
        let mut failures = Vec::new();
        for (index, settlement) in order {
            let (applied, told) = self.fate(fault);
            self.take_in_one(settlement, applied, told);
            match told {
                ItemOutcome::Done => (),
                ItemOutcome::NotDone => failures.push((index, ConnectorError::transient("refused"))),
                ItemOutcome::Unknown => failures.push((index, ConnectorError::unknown("no answer"))),
            }
        }
        failures
    }

    /// Whether one settlement is applied, and the answer to the engine.
    fn fate(&self, fault: Fault) -> (bool, ItemOutcome) {
        match fault {
            Fault::None => (true, ItemOutcome::Done),
            Fault::Transient | Fault::Permanent => (false, ItemOutcome::NotDone),
            Fault::Unknown | Fault::Panics | Fault::Hangs => (self.world.draw(2) == 0, ItemOutcome::Unknown),
            Fault::Partial => match self.world.draw(4) {
                0 => (false, ItemOutcome::NotDone),
                1 => (false, ItemOutcome::Unknown),
                2 => (true, ItemOutcome::Unknown),
                _ => (true, ItemOutcome::Done),
            },
        }
    }

    fn take_in_one(&self, settlement: &Settlement, applied: bool, told: ItemOutcome) {
        let (receipt, disposition) = (settlement.receipt(), settlement.disposition());
        let delivery = receipt.tag();
        let mut state = self.world.state();
        let out = state.out.remove(&delivery);
        let genuine = out.is_some_and(|out| {
            let token = Token { transaction: out.transaction, deliveries: out.deliveries };
            receipt.epoch() == out.epoch && receipt.token::<Token>() == Some(&token)
        });
        if let Some(out) = out {
            state.redrive(out, disposition, applied, told == ItemOutcome::Done);
        }
        drop(state);
        self.world.log(Event::Settled { delivery, genuine, disposition, applied, told });
    }
}
