//! Tests a broker that stops, dies, freezes, runs out of memory, or has not started yet.

use std::time::Duration;

use ergon_tests::broker::Broker;
use ergon_tests::until;
use tokio::time::{Instant, sleep};

use super::outage;
use super::pipeline::{Fate, PATIENCE, PREFETCH, Pipeline, mixed};

const WORTH: Duration = Duration::from_millis(10);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rabbitmq-server: cargo test -p ergon-tests --test systems -- --ignored rabbitmq_chaos"]
async fn the_broker_is_stopped_for_three_seconds() {
    let broker = Broker::start().await;
    let mut pipeline = Pipeline::new(&broker, broker.port(), "stop").pause(WORTH).fate(mixed);
    // More than is done before the outage begins, on a machine whose `rabbitmqctl` takes its time.
    pipeline.fill(20_000).await;
    let running = pipeline.start().await;
    pipeline.goes_on(500).await;
    broker.stop_app().await;
    sleep(Duration::from_secs(3)).await;
    broker.start_app().await;
    pipeline.recovers("stop_app").await;
    pipeline.finish("stop_app", running).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rabbitmq-server: cargo test -p ergon-tests --test systems -- --ignored rabbitmq_chaos"]
async fn the_broker_is_killed_twice_and_restarted() {
    let broker = Broker::start().await;
    let mut pipeline = Pipeline::new(&broker, broker.port(), "kill").pause(WORTH);
    // More messages than a fast machine processes between the two kills.
    pipeline.fill(20_000).await;
    let running = pipeline.start().await;
    for _ in 0..2 {
        pipeline.goes_on(500).await;
        broker.restart().await;
        pipeline.recovers("kill -9").await;
    }
    let (verdict, _) = pipeline.finish("kill -9", running).await;
    assert!(verdict.dup.len() <= 2 * PREFETCH, "{verdict}");
}

/// The number of kills for each kind of queue, to count duplicates.
const KILLS: usize = 5;

/// Kills the broker again and again under a queue of this kind. Returns the number of duplicates and of processed
/// messages.
async fn killed_again_and_again(kind: &str) -> (usize, usize) {
    let broker = Broker::start().await;
    let mut pipeline = Pipeline::new(&broker, broker.port(), kind).pause(WORTH);
    pipeline.input["declare"]["kind"] = kind.into();
    // More messages than are processed between the kills.
    pipeline.fill(20_000).await;
    let running = pipeline.start().await;
    for _ in 0..KILLS {
        pipeline.goes_on(500).await;
        broker.restart().await;
        pipeline.recovers(&format!("kill -9, {kind}")).await;
    }
    pipeline.goes_on(500).await;
    let (verdict, done) = pipeline.leave(kind, running).await;
    println!("{kind}: {} of {done} came twice, {KILLS} kills", verdict.dup.len());
    (verdict.dup.len(), done)
}

/// A quorum queue writes an acknowledgement to the disk before it continues.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rabbitmq-server: cargo test -p ergon-tests --test systems -- --ignored rabbitmq_chaos"]
async fn of_a_quorum_queue_no_more_than_the_prefetch_comes_twice_for_each_kill() {
    let (twice, done) = killed_again_and_again("quorum").await;
    assert!(twice <= KILLS * PREFETCH, "{twice} of {done} came twice");
}

/// A classic queue keeps acknowledgements in memory for a while, so any number of acknowledged messages may be
/// delivered again. The guide states this with figures. If this test fails, correct the guide.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rabbitmq-server: cargo test -p ergon-tests --test systems -- --ignored rabbitmq_chaos"]
async fn of_a_classic_queue_more_than_the_prefetch_comes_twice_and_nothing_is_lost() {
    let (twice, done) = killed_again_and_again("classic").await;
    assert!(twice > KILLS * PREFETCH, "{twice} of {done} came twice");
}

/// By default, a broker moves a rejected message to its dead-letter queue without a confirmation that it arrived.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rabbitmq-server: cargo test -p ergon-tests --test systems -- --ignored rabbitmq_chaos"]
async fn what_was_rejected_outlives_a_kill() {
    let broker = Broker::start().await;
    let mut pipeline = Pipeline::new(&broker, broker.port(), "dead").pause(WORTH).fate(mixed);
    pipeline.fill(3000).await;
    let running = pipeline.start().await;
    pipeline.goes_on(1000).await;
    broker.restart().await;
    pipeline.recovers("kill -9 with dead letters").await;
    pipeline.finish("kill -9 with dead letters", running).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rabbitmq-server: cargo test -p ergon-tests --test systems -- --ignored rabbitmq_chaos"]
async fn the_broker_freezes() {
    let broker = Broker::start().await;
    let mut pipeline = Pipeline::new(&broker, broker.port(), "freeze").pause(WORTH).fate(mixed);
    pipeline.fill(5000).await;
    let running = pipeline.start().await;
    pipeline.goes_on(500).await;
    broker.freeze();
    sleep(outage()).await;
    broker.thaw();
    pipeline.recovers("freeze").await;
    pipeline.finish("freeze", running).await;
}

/// The broker does not answer, so nothing can be settled. The unacknowledged messages stay with the broker, and the
/// stop takes no longer.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rabbitmq-server: cargo test -p ergon-tests --test systems -- --ignored rabbitmq_chaos"]
async fn the_task_is_told_to_stop_while_the_broker_is_frozen() {
    let broker = Broker::start().await;
    let mut pipeline = Pipeline::new(&broker, broker.port(), "stop frozen").pause(WORTH).fate(mixed);
    pipeline.fill(2000).await;
    let running = pipeline.start().await;
    pipeline.goes_on(500).await;
    broker.freeze();
    let began = Instant::now();
    running.stop();
    let report = running.wait().await;
    let took = began.elapsed();
    println!("stop while frozen: {took:.2?}, {report:?}");
    broker.thaw();
    assert!(took < Duration::from_secs(5 + 10), "{took:?}");
    let input = pipeline.queue("in");
    let back = async || broker.depth(&input).await.1 == 0;
    until("the broker takes back what nobody acked", PATIENCE, back).await;
    let verdict = pipeline.verdict().await;
    println!("stop while frozen: {verdict}");
    verdict.assert_nothing_lost();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rabbitmq-server: cargo test -p ergon-tests --test systems -- --ignored rabbitmq_chaos"]
async fn the_broker_runs_out_of_memory() {
    let broker = Broker::start().await;
    let mut pipeline = Pipeline::new(&broker, broker.port(), "memory").pause(WORTH);
    // More than is done before the outage begins, on a machine whose `rabbitmqctl` takes its time.
    pipeline.fill(20_000).await;
    let running = pipeline.start().await;
    pipeline.goes_on(500).await;
    broker.memory_alarm(true).await;
    sleep(outage()).await;
    broker.memory_alarm(false).await;
    pipeline.recovers("memory alarm").await;
    pipeline.finish("memory alarm", running).await;
}

/// A broker that accepts no messages accepts acknowledgements, so a task that publishes nothing continues.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rabbitmq-server: cargo test -p ergon-tests --test systems -- --ignored rabbitmq_chaos"]
async fn what_publishes_nothing_goes_on_while_memory_is_short() {
    let broker = Broker::start().await;
    let fate = |id: &str| if id < "000100" { Fate::Copied } else { Fate::Wrong };
    let mut pipeline = Pipeline::new(&broker, broker.port(), "acks").fate(fate).pause(WORTH * 2);
    pipeline.fill(5000).await;
    let running = pipeline.start().await;
    // The connection publishes, so the broker reads nothing from it from now on.
    pipeline.goes_on(100).await;
    broker.memory_alarm(true).await;
    let client = pipeline.client().await;
    let refused = "wrong ones are settled while nothing is taken";
    let before = client.ready(&pipeline.queue("dead")).await.unwrap();
    until(refused, PATIENCE, async || client.ready(&pipeline.queue("dead")).await.unwrap() > before).await;
    broker.memory_alarm(false).await;
    pipeline.recovers("acks during an alarm").await;
    pipeline.finish("acks during an alarm", running).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rabbitmq-server: cargo test -p ergon-tests --test systems -- --ignored rabbitmq_chaos"]
async fn the_task_starts_before_the_broker() {
    let broker = Broker::down();
    let mut pipeline = Pipeline::new(&broker, broker.port(), "early");
    let (running, ()) = tokio::join!(pipeline.start(), broker.restart());
    pipeline.fill(1000).await;
    pipeline.recovers("start before the broker").await;
    pipeline.finish("start before the broker", running).await;
}

/// One transaction takes longer than the broker waits for its acknowledgement. The broker closes the channel of all
/// messages.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rabbitmq-server: cargo test -p ergon-tests --test systems -- --ignored rabbitmq_chaos"]
async fn the_broker_loses_patience_with_a_slow_transaction() {
    let broker = Broker::options().consumer_timeout(Duration::from_secs(2)).start().await;
    let mut pipeline = Pipeline::new(&broker, broker.port(), "patience").pause(WORTH).fate(|id| match id {
        "000700" => Fate::Slow(Duration::from_secs(6)),
        _ => Fate::Copied,
    });
    pipeline.fill(4000).await;
    let running = pipeline.start().await;
    let (verdict, _) = pipeline.finish("consumer timeout", running).await;
    assert_eq!(verdict.succeeded, 4000);
}
