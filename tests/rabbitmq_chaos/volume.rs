//! Much at once: a large message, a long backlog.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::pipeline::{PATIENCE, Pipeline};
use crate::shared;
use ergon_tests::until;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rabbitmq-server: cargo test -p ergon-tests --test rabbitmq_chaos -- --ignored"]
async fn a_message_of_a_hundred_mebibytes() {
    let broker = shared().await;
    let mut pipeline = Pipeline::new(broker, broker.port(), "large");
    pipeline.output["publish"]["confirm_timeout"] = json!("60s");
    pipeline.fill(1).await;
    let (client, queue, out) = (pipeline.client().await, pipeline.queue("in"), pipeline.queue("out"));
    let body: Vec<u8> = (0..100 * 1024 * 1024_u32).map(|n| (n % 251) as u8).collect();
    client.publish(&queue, "large", &body).await.unwrap();
    let began = Instant::now();
    let running = pipeline.start().await;
    until("both arrive", PATIENCE, async || client.ready(&out).await.unwrap() == 2).await;
    println!("100 MiB: there after {:.2?}", began.elapsed());
    running.stop();
    running.wait().await.unwrap();
    let large = client.drain(&out).await.unwrap().into_iter().find(|message| message.id == "large").unwrap();
    assert!(large.body == body, "{} bytes came out otherwise", large.body.len());
    assert!(client.drain(&queue).await.unwrap().is_empty());
}

/// Bytes of memory that this process holds.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// The prefetch is all that is held: a long queue is read no faster than it is worked off. Other tests of this process
/// that run at the same time are measured as well, so that the limit is a wide one: the bodies alone are four times it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rabbitmq-server: cargo test -p ergon-tests --test rabbitmq_chaos -- --ignored"]
async fn a_backlog_of_two_hundred_thousand() {
    let broker = shared().await;
    let mut pipeline = Pipeline::new(broker, broker.port(), "backlog").pause(Duration::ZERO);
    pipeline.input["prefetch"] = json!(50);
    pipeline.fill(200_000).await;
    let before = resident();
    let began = Instant::now();
    let running = pipeline.start().await;
    pipeline.goes_on(20_000).await;
    let warm = resident();
    pipeline.goes_on(100_000).await;
    let after = resident();
    let speed = 120_000.0 / began.elapsed().as_secs_f64();
    println!(
        "backlog: {before} bytes before, {warm} after 20 000, {after} after 120 000, {speed:.0} a second"
    );
    assert!(after < warm + 32 * 1024 * 1024, "it grows with what it has done: from {warm} to {after} bytes");
    let (verdict, _) = pipeline.finish("backlog", running).await;
    assert_eq!(verdict.succeeded, 200_000);
}
