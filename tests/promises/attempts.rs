//! Tests steps, attempts and the waits between attempts, also for the user's own functions.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ergon::policy::RetryPolicy;
use ergon::prelude::*;
use ergon::{run_fn, run_fn_blocking};
use ergon_tests::World;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

fn lost() -> TransactionError {
    TransactionError::system("link lost")
}

/// The start of each attempt of `process`, measured from the first.
async fn times(
    policy: RetryPolicy,
    error: impl Fn() -> TransactionError + Send + Sync + 'static,
) -> Vec<Duration> {
    let times = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&times);
    let world = World::with(1)
        .process(move |_| {
            seen.lock().unwrap().push(Instant::now());
            std::future::ready(Err(error()))
        })
        .policy(|own| (own.process, own.transaction_timeout) = (policy, None));
    world.run().await;
    let times = times.lock().unwrap().clone();
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// Whether a wait has the expected length. The granularity of the timer is a millisecond.
fn about(wait: Duration, expected: Duration) -> bool {
    wait >= expected && wait <= expected + Duration::from_millis(2)
}

#[test]
fn the_defaults_are_one_attempt_without_limit_or_wait() {
    let expected = RetryPolicy {
        max_attempts: 1,
        timeout: None,
        backoff: Duration::ZERO,
        backoff_multiplier: 2.0,
        backoff_cap: None,
        jitter: 0.0,
    };
    let ConsumerPolicy { fetch, process, success, exception, .. } = ConsumerPolicy::DEFAULT;
    let ProducerPolicy { prepare, success: handed_on, exception: failed, .. } = ProducerPolicy::DEFAULT;
    for policy in [RetryPolicy::default(), fetch, process, success, exception, prepare, handed_on, failed] {
        assert_eq!(policy, expected);
    }
}

#[test]
fn the_wait_grows_by_the_multiplier_up_to_the_cap() {
    for _ in 0..5_000 {
        let (backoff, multiplier) = (fastrand::u64(0..10_000), fastrand::u64(1..6));
        let (attempt, cap) = (fastrand::u32(1..40), fastrand::u64(10_000..10_000_000));
        let policy = RetryPolicy {
            backoff: Duration::from_millis(backoff),
            backoff_multiplier: f64::from(u32::try_from(multiplier).unwrap()),
            ..RetryPolicy::DEFAULT
        };
        let exact = u128::from(backoff) * u128::from(multiplier).pow(attempt - 1);
        let capped = RetryPolicy { backoff_cap: Some(Duration::from_millis(cap)), ..policy };
        // Long waits are exact to a millisecond.
        let wait = capped.wait_after(attempt, None).as_millis();
        assert!(wait.abs_diff(exact.min(cap.into())) <= 1, "{capped:?} {attempt}: {wait}");
        let wait = policy.wait_after(attempt, None).as_millis();
        assert!(exact >= 1 << 40 || wait.abs_diff(exact) <= 1, "{policy:?} {attempt}: {wait}");
    }
}

