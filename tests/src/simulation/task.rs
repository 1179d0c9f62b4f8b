//! The simulated task: chance decides the behaviour of its handlers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ergon::prelude::*;
use ergon::service::{Service, ServiceConfig, ServiceError};
use ergon::telemetry::Step;
use tokio::time::sleep;

use super::event::{Event, How, Life};
use super::plan::millis;
use super::sink::{SimulatedSinkConfig, life};
use super::source::SimulatedSourceConfig;
use super::world::World;

impl Service for World {}

impl ServiceConfig for World {
    type Service = Self;

    fn build(&self) -> Result<Self, ServiceError> {
        Ok(self.clone())
    }
}

/// A consumer that by chance succeeds, fails, panics or is slow, and records each call.
#[ergon::task(connectors(input, output, letters), services(world: World), consumer())]
pub struct Simulated;

impl Consumer for Simulated {
    type Payload = usize;
    type Output = usize;

    async fn process_transaction(&self, transaction: &Transaction<usize>) -> Result<usize> {
        let call = Call::begin(&self.world_service, life(transaction), Step::Process);
        call.act().await?;
        call.end(How::Completed);
        Ok(*transaction.payload())
    }

    async fn handle_process_success(&self, transaction: &Transaction<usize>, _output: &usize) -> Result<()> {
        let call = Call::begin(&self.world_service, life(transaction), Step::Success);
        call.act().await?;
        if let Err(error) = self.output_connector.dispatch(transaction.forward()).await {
            call.end(How::Failed(error.category()));
            return Err(error);
        }
        call.end(How::Completed);
        Ok(())
    }

    async fn handle_process_exception(
        &self,
        transaction: &Transaction,
        _error: &TransactionError,
    ) -> Result<Disposition> {
        let call = Call::begin(&self.world_service, life(transaction), Step::Exception);
        call.act().await?;
        let disposition = call.decide();
        call.end(How::Decided(disposition));
        Ok(disposition)
    }
}

/// Wires the task to a world.
pub(super) fn config(world: &World) -> TaskConfig {
    let wiring = SimulatedWiring {
        input: SimulatedSourceConfig(world.clone()),
        output: SimulatedSinkConfig { world: world.clone(), letters: false },
        letters: SimulatedSinkConfig { world: world.clone(), letters: true },
        world: world.clone(),
    };
    Simulated::config(wiring).consumer(|policy| *policy = world.plan.policy.clone())
}

/// A call of a handler. A call that is dropped before its end was cancelled, or panicked.
struct Call<'a> {
    world: &'a World,
    life: Life,
    step: Step,
    ended: AtomicBool,
}

impl<'a> Call<'a> {
    fn begin(world: &'a World, life: Life, step: Step) -> Self {
        world.log(Event::Begun(life, step));
        Self { world, life, step, ended: AtomicBool::new(false) }
    }

    fn end(&self, how: How) {
        if !self.ended.swap(true, Ordering::Relaxed) {
            self.world.log(Event::Ended(self.life, self.step, how));
        }
    }

    /// Takes some time, and then perhaps fails or panics.
    async fn act(&self) -> Result<()> {
        match self.draw_wait() {
            Some(Duration::ZERO) => tokio::task::yield_now().await,
            Some(wait) => sleep(wait).await,
            None => (),
        }
        let rates = &self.world.plan.rates;
        assert!(self.world.draw(100) >= rates.handler_panics, "a defect of the handler");
        if self.world.draw(100) >= rates.handler_fails {
            return Ok(());
        }
        let error = match self.world.draw(4) {
            0 => TransactionError::business("simulated"),
            1 => TransactionError::timeout("simulated"),
            2 => TransactionError::system("simulated"),
            _ => TransactionError::system("simulated").with_retry_after(self.draw_millis(2_000)),
        };
        self.end(How::Failed(error.category()));
        Err(error)
    }

    fn draw_wait(&self) -> Option<Duration> {
        if self.world.draw(100) < self.world.plan.rates.handler_slow {
            let most = if self.world.draw(10) == 0 { 20_000 } else { 3_000 };
            return Some(self.draw_millis(most));
        }
        (self.world.draw(2) == 0).then_some(Duration::ZERO)
    }

    fn decide(&self) -> Disposition {
        match self.world.draw(8) {
            0 | 1 => Disposition::Ack,
            2 | 3 => Disposition::Requeue,
            4 => Disposition::RetryAfter(self.draw_millis(4_000)),
            _ => Disposition::Reject,
        }
    }

    fn draw_millis(&self, most: u64) -> Duration {
        millis(&mut self.world.state().rng, most)
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.end(if std::thread::panicking() { How::Panicked } else { How::Cancelled });
    }
}
