//! Defines the tasks that the engine runs with the connector.

use std::time::Duration;

use ergon::connector::rabbitmq::RabbitMqConfig;
use ergon::prelude::*;
use ergon::testing;
use futures_util::stream::{self, Stream};
use serde::{Deserialize, Serialize};

use crate::{IN_FLIGHT, MESSAGES, OUTSTANDING, broker};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    id: String,
    amount: u64,
    note: String,
}

impl Order {
    pub(crate) fn new(number: usize) -> Self {
        Self { id: format!("order-{number:08}"), amount: number as u64, note: "x".repeat(200) }
    }
}

#[ergon::task(connectors(input), consumer(streaming = true))]
struct Decode;

impl Consumer for Decode {
    type Payload = Order;
    type Output = u64;

    async fn process_transaction(&self, transaction: &Transaction<Order>) -> Result<u64> {
        crate::handled();
        Ok(transaction.payload().amount)
    }
}

#[ergon::task(connectors(input, output), consumer(streaming = true))]
struct Pipe;

impl Consumer for Pipe {
    type Payload = Order;
    type Output = Transaction;

    async fn process_transaction(&self, transaction: &Transaction<Order>) -> Result<Transaction> {
        crate::handled();
        transaction.derive(transaction.payload())
    }

    async fn handle_process_success(&self, _: &Transaction<Order>, output: &Transaction) -> Result<()> {
        self.output_connector.dispatch(output.clone()).await
    }
}

#[ergon::task(connectors(output), producer())]
struct Publish;

impl Producer for Publish {
    type Payload = Order;
    type Output = Transaction;

    fn transactions(&self) -> impl Stream<Item = Result<Transaction<Order>>> + Send {
        stream::iter(
            (0..MESSAGES).map(|number| Transaction::typed(format!("o-{number}"), Order::new(number))),
        )
    }

    async fn prepare_transaction(&self, transaction: &Transaction<Order>) -> Result<Transaction> {
        crate::handled();
        Ok(transaction.forward())
    }

    async fn handle_prepare_success(&self, _: &Transaction<Order>, output: &Transaction) -> Result<()> {
        self.output_connector.dispatch(output.clone()).await
    }
}

fn input() -> RabbitMqConfig {
    RabbitMqConfig { prefetch: Some(IN_FLIGHT), ..RabbitMqConfig::new(broker::url(), broker::IN) }
}

async fn run(config: TaskConfig) -> Duration {
    let report = testing::run(config).await.unwrap();
    let took = crate::took();
    assert_eq!(report.tally.succeeded + report.tally.produced, MESSAGES as u64, "{report:?}");
    took
}

pub(crate) async fn consume() -> Duration {
    broker::filled().await;
    let config = Decode::config(DecodeWiring { input: input() });
    run(config.consumer(|policy| {
        policy.concurrency = 64;
        policy.prefetch = usize::from(IN_FLIGHT) - 64;
        policy.batch_size = 64;
        policy.limit = Some(MESSAGES as u64);
    }))
    .await
}

pub(crate) async fn pipe() -> Duration {
    broker::filled().await;
    let output = RabbitMqConfig::new(broker::url(), broker::OUT);
    let config = Pipe::config(PipeWiring { input: input(), output });
    run(config.consumer(|policy| {
        policy.concurrency = usize::from(IN_FLIGHT);
        policy.batch_size = usize::from(IN_FLIGHT);
        policy.limit = Some(MESSAGES as u64);
    }))
    .await
}

pub(crate) async fn publish(batch_size: usize) -> Duration {
    broker::fill(0).await;
    let config = Publish::config(PublishWiring { output: RabbitMqConfig::new(broker::url(), broker::OUT) });
    run(config.producer(|policy| {
        policy.concurrency = OUTSTANDING;
        policy.batch_size = batch_size;
    }))
    .await
}
