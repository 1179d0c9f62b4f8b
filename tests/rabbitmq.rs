//! The RabbitMQ connector against a real broker: run with `ERGON_TEST_AMQP_URL=amqp://guest:guest@127.0.0.1`.

#![allow(clippy::expect_used, reason = "test support: a panic is a failed test")]

use ergon::Transaction;
use ergon::connector::rabbitmq::{RabbitMq, RabbitMqConfig};
use ergon::connector::{Connector, ConnectorConfig, Context, Sink, Usage};
use ergon::testing::conformance::{self, Fixture};
use serde_json::json;

fn url() -> String {
    std::env::var("ERGON_TEST_AMQP_URL").expect("it was set when the tests were built")
}

/// A queue of this test's own, gone a minute after its last use.
fn queue(name: &str, kind: &str) -> RabbitMqConfig {
    let name = format!("ergon.test.{}.{:x}.{name}", std::process::id(), fastrand::u64(..));
    let config = json!({
        "url": url(),
        "queue": name,
        "prefetch": 1000,
        "declare": { "kind": kind, "arguments": { "x-expires": 60_000 } },
    });
    serde_json::from_value(config).expect("a config")
}

async fn open(config: &RabbitMqConfig, usage: Usage) -> RabbitMq {
    let mut context = Context::new("test", "queue");
    context.usage = usage;
    let connector = config.build(&context).expect("built");
    connector.open().await.expect("open");
    connector
}

struct Queues;

impl Fixture for Queues {
    type Config = RabbitMqConfig;

    async fn filled(&self, place: &str, transactions: Vec<Transaction>) -> RabbitMqConfig {
        let config = queue(place, "quorum");
        let sink = open(&config, Usage::Sink).await;
        sink.dispatch(transactions).await.expect("published");
        sink.close().await.expect("closed");
        config
    }

    async fn contents(&self, config: &RabbitMqConfig) -> Vec<Transaction> {
        conformance::read(config).await.expect("read")
    }
}

#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
#[tokio::test(flavor = "multi_thread")]
async fn it_passes_the_conformance_suite() {
    conformance::duplex(&Queues).await;
}
