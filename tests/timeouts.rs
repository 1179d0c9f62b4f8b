//! Time limits, each on its own.
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

use ergon::ErrorKind;
use ergon::prelude::*;
use ergon::telemetry::Ended;
use ergon_tests::World;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_step_limit_bounds_each_attempt_and_is_retried() {
    let began = Instant::now();
    let world = World::with(1)
        .process(|_| async {
            sleep(10 * SECOND).await;
            Ok(())
        })
        .policy(|policy| {
            policy.process.max_attempts = 2;
            policy.process.timeout = Some(SECOND);
        });
    let report = world.run().await;
    assert_eq!(world.log(), ["process 0", "process 0", "exception:timeout 0"]);
    assert_eq!(report.tally.refusals[0].message, "process took longer than its limit of 1s");
    assert_eq!(report.tally.failed.timeout, 1);
    assert!(began.elapsed() < 2 * SECOND + Duration::from_millis(5), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_transaction_limit_bounds_process_and_success_together_and_the_exception_handler_runs_once() {
    let began = Instant::now();
    let world = World::with(1)
        .process(|_| async {
            sleep(2 * SECOND).await;
            Ok(())
        })
        .success(|_| async {
            sleep(60 * SECOND).await;
            Ok(())
        })
        .policy(|policy| {
            policy.transaction_timeout = Some(3 * SECOND);
            policy.success.max_attempts = 5;
        });
    let report = world.run().await;
    assert_eq!(world.log(), ["process 0", "success 0", "exception:timeout 0"]);
    assert_eq!((report.tally.succeeded, report.tally.failed.timeout), (0, 1));
    assert_eq!(began.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_transaction_limit_bounds_the_waits_between_attempts() {
    let began = Instant::now();
    let world =
        World::with(1).process(|_| async { Err(TransactionError::system("link lost")) }).policy(|policy| {
            policy.transaction_timeout = Some(3 * SECOND);
            policy.process.max_attempts = 5;
            policy.process.backoff = 60 * SECOND;
        });
    world.run().await;
    assert_eq!(world.log(), ["process 0", "exception:timeout 0"]);
    assert_eq!(began.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_exception_handler_has_a_budget_of_its_own() {
    let world = World::with(1)
        .process(|_| async {
            sleep(10 * SECOND).await;
            Ok(())
        })
        .exception(|_| async {
            sleep(10 * SECOND).await;
            Ok(Disposition::Ack)
        })
        .policy(|policy| policy.transaction_timeout = Some(SECOND));
    let report = world.run().await;
    assert_eq!(report.tally.handler_failures, 0);
    assert_eq!(world.input.queue.inspect().acked, 1);
}

#[tokio::test(start_paused = true)]
async fn no_transaction_limit_lets_a_transaction_take_its_time() {
    let world = World::with(1)
        .process(|_| async {
            sleep(3600 * SECOND).await;
            Ok(())
        })
        .policy(|policy| policy.transaction_timeout = None);
    assert_eq!(world.run().await.tally.succeeded, 1);
}

#[tokio::test(start_paused = true)]
async fn the_run_limit_with_work_left_is_an_error() {
    let world = World::with(3)
        .process(|_| async {
            sleep(10 * SECOND).await;
            Ok(())
        })
        .policy(|policy| {
            policy.timeout = Some(SECOND);
            policy.shutdown_grace = 2 * SECOND;
        });
    let began = Instant::now();
    let report = world.run().await;
    let Ended::Failed(error) = report.ended else { panic!("{:?}", report.ended) };
    assert_eq!(error.kind(), ErrorKind::LoopTimeout);
    assert_eq!(began.elapsed().as_secs(), 3);
    assert_eq!(world.input.queue.inspect().waiting, 3, "what was cancelled is given back");
}

#[tokio::test(start_paused = true)]
async fn the_run_limit_with_nothing_left_is_a_normal_end() {
    let world = World::with(3).policy(|policy| {
        policy.timeout = Some(SECOND);
        policy.streaming = true;
    });
    let report = world.run().await;
    assert!(matches!(report.ended, Ended::TimeLimit), "{:?}", report.ended);
    assert_eq!(report.tally.succeeded, 3);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_limit_bounds_each_attempt_and_is_retried() {
    let world = World::with(1).policy(|policy| {
        policy.fetch.timeout = Some(SECOND);
        policy.fetch.max_attempts = 3;
    });
    world.input.faults.fetches_that_hang.store(2, Ordering::SeqCst);
    let began = Instant::now();
    let report = world.run().await;
    assert_eq!(report.tally.succeeded, 1);
    assert_eq!(began.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_never_answers_ends_a_finite_run_with_an_error() {
    let world = World::with(1).policy(|policy| policy.fetch.timeout = Some(SECOND));
    world.input.faults.fetches_that_hang.store(1, Ordering::SeqCst);
    let report = world.run().await;
    let Ended::Failed(error) = report.ended else { panic!("{:?}", report.ended) };
    assert_eq!(error.to_string(), "fetch from input (flaky): fetch took longer than its limit of 1s");
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_a_fetch_that_never_answers() {
    let world = World::with(1);
    world.input.faults.fetches_that_hang.store(1, Ordering::SeqCst);
    let running = world.start().await;
    sleep(SECOND).await;
    running.stop();
    let began = Instant::now();
    running.wait().await.unwrap();
    assert_eq!(began.elapsed().as_millis(), 0);
    assert_eq!(world.input.queue.inspect().waiting, 1);
}
