//! Tests refusals of the broker: deleted queues, messages that no queue takes, unknown users.

use std::time::{Duration, Instant};

use ergon::telemetry::Ended;
use ergon_tests::broker::{Broker, Client};
use ergon_tests::until;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use super::pipeline::{Fate, PATIENCE, Pipeline};
use super::shared;

/// The queue is deleted with its messages, so all messages are processed before. Later messages are not lost.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rabbitmq-server: cargo test -p ergon-tests --test systems -- --ignored rabbitmq_chaos"]
async fn the_queue_is_deleted_while_it_is_consumed() {
    let broker = shared().await;
    let mut pipeline = Pipeline::new(broker, broker.port(), "deleted");
    pipeline.fill(500).await;
    let running = pipeline.start().await;
    pipeline.goes_on(500).await;
    let queue = pipeline.queue("in");
    until("all are acked", PATIENCE, async || broker.depth(&queue).await == (0, 0)).await;
    pipeline.client().await.delete(&queue).await.unwrap();
    let there = async || Client::connect(&broker.url()).await.unwrap().ready(&queue).await.is_ok();
    let took = until("it is declared again", PATIENCE, there).await;
    println!("deleted queue: declared again after {took:.2?}");
    pipeline.fill(500).await;
    pipeline.recovers("deleted queue").await;
    let (verdict, _) = pipeline.finish("deleted queue", running).await;
    assert_eq!(verdict.succeeded, 1000);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rabbitmq-server: cargo test -p ergon-tests --test systems -- --ignored rabbitmq_chaos"]
async fn a_message_that_no_queue_takes_is_not_acked() {
    let broker = shared().await;
    let mut pipeline = Pipeline::new(broker, broker.port(), "unroutable");
    pipeline.output["publish"]["routing_key"] = json!("no.such.queue");
    pipeline.policy = |policy| policy.success.max_attempts = 2;
    pipeline.fill(100).await;
    let running = pipeline.start().await;
    until("each was tried", PATIENCE, async || running.tally().processed >= 100).await;
    let (verdict, report) = pipeline.finish_with("unroutable", running, 0).await;
    assert_eq!((verdict.succeeded, report.tally.succeeded), (0, 0));
}

/// A rejected message must not be lost because its dead-letter exchange does not exist. Either the task does not start,
/// or the broker keeps the message until the exchange exists.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rabbitmq-server: cargo test -p ergon-tests --test systems -- --ignored rabbitmq_chaos"]
async fn the_dead_letter_exchange_is_missing() {
    // The interval at which the broker publishes an unroutable dead letter again, with at-least-once dead-lettering.
    // The default is three minutes.
    let again = "{dead_letter_worker_publisher_confirm_timeout, 1000}";
    let broker = Broker::options().term(again).start().await;
    let mut pipeline = Pipeline::new(&broker, broker.port(), "no exchange").fate(|_| Fate::Wrong);
    pipeline.input["declare"]["dead_letter"] = json!({"exchange": "no.such.exchange"});
    if let Err(error) = pipeline.declare().await {
        return assert!(words(&error).contains("no.such.exchange"), "{}", words(&error));
    }
    pipeline.fill(100).await;
    let running = pipeline.start().await;
    pipeline.goes_on(100).await;
    let client = pipeline.client().await;
    client.collect("no.such.exchange", &pipeline.queue("dead")).await.unwrap();
    pipeline.finish("no dead-letter exchange", running).await;
}

/// A poison message uses up its deliveries. Other messages of the same worker are not affected.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rabbitmq-server: cargo test -p ergon-tests --test systems -- --ignored rabbitmq_chaos"]
async fn a_poison_message_among_healthy_ones() {
    let broker = shared().await;
    let poison = |id: &str| if id.ends_with("50") { Fate::GivenBack } else { Fate::Copied };
    let mut pipeline = Pipeline::new(broker, broker.port(), "poison").fate(poison);
    pipeline.input["declare"]["delivery_limit"] = json!(3);
    pipeline.fill(1000).await;
    let running = pipeline.start().await;
    pipeline.goes_on(990).await;
    let (client, dead) = (pipeline.client().await, pipeline.queue("dead"));
    until("the poison is dead", PATIENCE, async || client.ready(&dead).await.unwrap() == 10).await;
    let (verdict, _) = pipeline.finish_with("delivery limit", running, 990).await;
    assert_eq!((verdict.succeeded, verdict.dup.len()), (990, 0));
}

/// All causes of an error, outermost first.
fn words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |words, cause| format!("{words}: {cause}"))
}

