//! Provides a task without the engine: enough of a loop to test the code that runs tasks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use crate::connector::memory::{Memory, MemoryConfig};
use crate::connector::{
    Connector, ConnectorConfig, ConnectorError, Context, Delivery, Disposition, FetchRequest, Settlement,
    Sink, Source,
};
use crate::policy::{ConsumerPolicy, Policies};
use crate::service::{Service, ServiceConfig, ServiceError};
use crate::task::{Form, Parts, Program, Runnable, Setup, Snapshot, Task, TaskConfig};
use crate::telemetry::{Ended, Rejection, RunReport, SingleReport, Step, StepReport, Tally};
use crate::transaction::{Category, Transaction, TransactionError};

/// The name and the type of the fake task.
pub(crate) struct PriceOrders;

impl Task for PriceOrders {
    const NAME: &'static str = "price-orders";
}

/// A task that takes numbers from the memory queue `queue`. Odd numbers are rejected, 13 makes its handler fail, and at
/// 99 it waits for a stop.
pub(crate) fn price_orders(queue: &str, policy: ConsumerPolicy) -> TaskConfig {
    fake::<PriceOrders>(queue, policy)
}

/// The same under another name.
pub(crate) fn fake<T: Task>(queue: &str, policy: ConsumerPolicy) -> TaskConfig {
    let program = Fake { queue: queue.to_owned() };
    let policies = Policies { consumer: Some(policy), producer: None };
    TaskConfig::new::<T>(Form::Async, policies, Arc::new(program))
        .__source::<MemoryConfig>("input")
        .__sink::<MemoryConfig>("output")
        .__sink::<StubbornConfig>("dlq")
}

struct Fake {
    queue: String,
}

impl Program for Fake {
    fn assemble(&self, parts: &mut Parts) -> Option<Box<dyn Runnable>> {
        let queue = MemoryConfig::new(&self.queue);
        let input = if self.queue.contains("no-ids") {
            parts.source("input", &BlindConfig(queue))
        } else {
            parts.source("input", &queue)
        };
        let output = parts.sink("output", &MemoryConfig::new(format!("{}-out", self.queue)));
        let dlq = parts.sink("dlq", &StubbornConfig(self.queue.clone()));
        input?;
        output?;
        dlq?;
        Some(Box::new(FakeTask))
    }
}

struct FakeTask;

impl Runnable for FakeTask {
    fn run(&self, setup: Setup) -> BoxFuture<'_, RunReport> {
        Box::pin(async move {
            let began = Instant::now();
            let mut tally = Tally::default();
            let deliveries = setup.inputs[0].1.fetch(&FetchRequest::new(1000)).await.unwrap();
            let mut settlements = Vec::new();
            for delivery in deliveries {
                let number: u64 = delivery.transaction().decode().unwrap();
                if number == 99 {
                    let shown = Snapshot { tally: tally.clone(), in_flight: 1, undelivered: None };
                    setup.monitor.attach(move || shown.clone());
                    setup.stop.drain.cancelled().await;
                }
                count(&mut tally, number, delivery.transaction().id());
                settlements.push(delivery.settle(Disposition::Ack));
            }
            setup.inputs[0].1.settle(settlements).await.unwrap();
            let stopped = setup.stop.drain.is_cancelled();
            let ended = if stopped { Ended::Stopped { given_back: 0 } } else { Ended::SourceEmpty };
            RunReport::new(setup.task, tally, began.elapsed(), ended)
        })
    }

    fn process(&self, setup: Setup, transaction: Transaction, _: bool) -> BoxFuture<'_, SingleReport> {
        Box::pin(async move {
            let mut report = SingleReport::new(transaction.id());
            let number: Result<u64, _> = transaction.decode();
            if matches!(number, Ok(99)) {
                setup.stop.abort.cancelled().await;
                return SingleReport::given_back(transaction.id());
            }
            let error = number.as_ref().err().map(ToString::to_string);
            report.steps.push(StepReport::new(Step::Process, 1, Duration::from_millis(2), error));
            match number {
                Ok(number) => report.output = Some((number * 2).into()),
                Err(error) => report.error = Some(error),
            }
            report.disposition = Some(if report.error.is_none() { "ack" } else { "reject" });
            report
        })
    }
}

