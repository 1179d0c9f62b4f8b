//! Tests each time limit separately.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ergon::ErrorKind;
use ergon::prelude::*;
use ergon::telemetry::Ended;
use ergon::testing::{self, Script};
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
    assert_eq!(report.tally.rejections[0].message, "process took longer than its limit of 1s");
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

/// A world of one transaction whose process step takes this long.
fn takes(time: Duration) -> World {
    World::with(1).process(move |_| async move {
        sleep(time).await;
        Ok(())
    })
}

/// Runs the world. Returns the duration in milliseconds, and the calls.
async fn timed(world: &World) -> (u128, Vec<String>) {
    let began = Instant::now();
    world.run().await;
    (began.elapsed().as_millis(), world.log())
}

#[tokio::test(start_paused = true)]
async fn the_transaction_limit_is_a_minute_by_default() {
    assert_eq!(timed(&takes(59 * SECOND)).await.1, ["process 0", "success 0"]);
    let (took, log) = timed(&takes(3600 * SECOND)).await;
    assert_eq!((took / 1000, log), (60, vec!["process 0".to_owned(), "exception:timeout 0".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn the_exception_handler_has_a_step_limit_of_its_own() {
    let world = World::with(1)
        .process(|_| async { Err(TransactionError::business("no")) })
        .exception(|_| async {
            sleep(3600 * SECOND).await;
            Ok(Disposition::Ack)
        })
        .policy(|policy| {
            policy.exception.timeout = Some(2 * SECOND);
            policy.exception.max_attempts = 2;
            policy.transaction_timeout = Some(SECOND);
            policy.limit = Some(1);
        });
    let (took, log) = timed(&world).await;
    assert_eq!(log, ["process 0", "exception:business 0", "exception:business 0"]);
    assert_eq!((took / 1000, world.input.queue.inspect().waiting), (4, 1));
}

#[tokio::test(start_paused = true)]
async fn the_run_limit_lets_what_is_in_flight_finish_within_the_grace() {
    let world = World::with(4)
        .process(|_| async {
            sleep(10 * SECOND).await;
            Ok(())
        })
        .policy(|policy| {
            policy.timeout = Some(15 * SECOND);
            policy.concurrency = 2;
        });
    world.push(["4", "5", "6"]);
    let began = Instant::now();
    let report = world.run().await;
    assert_eq!((began.elapsed().as_secs(), report.tally.succeeded), (20, 4));
    assert!(matches!(report.ended, Ended::TimeLimit), "{:?}", report.ended);
    let queue = world.input.queue.inspect();
    assert_eq!((queue.acked, queue.waiting, queue.handed_out), (4, 3, 0));
}

#[tokio::test(start_paused = true)]
async fn each_limit_alone_bounds_only_what_it_is_for() {
    let limits: [fn(&mut ConsumerPolicy); 5] = [
        |policy| policy.fetch.timeout = Some(SECOND),
        |policy| policy.exception.timeout = Some(SECOND),
        |policy| policy.shutdown_grace = SECOND,
        |policy| policy.success.timeout = Some(SECOND),
        |policy| policy.process.timeout = Some(3 * SECOND),
    ];
    for (index, limit) in limits.into_iter().enumerate() {
        let world = takes(2 * SECOND).policy(|policy| {
            policy.transaction_timeout = None;
            limit(policy);
        });
        assert_eq!(timed(&world).await.1, ["process 0", "success 0"], "limit {index}");
    }
    // A limit of process and success limits neither a fetch nor the run.
    let world = takes(2 * SECOND).policy(|policy| {
        policy.transaction_timeout = Some(3 * SECOND);
        policy.process.timeout = Some(3 * SECOND);
        policy.fetch.timeout = Some(7 * SECOND);
        policy.fetch.max_attempts = 2;
    });
    world.push(["1", "2"]);
    world.input.faults.fetches_that_hang.store(1, Ordering::SeqCst);
    assert_eq!(timed(&world).await.0 / 1000, 7 + 3 * 2);
}

#[tokio::test(start_paused = true)]
async fn of_step_and_transaction_limit_the_first_one_over_counts() {
    // Limits of step and transaction, and the allowed attempts. Then the expected attempts, and the time of the end.
    let cases = [
        (2, 7, 2, 2, 4),
        (2, 7, 9, 4, 7),
        (9, 7, 9, 1, 7),
        (7, 7, 9, 1, 7),
        (2, 6, 9, 3, 6),
        (3, 60, 1, 1, 3),
    ];
    for case in cases {
        let (step, whole, allowed, attempts, seconds) = case;
        let world = takes(3600 * SECOND).policy(|policy| {
            policy.process.timeout = Some(step * SECOND);
            policy.process.max_attempts = allowed;
            policy.transaction_timeout = Some(whole * SECOND);
        });
        let (took, mut log) = timed(&world).await;
        assert_eq!(log.pop().unwrap(), "exception:timeout 0", "{case:?}");
        assert_eq!((log.len(), took / 1000), (attempts, seconds), "{case:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_transaction_and_run_limit_each_does_its_own() {
    let cases = [
        // Limits of transaction and run, and the grace. Then the expected calls, the time of the end, and whether work
        // was left.
        (5, 3, 10, "exception:timeout 0", 5, false),
        (2, 9, 10, "exception:timeout 0", 2, false),
        (30, 3, 10, "process 0", 13, true),
        (30, 3, 0, "process 0", 3, true),
    ];
    for (transaction, run, grace, last, seconds, left) in cases {
        let world = takes(3600 * SECOND).policy(|policy| {
            policy.transaction_timeout = Some(transaction * SECOND);
            policy.timeout = Some(run * SECOND);
            policy.shutdown_grace = grace * SECOND;
        });
        let began = Instant::now();
        let report = world.run().await;
        let took = began.elapsed().as_secs();
        assert_eq!(
            (world.log().last().unwrap().as_str(), took),
            (last, seconds),
            "{transaction} {run} {grace}"
        );
        let error = matches!(&report.ended, Ended::Failed(error) if error.kind() == ErrorKind::LoopTimeout);
        assert_eq!(
            (error, world.input.queue.inspect().waiting),
            (left, usize::from(left)),
            "{:?}",
            report.ended
        );
    }
}

#[tokio::test(start_paused = true)]
async fn of_fetch_and_run_limit_each_does_its_own() {
    // Limits of fetch and run. Then the expected time of the end, and the number of fetches.
    for (fetch, run, seconds, fetches) in [(9, 3, 3, 1), (2, 5, 5, 3), (2, 60, 2 + 2 + 2, 3)] {
        let world = World::with(1).policy(|policy| {
            policy.fetch.timeout = Some(fetch * SECOND);
            policy.fetch.max_attempts = 3;
            policy.timeout = Some(run * SECOND);
        });
        world.input.faults.fetches_that_hang.store(9, Ordering::SeqCst);
        let began = Instant::now();
        let report = world.run().await;
        let fetched = world.input.faults.fetched.load(Ordering::SeqCst);
        assert_eq!((began.elapsed().as_secs(), fetched), (seconds, fetches), "{fetch} {run}");
        assert_eq!(matches!(report.ended, Ended::TimeLimit), run < 60, "{:?}", report.ended);
        assert_eq!(world.input.queue.inspect().waiting, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn of_step_and_run_limit_each_does_its_own() {
    // The run's limit ends at 5 s. Attempts of 2 s start at 0, 2 and 4 s, and the third is not retried.
    let world = takes(3600 * SECOND).policy(|policy| {
        policy.process.timeout = Some(2 * SECOND);
        policy.process.max_attempts = 9;
        policy.timeout = Some(5 * SECOND);
    });
    let began = Instant::now();
    let report = world.run().await;
    assert_eq!((world.log(), began.elapsed().as_secs()), (vec!["process 0".to_owned(); 3], 6));
    let Ended::Failed(error) = report.ended else { panic!("{:?}", report.ended) };
    assert_eq!(error.kind(), ErrorKind::LoopTimeout);
    assert_eq!(world.input.queue.inspect().waiting, 1);
}

/// Stops a run after a second. Returns the time from the stop to the end, and the last call.
async fn stopped(world: &World) -> (u64, String) {
    let running = world.start().await;
    sleep(SECOND).await;
    running.stop();
    let began = Instant::now();
    running.wait().await.unwrap();
    assert_eq!(world.input.queue.inspect().handed_out, 0);
    (began.elapsed().as_secs(), world.log().pop().unwrap_or_default())
}

#[tokio::test(start_paused = true)]
async fn of_step_limit_and_grace_each_does_its_own() {
    for (step, grace, seconds, last) in
        [(4, 10, 3, "exception:timeout 0"), (40, 10, 10, "process 0"), (4, 1, 1, "process 0")]
    {
        let world = takes(3600 * SECOND).policy(|policy| {
            policy.process.timeout = Some(step * SECOND);
            policy.shutdown_grace = grace * SECOND;
        });
        assert_eq!(stopped(&world).await, (seconds, last.to_owned()), "{step} {grace}");
        assert_eq!(world.input.queue.inspect().waiting, usize::from(last == "process 0"));
    }
}

#[tokio::test(start_paused = true)]
async fn of_transaction_limit_and_grace_each_does_its_own() {
    for (limit, grace, seconds, last) in
        [(4, 10, 3, "exception:timeout 0"), (40, 10, 10, "success 0"), (4, 1, 1, "success 0")]
    {
        let world = World::with(1)
            .success(|_| async {
                sleep(3600 * SECOND).await;
                Ok(())
            })
            .policy(|policy| {
                policy.transaction_timeout = Some(limit * SECOND);
                policy.shutdown_grace = grace * SECOND;
            });
        assert_eq!(stopped(&world).await, (seconds, last.to_owned()), "{limit} {grace}");
        assert_eq!(world.input.queue.inspect().waiting, usize::from(last == "success 0"));
    }
}

#[tokio::test(start_paused = true)]
async fn of_fetch_limit_and_a_stop_each_does_its_own() {
    for limit in [None, Some(40 * SECOND)] {
        let world = World::with(1).policy(|policy| {
            policy.fetch.timeout = limit;
            policy.fetch.max_attempts = 9;
        });
        world.input.faults.fetches_that_hang.store(9, Ordering::SeqCst);
        assert_eq!(stopped(&world).await, (0, String::new()), "{limit:?}");
        assert_eq!(world.input.faults.fetched.load(Ordering::SeqCst), 1);
    }
}

/// Records when it is dropped.
struct Dropped(Arc<Mutex<Option<Instant>>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        *self.0.lock().unwrap() = Some(Instant::now());
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_is_dropped_within_five_milliseconds_of_each_limit() {
    let limits: [fn(&mut ConsumerPolicy, Duration); 4] = [
        |policy, limit| policy.process.timeout = Some(limit),
        |policy, limit| policy.transaction_timeout = Some(limit),
        |policy, limit| (policy.timeout, policy.shutdown_grace) = (Some(limit), Duration::ZERO),
        |policy, limit| (policy.timeout, policy.shutdown_grace) = (Some(limit / 2), limit / 2),
    ];
    for (index, set) in limits.into_iter().enumerate() {
        for millis in [1, 7, 250, 3_333, 59_000] {
            let (limit, dropped) = (Duration::from_millis(millis), Arc::default());
            let seen = Arc::clone(&dropped);
            let world = World::with(1)
                .process(move |_| {
                    let held = Dropped(Arc::clone(&seen));
                    async move {
                        let _held = held;
                        sleep(3600 * SECOND).await;
                        Ok(())
                    }
                })
                .policy(|policy| set(policy, limit));
            let began = Instant::now();
            world.run().await;
            let lived = dropped.lock().unwrap().expect("it is dropped") - began;
            assert!(
                lived >= limit && lived <= limit + Duration::from_millis(5),
                "{index}: {lived:?} {limit:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_handler_ends_twice_whatever_runs_out_when() {
    for seed in 0..2_000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        // A limit must be longer than zero. Other durations may be zero.
        let mut millis = |least: u64, most: u64| Duration::from_millis(rng.u64(least..most));
        let [process, success, exception, grace] = [millis(0, 6), millis(0, 6), millis(0, 6), millis(0, 6)];
        let [step, later, whole, run] = [millis(1, 6), millis(1, 6), millis(1, 9), millis(1, 20)];
        let ended: Arc<Mutex<Vec<&str>>> = Arc::default();
        let ends = |step, time| {
            let ended = Arc::clone(&ended);
            move || {
                let ended = Arc::clone(&ended);
                async move {
                    sleep(time).await;
                    ended.lock().unwrap().push(step);
                }
            }
        };
        let (first, second, third) = (ends("p", process), ends("s", success), ends("e", exception));
        let world = World::with(1)
            .process(move |_| {
                let end = first();
                async move {
                    end.await;
                    Ok(())
                }
            })
            .success(move |_| {
                let end = second();
                async move {
                    end.await;
                    Ok(())
                }
            })
            .exception(move |_| {
                let end = third();
                async move {
                    end.await;
                    Ok(Disposition::Reject)
                }
            })
            .policy(|policy| {
                (policy.process.timeout, policy.process.max_attempts) = (Some(step), 2);
                (policy.success.timeout, policy.success.max_attempts) = (Some(later), 2);
                (policy.exception.timeout, policy.exception.max_attempts) = (Some(2 * later), 2);
                (policy.transaction_timeout, policy.timeout) = (Some(whole), Some(run));
                (policy.shutdown_grace, policy.limit) = (grace, Some(1));
            });
        let report = world.run().await;
        let queue = world.input.queue.inspect();
        let ended = ended.lock().unwrap().join("");
        // The step that ran to its end, and the outcome: succeeded, rejected, given back.
        let outcome = (queue.acked, queue.dead_letters.len(), queue.waiting);
        let expected = match ended.as_str() {
            "ps" => (1, 0, 0),
            "e" | "pe" => (0, 1, 0),
            "" | "p" => (0, 0, 1),
            other => panic!("seed {seed}: {other}"),
        };
        assert_eq!(outcome, expected, "seed {seed}: {ended:?} {report:?} {:?}", world.log());
        assert_eq!(report.tally.succeeded, u64::from(ended == "ps"), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_put_off_after_the_run_limit_is_work_left() {
    #[ergon::task(connectors(input), consumer(timeout = "1s"))]
    struct C;
    impl Consumer for C {
        type Payload = u32;
        type Output = ();
        async fn process_transaction(&self, _: &Transaction<u32>) -> Result<()> {
            sleep(2 * SECOND).await;
            Err(TransactionError::business("x"))
        }
        async fn handle_process_exception(
            &self,
            _: &Transaction,
            _: &TransactionError,
        ) -> Result<Disposition> {
            Ok(Disposition::RetryAfter(Duration::from_millis(5)))
        }
    }
    let input = Script::new();
    input.push_json("a", &1);
    let report = testing::run(C::config(CWiring { input: input.clone() })).await.unwrap();
    assert!(input.waiting().is_empty() || matches!(report.ended, Ended::Failed(_)));
}