/// Asserts that the connector reports an error within the deadline, and that the error names the problem and not the
/// password.
async fn refuses(broker: &Broker, change: impl FnOnce(&mut Value), named: &str) {
    let mut pipeline = Pipeline::new(broker, broker.port(), "refused");
    change(&mut pipeline.input);
    let began = Instant::now();
    let error = pipeline.try_start().await.expect_err("it cannot start");
    let (words, debug) = (words(&error), format!("{error:?}"));
    println!("refused in {:.2?}: {words}", began.elapsed());
    assert!(words.contains(named), "{words} does not name {named}");
    assert!(!words.contains("s3cret") && !debug.contains("s3cret"), "the password shows: {words} {debug}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rabbitmq-server: cargo test -p ergon-tests --test systems -- --ignored rabbitmq_chaos"]
async fn a_wrong_password_virtual_host_or_authority() {
    let broker = Broker::options().tls().start().await;
    let port = broker.port();
    let url = |user: &str, host: &str| json!(format!("amqp://{user}@127.0.0.1:{port}/{host}"));
    refuses(&broker, |input| input["url"] = url("guest:s3cret", "%2f"), "guest").await;
    refuses(&broker, |input| input["url"] = url("guest:guest", "elsewhere"), "elsewhere").await;
    let tls = broker.tls_url();
    refuses(&broker, |input| input["url"] = json!(tls), "certificate").await;

    let folder = TempDir::new().unwrap();
    let authority = folder.path().join("ca.pem");
    std::fs::write(&authority, broker.authority()).unwrap();
    let mut pipeline = Pipeline::new(&broker, port, "encrypted");
    for side in [&mut pipeline.input, &mut pipeline.output] {
        side["url"] = json!(tls);
        side["tls"] = json!({"ca_file": authority});
    }
    pipeline.fill(100).await;
    let running = pipeline.start().await;
    pipeline.finish("encrypted", running).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rabbitmq-server: cargo test -p ergon-tests --test systems -- --ignored rabbitmq_chaos"]
async fn only_who_shows_a_certificate_is_let_in() {
    let broker = Broker::options().mutual_tls().start().await;
    let folder = TempDir::new().unwrap();
    let authority = folder.path().join("ca.pem");
    std::fs::write(&authority, broker.authority()).unwrap();
    let (certificate, key) = broker.client_certificate();
    let mut pipeline = Pipeline::new(&broker, broker.port(), "mutual");
    let tls = |certificate: Value| {
        let mut tls = json!({"ca_file": authority});
        tls.as_object_mut().unwrap().extend(certificate.as_object().unwrap().clone());
        tls
    };
    for side in [&mut pipeline.input, &mut pipeline.output] {
        side["url"] = json!(broker.tls_url());
        side["tls"] = tls(json!({}));
    }
    let error = pipeline.try_start().await.expect_err("nobody without a certificate gets in");
    assert!(words(&error).to_lowercase().contains("certificate"), "{}", words(&error));
    for side in [&mut pipeline.input, &mut pipeline.output] {
        side["tls"] = tls(json!({"cert_file": certificate, "key_file": key}));
    }
    pipeline.fill(100).await;
    let running = pipeline.start().await;
    pipeline.finish("mutual", running).await;
}

/// The queue that the task publishes to is deleted. The connector declares it again.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rabbitmq-server: cargo test -p ergon-tests --test systems -- --ignored rabbitmq_chaos"]
async fn the_queue_is_deleted_while_it_is_published_to() {
    let broker = shared().await;
    let mut pipeline = Pipeline::new(broker, broker.port(), "target").pause(Duration::from_millis(20));
    pipeline.fill(5000).await;
    let running = pipeline.start().await;
    pipeline.goes_on(50).await;
    let before = pipeline.client().await.drain(&pipeline.queue("out")).await.unwrap().len();
    pipeline.client().await.delete(&pipeline.queue("out")).await.unwrap();
    pipeline.recovers("deleted target").await;
    pipeline.goes_on(300).await;
    running.stop();
    let report = running.wait().await.unwrap();
    let after = pipeline.client().await.drain(&pipeline.queue("out")).await.unwrap().len();
    // The messages that were confirmed between the two checks are deleted with the queue.
    assert!(before + after >= 350, "{before} before, {after} after: {report:?}");
}

/// Another client creates the queue again with another type, so the broker refuses the connector's declaration from
/// then on.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rabbitmq-server: cargo test -p ergon-tests --test systems -- --ignored rabbitmq_chaos"]
async fn the_queue_comes_back_as_another() {
    let broker = shared().await;
    let mut pipeline = Pipeline::new(broker, broker.port(), "another");
    pipeline.fill(100).await;
    let running = pipeline.start().await;
    pipeline.goes_on(100).await;
    let (client, queue) = (pipeline.client().await, pipeline.queue("in"));
    until("all are acked", PATIENCE, async || broker.depth(&queue).await == (0, 0)).await;
    client.delete(&queue).await.unwrap();
    client.declare(&queue, &[]).await.unwrap();
    let report = timeout(PATIENCE, running.wait()).await.expect("it ends by itself").unwrap();
    let Ended::Failed(error) = report.ended else { panic!("it failed: {report:?}") };
    let words = words(&error);
    println!("another queue: {words}, after {:.2?}", report.elapsed);
    assert!(words.contains(&queue) && words.contains("inequivalent arg"), "{words}");
}