fn count(tally: &mut Tally, number: u64, id: &str) {
    tally.fetched += 1;
    tally.processed += 1;
    tally.record(Step::Process, Duration::from_micros(number));
    if number == 13 {
        tally.handler_failures += 1;
    }
    if number.is_multiple_of(2) {
        tally.succeeded += 1;
        return;
    }
    let error = TransactionError::business(format!("{number} is odd"));
    tally.failed.add(error.category());
    let message = error.message().to_owned();
    tally.reject(|| Rejection { id: id.to_owned(), category: Category::Business, message });
}

/// A queue that cannot find a transaction by its id.
#[derive(Clone)]
struct BlindConfig(MemoryConfig);

struct Blind(Memory);

impl ConnectorConfig for BlindConfig {
    type Connector = Blind;

    fn build(&self, context: &Context) -> Result<Blind, ConnectorError> {
        self.0.build(context).map(Blind)
    }
}

impl Connector for Blind {
    const KIND: &'static str = "blind";
}

impl Source for Blind {
    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        self.0.fetch(request).await
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), ConnectorError> {
        self.0.settle(settlements).await
    }
}

/// A sink that cannot be built, opened or closed, depending on the name of its queue.
#[derive(Clone)]
struct StubbornConfig(String);

struct Stubborn(String);

impl ConnectorConfig for StubbornConfig {
    type Connector = Stubborn;

    fn build(&self, _: &Context) -> Result<Stubborn, ConnectorError> {
        if self.0.contains("never-built") {
            return Err(ConnectorError::permanent("it is never built"));
        }
        Ok(Stubborn(self.0.clone()))
    }
}

impl Connector for Stubborn {
    const KIND: &'static str = "stubborn";

    async fn open(&self) -> Result<(), ConnectorError> {
        if self.0.contains("stays-shut") {
            return Err(ConnectorError::permanent("it stays shut").with_hint("knock twice"));
        }
        if self.0.contains("never-opens") { std::future::pending().await } else { Ok(()) }
    }

    async fn close(&self) -> Result<(), ConnectorError> {
        if self.0.contains("stays-open") {
            Err(ConnectorError::permanent("the disk is full"))
        } else {
            Ok(())
        }
    }
}

impl Sink for Stubborn {
    async fn dispatch(&self, _: Vec<Transaction>) -> Result<(), ConnectorError> {
        Ok(())
    }
}

/// The name of a task with parts that cannot be built.
pub(crate) struct ShipOrders;

impl Task for ShipOrders {
    const NAME: &'static str = "ship-orders";
}

/// A task whose source and one service can be built; two sinks and the other service cannot.
pub(crate) fn ship_orders(queue: &str, policy: ConsumerPolicy) -> TaskConfig {
    let program = Shipping { queue: queue.to_owned() };
    let policies = Policies { consumer: Some(policy), producer: None };
    TaskConfig::new::<ShipOrders>(Form::Async, policies, Arc::new(program))
        .__source::<MemoryConfig>("input")
        .__sink::<Missing>("output")
        .__sink::<Missing>("dlq")
        .__service::<Carrier>("carrier")
        .__service::<Carrier>("rival")
}

struct Shipping {
    queue: String,
}

impl Program for Shipping {
    fn assemble(&self, parts: &mut Parts) -> Option<Box<dyn Runnable>> {
        let input = parts.source("input", &MemoryConfig::new(&self.queue));
        let output = parts.sink("output", &Missing("region"));
        let dlq = parts.sink("dlq", &Missing("bucket"));
        let carrier = parts.service("carrier", &Carrier(None));
        let rival = parts.service("rival", &Carrier(Some("paper plane")));
        input?;
        output?;
        dlq?;
        carrier?;
        rival?;
        Some(Box::new(FakeTask))
    }
}

/// The config of a sink without a required value.
#[derive(Clone)]
struct Missing(&'static str);

impl ConnectorConfig for Missing {
    type Connector = Stubborn;

    fn build(&self, _: &Context) -> Result<Stubborn, ConnectorError> {
        Err(ConnectorError::permanent(format!("there is no `{}`", self.0)).with_hint("name one"))
    }
}

/// A service that knows a single means of transport.
#[derive(Clone)]
struct Carrier(Option<&'static str>);

impl Service for Carrier {}

impl ServiceConfig for Carrier {
    type Service = Self;

    fn build(&self) -> Result<Self, ServiceError> {
        match self.0 {
            Some(means) => {
                Err(ServiceError::new("the means cannot be read").with_source(format!("`{means}`")))
            }
            None => Ok(self.clone()),
        }
    }
}
