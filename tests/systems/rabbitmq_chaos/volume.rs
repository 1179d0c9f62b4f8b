//! Tests large volumes: a large message, and a long backlog.

use std::fs;
use std::time::{Duration, Instant};

use ergon_tests::broker::Queues;
use ergon_tests::crew::Site;
use ergon_tests::until;
use rustix::process::Signal;
use serde_json::json;

use super::pipeline::{PATIENCE, Pipeline};
use super::shared;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rabbitmq-server: cargo test -p ergon-tests --test systems -- --ignored rabbitmq_chaos"]
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

/// The memory of a process, in bytes.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// The task holds only the prefetch, and nothing of processed messages: the limit is 160 bytes for each of a hundred
/// thousand copies. A separate process does the work, because other tests use memory in this process.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs rabbitmq-server: cargo test -p ergon-tests --test systems -- --ignored rabbitmq_chaos"]
async fn a_backlog_of_two_hundred_thousand() {
    let broker = shared().await;
    let queues = Queues::declare(broker).await;
    let site = Site::new(env!("CARGO_BIN_EXE_worker"), Duration::ZERO, "");
    let settings = "[tasks.work.consumer]\nconcurrency = 50\nprefetch = 50\n";
    site.write("ergon.toml", &Queues::settings(&broker.url(), site.path(), settings));
    queues.fill((0..200_000).map(|n| format!("{n:06}")), &site.ledger).await;
    let began = Instant::now();
    let mut run = site.start(&["run", "work"]);
    let done = async |count: u32| {
        let patience = PATIENCE * 2;
        until(&format!("{count} are through"), patience, async || queues.ready("output").await >= count)
            .await;
        resident(run.pid())
    };
    let (warm, after) = (done(20_000).await, done(120_000).await);
    let speed = 120_000.0 / began.elapsed().as_secs_f64();
    println!("backlog: {warm} bytes after 20 000 copies, {after} after 120 000, {speed:.0} a second");
    assert!(after < warm + 16 * 1024 * 1024, "it grows with what it has done: from {warm} to {after} bytes");
    until("all is done", PATIENCE, async || broker.depth("input").await == (0, 0)).await;
    run.signal(Signal::TERM);
    let (status, _, said) = run.end();
    assert_eq!(status.code(), Some(143), "{said}");
    let verdict = queues.verdict(&site.ledger).await;
    println!("backlog: {verdict}");
    verdict.assert_nothing_lost();
    assert_eq!(verdict.succeeded, 180_000);
}
