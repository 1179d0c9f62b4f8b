//! The simulated output and the simulated dead-letter connector.

use ergon::connector::Context;
use ergon::connector::ItemOutcome;
use ergon::connector::{Connector, ConnectorConfig, ConnectorError};
use ergon::prelude::*;

use super::event::{Event, Life};
use super::source::DELIVERY;
use super::world::World;

/// Makes a sink of a world.
#[derive(Debug, Clone)]
pub(super) struct SimulatedSinkConfig {
    /// Its world.
    pub(super) world: World,
    /// Whether it is the dead-letter connector.
    pub(super) letters: bool,
}

impl ConnectorConfig for SimulatedSinkConfig {
    type Connector = SimulatedSink;

    fn build(&self, _context: &Context) -> Result<SimulatedSink, ConnectorError> {
        let Self { world, letters } = self.clone();
        Ok(SimulatedSink { world, letters })
    }
}

/// A sink of a world.
#[derive(Debug)]
pub(super) struct SimulatedSink {
    world: World,
    letters: bool,
}

impl Connector for SimulatedSink {
    const KIND: &'static str = "simulated-sink";
}

impl Sink for SimulatedSink {
    async fn dispatch(&self, transactions: Vec<Transaction>) -> Result<(), ConnectorError> {
        self.world.dawdle().await;
        let answer = self.answer();
        if self.letters {
            let fate = match &answer {
                Some(Ok(())) => ItemOutcome::Done,
                Some(Err(error)) => error.outcome(0),
                None => ItemOutcome::Unknown,
            };
            for transaction in &transactions {
                self.world.log(Event::Letter(life(transaction), fate));
            }
        }
        match answer {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}

impl SimulatedSink {
    /// The answer to the caller; none if the sink hangs.
    fn answer(&self) -> Option<Result<(), ConnectorError>> {
        let plan = &self.world.plan;
        let (rate, what) = if self.letters {
            (plan.rates.letter, "the dead-letter connector fails or hangs")
        } else {
            (plan.rates.dispatch, "the output fails or hangs")
        };
        if !self.world.fault(rate, what) {
            return Some(Ok(()));
        }
        let policy = &plan.policy;
        let limited = policy.success.timeout.or(policy.transaction_timeout).is_some();
        match self.world.draw(5) {
            0 if self.letters || limited || plan.stops() => None,
            1 => Some(Err(ConnectorError::permanent("the sink is gone"))),
            2 => Some(Err(ConnectorError::unknown("the link broke after the dispatch"))),
            3 => Some(Err(ConnectorError::partial(vec![(0, ConnectorError::transient("full"))]))),
            _ => Some(Err(ConnectorError::transient("the link is down"))),
        }
    }
}

/// The life of the delivery to which a transaction belongs.
pub(super) fn life<P>(transaction: &Transaction<P>) -> Life {
    let delivery = transaction.metadata().get(DELIVERY).and_then(Value::as_u64);
    Life { delivery: delivery.unwrap_or(0), round: transaction.deliveries() }
}
