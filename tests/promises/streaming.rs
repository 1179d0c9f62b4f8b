//! Tests finite and streaming runs, empty sources, and fetches that fail.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ergon::ErrorKind;
use ergon::connector::ConnectorError;
use ergon::telemetry::Ended;
use ergon_tests::World;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_finite_run_ends_at_the_first_empty_fetch() {
    let world = World::new();
    let report = world.run().await;
    assert!(matches!(report.ended, Ended::SourceEmpty), "{:?}", report.ended);
    assert_eq!(world.input.faults.fetched.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn an_empty_source_is_asked_less_and_less() {
    let world = World::new().policy(|policy| policy.streaming = true);
    let running = world.start().await;
    sleep(60 * SECOND).await;
    let fetched = world.input.faults.fetched.load(Ordering::SeqCst);
    assert!((10..=20).contains(&fetched), "{fetched} fetches in a minute");
    running.stop();
    running.wait().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_streaming_run_goes_on_when_something_comes() {
    let world = World::new().policy(|policy| policy.streaming = true);
    let running = world.start().await;
    sleep(60 * SECOND).await;
    world.push(["late"]);
    sleep(5 * SECOND).await;
    assert_eq!(world.input.queue.inspect().acked, 1);
    running.stop();
    assert_eq!(running.wait().await.unwrap().tally.succeeded, 1);
}

#[tokio::test(start_paused = true)]
async fn a_failing_fetch_is_retried_by_its_policy() {
    let world = World::with(2).policy(|policy| {
        policy.fetch.max_attempts = 3;
        policy.fetch.backoff = SECOND;
    });
    let errors = (0..2).map(|_| ConnectorError::transient("link lost"));
    world.input.faults.fetches.lock().unwrap().extend(errors);
    let began = Instant::now();
    let report = world.run().await;
    assert_eq!(report.tally.succeeded, 2);
    assert_eq!(began.elapsed().as_secs(), 1 + 2);
}

#[tokio::test(start_paused = true)]
async fn a_finite_run_whose_fetch_fails_drains_and_ends_with_the_error() {
    let world = World::with(4)
        .process(|_| async {
            sleep(10 * SECOND).await;
            Ok(())
        })
        .policy(|policy| {
            policy.concurrency = 2;
            policy.batch_size = 1;
        });
    let running = world.start().await;
    sleep(SECOND).await;
    let bad = ConnectorError::transient("link lost").with_hint("plug it in");
    world.input.faults.fetches.lock().unwrap().push_back(bad);
    let report = running.wait().await.unwrap();
    let Ended::Failed(error) = report.ended else { panic!("{:?}", report.ended) };
    assert_eq!(error.kind(), ErrorKind::Connector);
    assert_eq!(error.to_string(), "fetch from input (flaky): link lost");
    assert_eq!(error.hint(), Some("plug it in"));
    let queue = world.input.queue.inspect();
    assert_eq!((report.tally.succeeded, queue.handed_out), (2, 0), "what was in flight is finished");
}

#[tokio::test(start_paused = true)]
async fn a_streaming_run_survives_a_failing_source() {
    let world = World::with(1).policy(|policy| policy.streaming = true);
    let errors = (0..8).map(|_| ConnectorError::transient("link lost"));
    world.input.faults.fetches.lock().unwrap().extend(errors);
    let running = world.start().await;
    sleep(600 * SECOND).await;
    assert_eq!(world.input.queue.inspect().acked, 1);
    running.stop();
    running.wait().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_permanent_error_ends_a_streaming_run_too_and_is_not_retried() {
    let world = World::with(1).policy(|policy| {
        policy.streaming = true;
        policy.fetch.max_attempts = 5;
    });
    world.input.faults.fetches.lock().unwrap().push_back(ConnectorError::permanent("no such queue"));
    let report = world.run().await;
    assert!(matches!(report.ended, Ended::Failed(_)), "{:?}", report.ended);
    assert_eq!(world.input.faults.fetched.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_streaming_run_reaches_its_limit_over_several_fetches() {
    let world = World::with(2).policy(|policy| {
        policy.streaming = true;
        policy.limit = Some(5);
        policy.batch_size = 10;
        policy.concurrency = 10;
    });
    let running = world.start().await;
    sleep(SECOND).await;
    assert_eq!(world.input.queue.inspect().acked, 2);
    world.push(["a", "b", "c", "d"]);
    let report = running.wait().await.unwrap();
    assert!(matches!(report.ended, Ended::LimitReached), "{:?}", report.ended);
    assert_eq!((report.tally.succeeded, world.input.queue.inspect().waiting), (5, 1));
}

#[tokio::test(start_paused = true)]
async fn a_slow_transaction_after_a_quick_one_holds_back_nobody_that_came_with_it() {
    let world = World::new()
        .process(|transaction| async move {
            if transaction.id() == "slow" {
                sleep(1000 * SECOND).await;
            }
            Ok(())
        })
        .policy(|policy| {
            policy.streaming = true;
            policy.concurrency = 2;
            policy.batch_size = 2;
            policy.transaction_timeout = None;
        });
    world.push(["quick"]);
    let running = world.start().await;
    sleep(SECOND).await;
    world.push(["slow", "other"]);
    sleep(60 * SECOND).await;
    assert_eq!(world.input.queue.inspect().acked, 2, "quick and other");
    running.stop();
    running.wait().await.unwrap();
}

/// The waits between the fetches so far, in milliseconds.
fn waits(world: &World) -> Vec<u128> {
    let asked = world.input.faults.asked_at.lock().unwrap();
    asked.windows(2).map(|pair| (pair[1].0 - pair[0].0).as_millis()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_waits_on_an_empty_source_double_up_to_five_seconds() {
    let world = World::new().policy(|policy| policy.streaming = true);
    let running = world.start().await;
    sleep(60 * SECOND).await;
    running.stop();
    running.wait().await.unwrap();
    let waits = waits(&world);
    let mut expected = vec![100, 200, 400, 800, 1600, 3200];
    expected.resize(waits.len(), 5000);
    assert!(waits.len() > 12, "{waits:?}");
    for (wait, expected) in waits.iter().zip(expected) {
        assert!((expected..=expected + 2).contains(wait), "{waits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_source_is_asked_twice_a_second_at_most() {
    let world = World::new().policy(|policy| (policy.streaming, policy.concurrency) = (true, 64));
    let running = world.start().await;
    for minute in 1..=5 {
        let before = world.input.faults.fetched.load(Ordering::SeqCst);
        sleep(60 * SECOND).await;
        let fetches = world.input.faults.fetched.load(Ordering::SeqCst) - before;
        assert!((1..=2 * 60).contains(&fetches), "{fetches} fetches in minute {minute}");
    }
    let waits = waits(&world);
    assert!(waits.iter().skip(3).all(|wait| *wait >= 500), "after the first second: {waits:?}");
    running.stop();
    running.wait().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_waits_begin_anew_when_something_came() {
    let world = World::new().policy(|policy| policy.streaming = true);
    let running = world.start().await;
    sleep(60 * SECOND).await;
    world.push(["late"]);
    sleep(6 * SECOND).await;
    assert_eq!(world.input.queue.inspect().acked, 1);
    let before = world.input.faults.fetched.load(Ordering::SeqCst);
    world.push(["later"]);
    sleep(6 * SECOND).await;
    running.stop();
    running.wait().await.unwrap();
    let waits = waits(&world);
    let longest = waits.iter().rposition(|wait| *wait >= 5000).unwrap();
    assert!(longest < before, "{waits:?}");
    let after = &waits[longest + 1..];
    assert!(after.len() >= 4 && after.iter().all(|wait| *wait <= 3300), "{after:?}");
    assert!(after.iter().filter(|wait| (100..=102).contains(*wait)).count() >= 2, "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_push_source_wakes_the_loop_at_once() {
    let world = World::new().policy(|policy| policy.streaming = true);
    world.input.faults.pushes.store(true, Ordering::SeqCst);
    let running = world.start().await;
    for (n, quiet) in [1, 60, 3600].into_iter().enumerate() {
        sleep(quiet * SECOND).await;
        world.push([n.to_string()]);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(world.input.queue.inspect().acked, n as u64 + 1);
    }
    // One fetch that waits, and one fetch for each delivery.
    assert_eq!(world.input.faults.fetched.load(Ordering::SeqCst), 1 + 3);
    running.stop();
    running.wait().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_failing_source_is_asked_less_and_less() {
    let world = World::with(1).policy(|policy| policy.streaming = true);
    let errors = (0..14).map(|_| ConnectorError::transient("link lost"));
    world.input.faults.fetches.lock().unwrap().extend(errors);
    let running = world.start().await;
    sleep(600 * SECOND).await;
    assert_eq!(world.input.queue.inspect().acked, 1, "it goes on when the source is there again");
    running.stop();
    running.wait().await.unwrap();
    let waits = waits(&world);
    let mut jittered = false;
    for (n, wait) in waits.iter().take(14).enumerate() {
        let plain = (500 << n.min(6)).min(30_000);
        let (least, most) = (plain * 8 / 10, (plain * 12 / 10).min(30_000) + 2);
        assert!((least..=most).contains(wait), "wait {n}: {waits:?}");
        jittered |= wait.abs_diff(plain) > 2;
    }
    assert!(jittered, "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn a_permanent_error_ends_a_finite_run_and_is_not_retried() {
    let world = World::with(3).policy(|policy| policy.fetch.max_attempts = 5);
    world.input.faults.fetches.lock().unwrap().push_back(ConnectorError::permanent("no such queue"));
    let report = world.run().await;
    let Ended::Failed(error) = report.ended else { panic!("{:?}", report.ended) };
    assert_eq!(error.to_string(), "fetch from input (flaky): no such queue");
    assert_eq!(
        (world.input.faults.fetched.load(Ordering::SeqCst), world.input.queue.inspect().waiting),
        (1, 3)
    );
}

#[tokio::test(start_paused = true)]
async fn a_push_source_with_a_fetch_limit_wakes_the_loop_at_once() {
    let world = World::new().policy(|policy| {
        policy.streaming = true;
        policy.fetch.timeout = Some(SECOND);
    });
    world.input.faults.pushes.store(true, Ordering::SeqCst);
    let running = world.start().await;
    for n in 0..20 {
        sleep(Duration::from_millis(7_300)).await;
        world.push([n.to_string()]);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(world.input.queue.inspect().acked, n + 1);
    }
    running.stop();
    running.wait().await.unwrap();
}
