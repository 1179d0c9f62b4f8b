//! A stop: fetch no more, hand back what has not begun, finish what is in flight, then cancel the rest.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use std::sync::atomic::Ordering;
use std::time::Duration;

use ergon::prelude::*;
use ergon::telemetry::Ended;
use ergon_tests::World;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

fn slow(count: usize) -> World {
    World::with(count).process(|_| async {
        sleep(10 * SECOND).await;
        Ok(())
    })
}

#[tokio::test(start_paused = true)]
async fn in_flight_work_finishes_and_is_settled_and_the_rest_is_handed_back() {
    let world = slow(10).policy(|policy| {
        policy.concurrency = 2;
        policy.batch_size = 8;
        policy.prefetch = 6;
    });
    let running = world.start().await;
    sleep(SECOND).await;
    let fetched = world.input.faults.fetched.load(Ordering::SeqCst);
    running.stop();
    let began = Instant::now();
    let report = running.wait().await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 9);
    assert_eq!((report.tally.processed, report.tally.succeeded), (2, 2));
    assert_eq!(world.input.faults.fetched.load(Ordering::SeqCst), fetched, "nothing is fetched after a stop");
    let queue = world.input.queue.inspect();
    assert_eq!((queue.acked, queue.waiting, queue.handed_out), (2, 8, 0));
    assert!(matches!(report.ended, Ended::Stopped { given_back: 6 }), "{:?}", report.ended);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_done_within_the_grace_is_cancelled_and_given_back() {
    let world = slow(3).policy(|policy| {
        policy.concurrency = 3;
        policy.batch_size = 3;
        policy.shutdown_grace = 2 * SECOND;
    });
    let running = world.start().await;
    sleep(SECOND).await;
    running.stop();
    let began = Instant::now();
    let report = running.wait().await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 2);
    assert!(matches!(report.ended, Ended::Stopped { given_back: 3 }), "{:?}", report.ended);
    let queue = world.input.queue.inspect();
    assert_eq!((queue.acked, queue.waiting, queue.handed_out), (0, 3, 0));
    assert_eq!(
        world.log(),
        ["process 0", "process 1", "process 2"],
        "no handler runs because of a cancellation"
    );
}

#[tokio::test(start_paused = true)]
async fn a_wait_between_attempts_ends_at_once_and_the_delivery_is_given_back() {
    let world =
        World::with(1).process(|_| async { Err(TransactionError::system("link lost")) }).policy(|policy| {
            policy.process.max_attempts = 9;
            policy.process.backoff = 3600 * SECOND;
            policy.transaction_timeout = None;
        });
    let running = world.start().await;
    sleep(SECOND).await;
    running.stop();
    let began = Instant::now();
    let report = running.wait().await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 0);
    assert_eq!((report.tally.processed, report.tally.requeued), (0, 1));
    assert_eq!(world.input.queue.inspect().waiting, 1);
    assert_eq!(world.log(), ["process 0"]);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_held_for_later_is_given_back() {
    let world = World::with(1)
        .process(|_| async { Err(TransactionError::business("not yet")) })
        .exception(|_| async { Ok(Disposition::RetryAfter(3600 * SECOND)) });
    let running = world.start().await;
    sleep(SECOND).await;
    assert_eq!(world.input.queue.inspect().handed_out, 1);
    running.stop();
    let began = Instant::now();
    running.wait().await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 0);
    assert_eq!(world.input.queue.inspect().waiting, 1);
}

#[tokio::test(start_paused = true)]
async fn a_streaming_run_on_an_empty_source_stops_at_once() {
    let world = World::new().policy(|policy| policy.streaming = true);
    let running = world.start().await;
    sleep(3600 * SECOND).await;
    running.stop();
    let began = Instant::now();
    running.wait().await.unwrap();
    assert_eq!(began.elapsed().as_millis(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_dropped_gives_back_what_it_held_with_the_next_settle() {
    let world = slow(2).policy(|policy| policy.concurrency = 2);
    let running = world.start().await;
    sleep(SECOND).await;
    assert_eq!(world.input.queue.inspect().handed_out, 2);
    running.stop();
    drop(running);
    sleep(60 * SECOND).await;
    assert_eq!(world.input.queue.inspect().handed_out, 0);
}