#[tokio::test(start_paused = true)]
async fn jitter_spreads_a_wait_both_ways_and_never_above_the_cap() {
    fastrand::seed(7);
    let policy = RetryPolicy {
        max_attempts: 201,
        backoff: 10 * SECOND,
        backoff_multiplier: 1.0,
        jitter: 0.5,
        ..RetryPolicy::DEFAULT
    };
    let waits = times(policy, lost).await;
    let (least, most) = (*waits.iter().min().unwrap(), *waits.iter().max().unwrap());
    assert!(least >= 5 * SECOND && least < 6 * SECOND, "{least:?}");
    assert!(most <= 15 * SECOND + Duration::from_millis(2) && most > 14 * SECOND, "{most:?}");
    let capped = times(RetryPolicy { backoff_cap: Some(10 * SECOND), ..policy }, lost).await;
    let most = *capped.iter().max().unwrap();
    assert!(about(most, 10 * SECOND), "{most:?}");
    assert!(*capped.iter().min().unwrap() < 6 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_wait_without_end_is_ended_by_the_transaction_limit() {
    for (backoff, retry_after) in
        [(Duration::MAX, None), (Duration::ZERO, Some(Duration::MAX)), (Duration::MAX, Some(Duration::MAX))]
    {
        let began = Instant::now();
        let world = World::with(1)
            .process(move |_| async move {
                Err(match retry_after {
                    Some(wait) => lost().with_retry_after(wait),
                    None => lost(),
                })
            })
            .policy(|policy| (policy.process.max_attempts, policy.process.backoff) = (3, backoff));
        world.run().await;
        assert_eq!(world.log(), ["process 0", "exception:timeout 0"]);
        assert_eq!(began.elapsed().as_secs(), 60);
    }
}

#[tokio::test(start_paused = true)]
async fn the_waits_between_attempts_are_not_bounded_by_the_step_limit() {
    let policy =
        RetryPolicy { max_attempts: 3, timeout: Some(SECOND), backoff: 10 * SECOND, ..RetryPolicy::DEFAULT };
    let waits = times(policy, lost).await;
    assert!(waits.len() == 2 && about(waits[0], 10 * SECOND) && about(waits[1], 20 * SECOND), "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn retry_after_of_an_error_replaces_the_wait_and_is_capped() {
    let policy = RetryPolicy {
        max_attempts: 3,
        backoff: 4 * SECOND,
        backoff_cap: Some(6 * SECOND),
        jitter: 1.0,
        ..RetryPolicy::DEFAULT
    };
    for (asked, expected) in [(0, 0), (2, 2), (5, 5), (6, 6), (7, 6), (3600, 6)] {
        let waits = times(policy, move || lost().with_retry_after(asked * SECOND)).await;
        assert_eq!(waits.len(), 2);
        assert!(waits.iter().all(|wait| about(*wait, expected * SECOND)), "{asked}: {waits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn system_timeout_and_panic_are_tried_again_and_business_is_not() {
    let world = World::new()
        .process(|transaction| async move {
            match transaction.id() {
                "system" => Err(lost()),
                "timeout" => Err(TransactionError::timeout("no answer")),
                "panic" => panic!("boom"),
                "slow" => {
                    sleep(3600 * SECOND).await;
                    Ok(())
                }
                _ => Err(TransactionError::business("no such article")),
            }
        })
        .policy(|policy| {
            policy.process.max_attempts = 3;
            policy.process.timeout = Some(SECOND);
        });
    world.push(["system", "timeout", "panic", "slow", "business"]);
    world.run().await;
    let log = world.log();
    let attempts = |id: &str| log.iter().filter(|line| **line == format!("process {id}")).count();
    assert_eq!(["system", "timeout", "panic", "slow", "business"].map(attempts), [3, 3, 3, 3, 1]);
    let categories =
        ["system system", "timeout timeout", "system panic", "timeout slow", "business business"];
    for category in categories {
        assert!(log.contains(&format!("exception:{category}")), "{category} in {log:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_step_has_a_budget_of_its_own() {
    let calls = Arc::new(AtomicU32::new(0));
    let world = World::with(1)
        .process(move |_| {
            let last = calls.fetch_add(1, Ordering::SeqCst) == 2;
            async move { if last { Ok(()) } else { Err(lost()) } }
        })
        .success(|_| async { Err(lost()) })
        .exception(|_| async { Err(lost()) })
        .policy(|policy| {
            policy.process.max_attempts = 3;
            policy.success.max_attempts = 2;
            policy.exception.max_attempts = 4;
            policy.limit = Some(1);
        });
    let report = world.run().await;
    let mut expected = vec!["process 0"; 3];
    expected.extend(["success 0"; 2]);
    expected.extend(["exception:system 0"; 4]);
    assert_eq!(world.log(), expected);
    assert_eq!((report.tally.retries, report.tally.handler_failures), (2 + 1 + 3, 1));
}

const THRICE: RetryPolicy = RetryPolicy {
    max_attempts: 3,
    timeout: Some(SECOND),
    backoff: Duration::from_secs(10),
    ..RetryPolicy::DEFAULT
};

#[tokio::test(start_paused = true)]
async fn run_fn_lives_by_the_rules_of_a_step() {
    let cases: [(&str, u32, u64, Category); 3] = [
        ("system", 3, 10 + 20, Category::System),
        ("slow", 3, 10 + 20 + 3, Category::Timeout),
        ("business", 1, 0, Category::Business),
    ];
    for (how, attempts, seconds, category) in cases {
        let (began, calls) = (Instant::now(), AtomicU32::new(0));
        let failed: Result<()> = run_fn(&THRICE, "stock", || async {
            calls.fetch_add(1, Ordering::SeqCst);
            match how {
                "slow" => {
                    sleep(3600 * SECOND).await;
                    Ok(())
                }
                "system" => Err(lost()),
                _ => Err(TransactionError::business("no such article")),
            }
        })
        .await;
        assert_eq!(failed.unwrap_err().category(), category);
        assert_eq!((calls.into_inner(), began.elapsed().as_secs()), (attempts, seconds), "{how}");
    }
    let began = Instant::now();
    let asked: Result<()> =
        run_fn(&THRICE, "stock", || async { Err(lost().with_retry_after(4 * SECOND)) }).await;
    assert_eq!((asked.unwrap_err().message(), began.elapsed().as_secs()), ("link lost", 8));
}

#[tokio::test(start_paused = true)]
async fn a_panic_inside_run_fn_is_a_system_error() {
    let calls = AtomicU32::new(0);
    let stock = run_fn(&THRICE, "stock", || async {
        assert!(calls.fetch_add(1, Ordering::SeqCst) == 2, "not yet");
        Ok(7)
    });
    assert_eq!(stock.await.unwrap(), 7);
    let once = RetryPolicy::DEFAULT;
    let failed = run_fn_blocking(&once, "stock", || -> Result<()> { panic!("boom") }).unwrap_err();
    assert_eq!(failed.category(), Category::System);
    assert!(
        failed.message().contains("tests/promises/attempts.rs") && failed.message().ends_with("boom"),
        "{failed}"
    );
}

#[tokio::test(start_paused = true)]
async fn run_fn_that_is_dropped_begins_no_further_attempt() {
    for after in [5, 15] {
        let calls = AtomicU32::new(0);
        let stock = run_fn(&THRICE, "stock", || async {
            calls.fetch_add(1, Ordering::SeqCst);
            Err::<(), _>(lost())
        });
        assert!(tokio::time::timeout(after * SECOND, stock).await.is_err());
        let before = calls.load(Ordering::SeqCst);
        sleep(100 * SECOND).await;
        assert_eq!((before, calls.into_inner()), (1 + after / 10, before));
    }
}

#[ergon::run_fn(policy = THRICE)]
async fn enveloped(calls: &AtomicU32, times: u32) -> Result<u32> {
    if calls.fetch_add(1, Ordering::SeqCst) < times { Err(lost()) } else { Ok(times) }
}

#[ergon::run_fn(max_attempts = 3)]
fn plain(calls: &AtomicU32, category: Category) -> Result<u32> {
    calls.fetch_add(1, Ordering::SeqCst);
    Err(TransactionError::new(category, "no"))
}

#[tokio::test(start_paused = true)]
async fn the_attribute_is_run_fn_around_a_function() {
    let (began, calls) = (Instant::now(), AtomicU32::new(0));
    assert_eq!(enveloped(&calls, 2).await.unwrap(), 2);
    assert_eq!((calls.into_inner(), began.elapsed().as_secs()), (3, 30));
    assert_eq!(enveloped(&AtomicU32::new(0), 3).await.unwrap_err().message(), "link lost");
    for (category, attempts) in [(Category::System, 3), (Category::Timeout, 3), (Category::Business, 1)] {
        let calls = AtomicU32::new(0);
        assert_eq!(plain(&calls, category).unwrap_err().category(), category);
        assert_eq!(calls.into_inner(), attempts, "{category}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_backoff_is_no_wait_for_any_number_of_attempts() {
    let policy = RetryPolicy { max_attempts: 3_000, ..RetryPolicy::DEFAULT };
    let waits = times(policy, lost).await;
    assert_eq!((waits.len(), waits.iter().sum::<Duration>()), (2_999, Duration::ZERO));
}
