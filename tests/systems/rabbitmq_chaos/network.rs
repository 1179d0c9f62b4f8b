//! Tests a network that resets connections, carries nothing in one or both directions, or is slow.

use std::time::Duration;

use ergon_tests::broker::{Direction, Proxy};
use ergon_tests::until;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::pipeline::{PATIENCE, PREFETCH, Pipeline, mixed};
use super::{outage, shared};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rabbitmq-server: cargo test -p ergon-tests --test systems -- --ignored rabbitmq_chaos"]
async fn all_connections_are_reset_each_second() {
    let broker = shared().await;
    let proxy = Proxy::open(broker.port()).await;
    let mut pipeline = Pipeline::new(broker, proxy.port(), "reset").fate(mixed);
    pipeline.fill(1000).await;
    let running = pipeline.start().await;
    let mut resets = 0;
    pipeline.feed(outage(), || resets += proxy.reset_all()).await;
    println!("{resets} connections were reset, {} were made", proxy.made());
    pipeline.recovers("reset").await;
    pipeline.finish("reset", running).await;
}

/// Each channel counts its deliveries from 1. So a transaction that started before a reset has the tag of another
/// message after the reset. An ack with this tag would settle that other message, and the next reset would lose it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rabbitmq-server: cargo test -p ergon-tests --test systems -- --ignored rabbitmq_chaos"]
async fn what_ends_after_a_reset_is_not_acked_under_the_tag_of_another() {
    let broker = shared().await;
    let proxy = Proxy::open(broker.port()).await;
    let mut pipeline = Pipeline::new(broker, proxy.port(), "tags").pause(Duration::from_millis(1500));
    pipeline.input["prefetch"] = json!(500);
    pipeline.policy = |policy| (policy.concurrency, policy.prefetch) = (40, 0);
    pipeline.fill(600).await;
    let running = pipeline.start().await;
    for _ in 0..4 {
        pipeline.goes_on(60).await;
        proxy.reset_all();
    }
    pipeline.recovers("tags").await;
    let (verdict, _) = pipeline.finish("tags", running).await;
    assert_eq!(verdict.succeeded, 600);
}

async fn half_open(direction: Direction) {
    let name = format!("half-open {direction:?}");
    let broker = shared().await;
    let proxy = Proxy::open(broker.port()).await;
    let mut pipeline =
        Pipeline::new(broker, proxy.port(), &name).pause(Duration::from_millis(10)).fate(mixed);
    pipeline.fill(5000).await;
    let running = pipeline.start().await;
    pipeline.goes_on(500).await;
    let (made, began) = (proxy.made(), Instant::now());
    proxy.strand(direction);
    until("both connect anew", PATIENCE, async || proxy.made() >= made + 2).await;
    pipeline.recovers_since(&format!("{name}, since it began"), began).await;
    let (verdict, _) = pipeline.finish(&name, running).await;
    assert!(verdict.dup.len() <= PREFETCH, "{verdict}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rabbitmq-server: cargo test -p ergon-tests --test systems -- --ignored rabbitmq_chaos"]
async fn nothing_reaches_the_broker() {
    half_open(Direction::ToBroker).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rabbitmq-server: cargo test -p ergon-tests --test systems -- --ignored rabbitmq_chaos"]
async fn nothing_comes_from_the_broker() {
    half_open(Direction::FromBroker).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rabbitmq-server: cargo test -p ergon-tests --test systems -- --ignored rabbitmq_chaos"]
async fn nothing_goes_either_way() {
    half_open(Direction::Both).await;
}

/// New connections get no answer either: each message is published, and no message is confirmed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rabbitmq-server: cargo test -p ergon-tests --test systems -- --ignored rabbitmq_chaos"]
async fn confirms_never_come() {
    let broker = shared().await;
    let proxy = Proxy::open(broker.port()).await;
    let mut pipeline =
        Pipeline::new(broker, proxy.port(), "silence").pause(Duration::from_millis(10)).fate(mixed);
    pipeline.fill(5000).await;
    let running = pipeline.start().await;
    pipeline.goes_on(500).await;
    proxy.blackhole(Direction::FromBroker);
    sleep(outage()).await;
    proxy.heal().await;
    pipeline.recovers("silence").await;
    pipeline.finish("silence", running).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rabbitmq-server: cargo test -p ergon-tests --test systems -- --ignored rabbitmq_chaos"]
async fn the_network_crawls() {
    let broker = shared().await;
    let proxy = Proxy::open(broker.port()).await;
    let mut pipeline = Pipeline::new(broker, proxy.port(), "crawl");
    pipeline.fill(500).await;
    proxy.slow(Duration::from_millis(100), 20_000);
    let running = pipeline.start().await;
    pipeline.recovers("crawl").await;
    let (verdict, _) = pipeline.finish("crawl", running).await;
    assert_eq!(verdict.succeeded, 500);
}
