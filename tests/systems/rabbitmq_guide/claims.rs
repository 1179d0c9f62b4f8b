//! Tests the claims of the page about dispositions and queues that may surprise a reader.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ergon::connector::rabbitmq::RabbitMqConfig;
use ergon::connector::{Connector, ConnectorConfig, Context, Direction, Sink};
use ergon::prelude::*;
use ergon::service::{Service, ServiceConfig, ServiceError};
use ergon::testing::{self, Running};
use ergon::transaction::Payload;
use ergon_tests::until;
use serde_json::{Value, json};

use super::{client, config, own_name, url};

/// A time limit that is longer than every step that works.
const PATIENCE: Duration = Duration::from_secs(30);

/// The disposition of every message, and the number of calls; injected as a service.
#[derive(Clone)]
struct Fate {
    disposition: Disposition,
    seen: Arc<AtomicU32>,
}

impl Service for Fate {}

impl ServiceConfig for Fate {
    type Service = Self;

    fn build(&self) -> Result<Self, ServiceError> {
        Ok(self.clone())
    }
}

impl Fate {
    fn new(disposition: Disposition) -> Self {
        Self { disposition, seen: Arc::default() }
    }

    fn seen(&self) -> u32 {
        self.seen.load(Ordering::SeqCst)
    }
}

#[ergon::task(connectors(input), services(fate: Fate), consumer(streaming, max_deliveries = 3))]
struct Fail;

impl Consumer for Fail {
    type Payload = Payload;
    type Output = ();

    async fn process_transaction(&self, _: &Transaction<Payload>) -> Result<()> {
        self.fate_service.seen.fetch_add(1, Ordering::SeqCst);
        Err(TransactionError::system("not now"))
    }

    async fn handle_process_exception(&self, _: &Transaction, _: &TransactionError) -> Result<Disposition> {
        Ok(self.fate_service.disposition)
    }
}

/// A queue with this many messages, deleted a minute after its last use.
async fn filled(declare: Value, messages: usize) -> RabbitMqConfig {
    let mut queue = json!({"url": url(), "queue": own_name(), "declare": declare});
    queue["declare"]["arguments"]["x-expires"] = json!(60_000);
    let queue = config(queue);
    let mut context = Context::new("fill", "queue");
    context.direction = Direction::Sink;
    let sink = queue.build(&context).unwrap();
    sink.open().await.unwrap();
    let transactions = (0..messages).map(|n| Transaction::new(n.to_string(), &n).unwrap()).collect();
    sink.dispatch(transactions).await.unwrap();
    sink.close().await.unwrap();
    queue
}

async fn start(input: RabbitMqConfig, fate: &Fate) -> Running {
    testing::start(Fail::config(FailWiring { input, fate: fate.clone() })).await.unwrap()
}

#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_requeued_is_rejected_after_max_deliveries() {
    for kind in ["classic", "quorum"] {
        let fate = Fate::new(Disposition::Requeue);
        let running = start(filled(json!({ "kind": kind }), 1).await, &fate).await;
        until("it is rejected", PATIENCE, async || running.tally().rejected == 1).await;
        running.stop();
        running.wait().await.unwrap();
        assert_eq!(fate.seen(), 3, "{kind}");
    }
}

#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_counts_as_prefetched() {
    let fate = Fate::new(Disposition::RetryAfter(Duration::from_secs(3600)));
    let queue = filled(json!({}), 5).await;
    let name = queue.queue.clone().unwrap();
    let running = start(RabbitMqConfig { prefetch: Some(2), ..queue }, &fate).await;
    until("two are held", PATIENCE, async || fate.seen() == 2).await;
    // When the broker answers, every delivery before this answer has arrived.
    assert_eq!((client().await.ready(&name).await.unwrap(), fate.seen()), (3, 2));
    running.stop();
    running.wait().await.unwrap();
    let back = async || client().await.ready(&name).await.unwrap() == 5;
    until("all are given back", PATIENCE, back).await;
}

#[cfg_attr(not(amqp), ignore = "set ERGON_TEST_AMQP_URL to the address of a broker")]
#[tokio::test(flavor = "multi_thread")]
async fn where_dead_letters_go_must_be_there() {
    let (client, dead) = (client().await, own_name());
    let mut declare = json!({"kind": "quorum", "dead_letter": {"routing_key": dead}});
    declare["arguments"]["x-expires"] = json!(60_000);
    let queue = config(json!({"url": url(), "queue": own_name(), "declare": declare.clone()}));
    let error = queue.build(&Context::new("fail", "input")).unwrap().open().await.unwrap_err();
    assert!(error.is_permanent() && error.message().contains("NOT_FOUND - no queue"), "{error}");

    client.declare(&dead, &[("x-expires", "60000")]).await.unwrap();
    let fate = Fate::new(Disposition::Reject);
    let running = start(filled(declare, 3).await, &fate).await;
    until("all are dead letters", PATIENCE, async || client.ready(&dead).await.unwrap() == 3).await;
    running.stop();
    running.wait().await.unwrap();
}
