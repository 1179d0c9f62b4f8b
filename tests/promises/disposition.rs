//! Tests the dispositions, the dead-letter connector, and the limit on deliveries.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ergon::connector::ConnectorError;
use ergon::policy::OnHandlerFailure;
use ergon::prelude::*;
use ergon::telemetry::{Ended, RunReport};
use ergon_tests::{Lines, World};
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

/// A world of one transaction that fails, and whose exception handler returns this disposition.
fn failing(disposition: Disposition) -> World {
    World::with(1)
        .process(|_| async { Err(TransactionError::business("no such article")) })
        .exception(move |_| async move { Ok(disposition) })
}

/// The same with a dead-letter connector.
fn lettered(disposition: Disposition) -> World {
    failing(disposition).policy(|policy| policy.dead_letter = Some("letters".into()))
}

/// Runs the world, for at most an hour of the paused clock.
async fn run(world: &World) -> RunReport {
    timeout(3600 * SECOND, Box::pin(world.run())).await.expect("the run ends")
}

fn processed(world: &World) -> usize {
    world.log().iter().filter(|line| line.starts_with("process ")).count()
}

#[tokio::test(start_paused = true)]
async fn every_disposition_does_to_a_memory_source_what_it_says() {
    use Disposition::{Ack, Reject, Requeue, RetryAfter};
    // The disposition, and whether there is a dead-letter connector. Then the expected numbers: processed, acked,
    // rejected to the source, and accepted by the dead-letter connector.
    let cases = [
        (Ack, false, (1, 1, 0, 0)),
        (Ack, true, (1, 1, 0, 0)),
        (Reject, false, (1, 0, 1, 0)),
        (Reject, true, (1, 1, 0, 1)),
        (Requeue, false, (3, 0, 1, 0)),
        (Requeue, true, (3, 1, 0, 1)),
        (RetryAfter(7 * SECOND), false, (3, 0, 1, 0)),
        (RetryAfter(7 * SECOND), true, (3, 1, 0, 1)),
    ];
    for (disposition, named, expected) in cases {
        let world = if named { lettered(disposition) } else { failing(disposition) };
        let world = world.policy(|policy| policy.max_deliveries = 3);
        let began = Instant::now();
        let report = run(&world).await;
        let queue = world.input.queue.inspect();
        let letters = world.letters.queue.inspect().waiting;
        let seen = (processed(&world), queue.acked, queue.dead_letters.len(), letters);
        assert_eq!(seen, expected, "{disposition:?}, dead letter: {named}");
        assert_eq!((queue.handed_out, queue.waiting), (0, 0), "{disposition:?}, dead letter: {named}");
        let refused = u64::from(disposition != Ack);
        assert_eq!((report.tally.rejected, report.tally.rejections.len() as u64), (refused, refused));
        assert_eq!(report.tally.dead_lettered, letters as u64);
        let held = if matches!(disposition, RetryAfter(_)) { 3 * 7 } else { 0 };
        assert_eq!(began.elapsed().as_secs(), held, "{disposition:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_failure_that_rejects_goes_to_the_dead_letter_connector_with_the_first_error() {
    let world = lettered(Disposition::Ack)
        .exception(|_| async { Err(TransactionError::system("no pager")) })
        .policy(|policy| policy.on_handler_failure = OnHandlerFailure::Reject);
    let report = run(&world).await;
    assert_eq!((report.tally.handler_failures, report.tally.dead_lettered), (1, 1));
    let letters = world.letters.queue.drain();
    assert_eq!(letters[0].metadata().text("ergon-error"), Some("no such article"));
    assert_eq!(world.input.queue.inspect().acked, 1);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_says_what_went_wrong_in_which_step() {
    let world = World::new()
        .process(|transaction| async move {
            match transaction.id() {
                "business" => return Err(TransactionError::business("no such article")),
                "system" => return Err(TransactionError::system("link lost")),
                "timeout" => sleep(3600 * SECOND).await,
                "panic" => panic!("boom"),
                _ => (),
            }
            Ok(())
        })
        .success(|_| async { Err(TransactionError::system("no space")) })
        .policy(|policy| {
            policy.dead_letter = Some("letters".into());
            policy.process.max_attempts = 3;
            policy.process.timeout = Some(SECOND);
            policy.success.max_attempts = 2;
        });
    let ids = ["business", "system", "timeout", "panic", "success"];
    world.push(ids);
    run(&world).await;
    let letters = world.letters.queue.drain();
    let of = |id: &str| letters.iter().find(|letter| letter.id() == id).unwrap();
    let said = ids.map(|id| {
        let metadata = of(id).metadata();
        assert_eq!(metadata.text("ergon-task"), Some("probe"));
        assert_eq!(of(id).payload().decode::<String>().unwrap(), "body");
        (metadata.text("ergon-category").unwrap(), metadata.get("ergon-attempts").unwrap().as_u64().unwrap())
    });
    assert_eq!(said, [("business", 1), ("system", 3), ("timeout", 3), ("system", 3), ("system", 2)]);
    let words = ids.map(|id| of(id).metadata().text("ergon-error").unwrap());
    assert_eq!(words[..3], ["no such article", "link lost", "process took longer than its limit of 1s"]);
    assert!(words[3].starts_with("panicked at ") && words[3].ends_with(": boom"), "{}", words[3]);
    assert_eq!(words[4], "no space");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_acked_before_the_dead_letter_connector_has_it() {
    let world = lettered(Disposition::Reject);
    *world.letters.faults.dispatch_takes.lock().unwrap() = 10 * SECOND;
    let running = world.start().await;
    sleep(9 * SECOND).await;
    assert_eq!(world.letters.faults.dispatched_at.lock().unwrap().len(), 1);
    assert_eq!((world.input.queue.inspect().acked, world.input.queue.inspect().handed_out), (0, 1));
    let report = running.wait().await.unwrap();
    assert_eq!((world.input.queue.inspect().acked, report.tally.dead_lettered), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_failing_dead_letter_connector_is_tried_again_with_growing_waits() {
    let world = lettered(Disposition::Reject).policy(|policy| policy.limit = Some(1));
    let errors = (0..9).map(|_| ConnectorError::transient("disk full"));
    world.letters.faults.dispatches.lock().unwrap().extend(errors);
    let report = run(&world).await;
    let times = world.letters.faults.dispatched_at.lock().unwrap().clone();
    let waits: Vec<_> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
    assert_eq!(waits.len(), 4);
    for (wait, about) in waits.iter().zip([200, 400, 800, 1600]) {
        assert!((about * 8 / 10..=about * 12 / 10 + 1).contains(wait), "{waits:?}");
    }
    let queue = world.input.queue.inspect();
    assert_eq!((queue.acked, queue.waiting, queue.dead_letters.len()), (0, 1, 0));
    assert_eq!((report.tally.given_back, report.tally.dead_lettered, report.tally.rejected), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_held_takes_no_slot_from_others() {
    let world = World::with(20)
        .process(|transaction| async move {
            sleep(SECOND).await;
            if transaction.id() == "0" && transaction.deliveries() == 1 {
                return Err(TransactionError::business("not yet"));
            }
            Ok(())
        })
        .exception(|_| async { Ok(Disposition::RetryAfter(5 * SECOND)) });
    let began = Instant::now();
    let report = run(&world).await;
    assert_eq!(report.tally.succeeded, 20);
    assert_eq!(began.elapsed().as_secs(), 1 + 19 + 1, "the others run while it is held");
    let log = world.log();
    let again = log.iter().rposition(|line| line == "process 0").unwrap();
    let before = log.iter().take(again).filter(|line| line.starts_with("success")).count();
    assert!((5..=6).contains(&before), "{before} ended before it was tried again");
}

/// The only lane may wait for the source when a held delivery is due.
#[tokio::test(start_paused = true)]
async fn what_is_held_runs_again_while_a_lane_waits_for_the_source() {
    for (waits, concurrency) in [(true, 1), (true, 2), (false, 1)] {
        let world = World::with(1)
            .process(|transaction| async move {
                let again = transaction.deliveries() > 1;
                if again { Ok(()) } else { Err(TransactionError::business("not yet")) }
            })
            .exception(|_| async { Ok(Disposition::RetryAfter(5 * SECOND)) })
            .policy(|policy| {
                policy.streaming = true;
                policy.concurrency = concurrency;
            });
        world.input.faults.pushes.store(waits, Ordering::SeqCst);
        let (began, running) = (Instant::now(), world.start().await);
        while running.tally().succeeded == 0 {
            assert!(
                began.elapsed() < 60 * SECOND,
                "waits: {waits}, concurrency {concurrency}: it never ran again"
            );
            sleep(SECOND / 10).await;
        }
        assert!(began.elapsed() < 6 * SECOND, "waits: {waits}: it ran again after {:?}", began.elapsed());
        running.stop();
        running.wait().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_a_stop_is_a_requeue() {
    let world = failing(Disposition::Ack).exception(|_| async {
        sleep(10 * SECOND).await;
        Ok(Disposition::RetryAfter(3600 * SECOND))
    });
    let running = world.start().await;
    sleep(SECOND).await;
    running.stop();
    let began = Instant::now();
    let report = running.wait().await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 9, "it is not held");
    assert_eq!((report.tally.requeued, report.tally.processed), (1, 1));
    let queue = world.input.queue.inspect();
    assert_eq!((queue.waiting, queue.handed_out, queue.acked), (1, 0, 0));
    assert!(matches!(report.ended, Ended::Stopped { .. }), "{:?}", report.ended);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_is_delivered_twenty_times_by_default() {
    let world = failing(Disposition::Requeue);
    let report = run(&world).await;
    assert_eq!((processed(&world), report.tally.rejected), (20, 1));
    let letters = world.input.queue.inspect().dead_letters;
    assert_eq!((letters.len(), letters[0].deliveries()), (1, 21));
}

#[tokio::test(start_paused = true)]
async fn what_was_delivered_too_often_goes_to_the_dead_letter_connector_with_the_reason() {
    let world = lettered(Disposition::Requeue).policy(|policy| policy.max_deliveries = 2);
    run(&world).await;
    assert_eq!(world.log(), ["process 0", "exception:business 0", "process 0", "exception:business 0"]);
    let letters = world.letters.queue.drain();
    let reason = "delivered 3 times, more than `max_deliveries` = 2 allows";
    assert_eq!(letters[0].metadata().text("ergon-error"), Some(reason));
    assert_eq!((letters[0].id(), world.input.queue.inspect().acked), ("0", 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_held_again_and_again_is_rejected_in_the_end() {
    let world = failing(Disposition::RetryAfter(SECOND)).policy(|policy| policy.max_deliveries = 4);
    let report = run(&world).await;
    assert_eq!((processed(&world), report.tally.rejected), (4, 1));
    assert_eq!(
        report.tally.rejections[0].message,
        "delivered 5 times, more than `max_deliveries` = 4 allows"
    );
    assert_eq!(world.input.faults.fetched.load(Ordering::SeqCst), 2, "it is never fetched again");
}

#[tokio::test(start_paused = true)]
async fn what_is_to_be_held_for_ever_is_held() {
    let world = failing(Disposition::RetryAfter(Duration::MAX));
    let running = world.start().await;
    sleep(3600 * SECOND).await;
    assert_eq!((processed(&world), world.input.queue.inspect().handed_out), (1, 1));
    running.stop();
    running.wait().await.unwrap();
    assert_eq!(world.input.queue.inspect().waiting, 1);
}

#[tokio::test(start_paused = true)]
async fn a_finite_run_ends_when_poison_is_not_taken_by_the_dead_letter_connector_either() {
    let world = lettered(Disposition::Requeue).policy(|policy| policy.max_deliveries = 3);
    takes_nothing(&world);
    let report = run(&world).await;
    let Ended::Failed(error) = report.ended else { panic!("{:?}", report.ended) };
    let said = "dead letters to letters (flaky): the disk is full; transaction 0 was given back";
    assert_eq!(error.to_string(), said);
    assert_eq!((processed(&world), world.input.queue.inspect().waiting), (3, 1));
}

/// Lets the dead-letter connector refuse everything for longer than any test runs.
fn takes_nothing(world: &World) {
    let refusals = (0..100_000).map(|_| ConnectorError::transient("the disk is full"));
    world.letters.faults.dispatches.lock().unwrap().extend(refusals);
}

/// From now on, the dead-letter connector accepts everything.
fn takes_all(world: &World) {
    world.letters.faults.dispatches.lock().unwrap().clear();
}

fn letters_tried(world: &World) -> Vec<Instant> {
    world.letters.faults.dispatched_at.lock().unwrap().clone()
}

/// Refuses transactions whose id begins with `bad`.
fn some_bad(ids: &[&str]) -> World {
    let world = World::new()
        .process(|transaction| async move {
            let bad = transaction.id().starts_with("bad");
            if bad { Err(TransactionError::business("no such article")) } else { Ok(()) }
        })
        .policy(|policy| policy.dead_letter = Some("letters".into()));
    world.push(ids);
    world
}

async fn succeeded(running: &ergon::testing::Running, count: u64) {
    let began = Instant::now();
    while running.tally().succeeded < count {
        assert!(began.elapsed() < 600 * SECOND, "only {} of {count}", running.tally().succeeded);
        sleep(SECOND / 10).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_is_not_taken_holds_up_no_other_transaction() {
    for streaming in [true, false] {
        for mode in [ergon::policy::Mode::Continuous, ergon::policy::Mode::Batch] {
            let world = some_bad(&["bad", "1", "2"]).policy(|policy| {
                policy.streaming = streaming;
                policy.mode = mode;
            });
            takes_nothing(&world);
            let (began, running) = (Instant::now(), world.start().await);
            succeeded(&running, 2).await;
            assert!(began.elapsed() < SECOND, "they waited {:?}", began.elapsed());
            if !streaming {
                continue;
            }
            sleep(3600 * SECOND).await;
            world.push(["3"]);
            succeeded(&running, 3).await;
            assert_eq!(processed(&world), 4, "nothing is processed again");
            let waits: Vec<_> =
                letters_tried(&world).windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
            assert!((0.1..0.3).contains(&waits[0]) && (110..170).contains(&waits.len()), "{waits:?}");
            assert!(waits[9..].iter().all(|wait| (24.0..=30.1).contains(wait)), "{waits:?}");
            takes_all(&world);
            sleep(31 * SECOND).await;
            assert_eq!(world.letters.queue.inspect().waiting, 1);
            running.stop();
            let tally = running.wait().await.unwrap().tally;
            let (refused, lettered) = (tally.rejected, tally.dead_lettered);
            assert_eq!((tally.processed, refused, lettered, tally.undelivered), (4, 1, 1, 0));
            assert_eq!((tally.requeued, world.input.queue.inspect().acked), (0, 4));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_connector_that_hangs_takes_a_lane_once() {
    let world = some_bad(&["bad-1", "bad-2", "bad-3", "bad-4", "1", "2"]);
    *world.letters.faults.dispatch_takes.lock().unwrap() = 36_000 * SECOND;
    let (began, running) = (Instant::now(), world.start().await);
    succeeded(&running, 2).await;
    assert_eq!(began.elapsed().as_secs(), 30, "the time that one attempt has");
    let report = running.wait().await.unwrap();
    assert!(matches!(report.ended, Ended::Failed(_)), "{:?}", report.ended);
    assert_eq!((report.tally.undelivered, world.input.queue.inspect().waiting), (4, 4));
}

#[tokio::test(start_paused = true)]
async fn a_finite_run_works_on_the_rest_and_ends_with_an_error_if_dead_letters_are_not_taken() {
    let world = some_bad(&["bad-1", "1", "bad-2", "2", "3"]);
    takes_nothing(&world);
    let report = run(&world).await;
    let Ended::Failed(error) = &report.ended else { panic!("{:?}", report.ended) };
    let said = "dead letters to letters (flaky): the disk is full; 2 transactions were given back";
    assert_eq!(error.to_string(), said);
    let tally = &report.tally;
    assert_eq!((tally.succeeded, tally.processed, tally.failed.business), (3, 5, 2));
    assert_eq!((tally.given_back, tally.undelivered, tally.rejected, tally.dead_lettered), (2, 2, 0, 0));
    let queue = world.input.queue.inspect();
    assert_eq!((queue.acked, queue.waiting, queue.handed_out), (3, 2, 0));
    assert_eq!(letters_tried(&world).len(), 10, "each has its five attempts");
    assert_eq!(processed(&world), 5, "nothing is processed again");
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_tried_as_long_as_a_finite_run_has_other_work() {
    let world = some_bad(&["bad", "slow"]).process(|transaction| async move {
        if transaction.id() == "bad" {
            return Err(TransactionError::business("no such article"));
        }
        sleep(600 * SECOND).await;
        Ok(())
    });
    let world = world.policy(|policy| policy.transaction_timeout = None);
    let errors = (0..20).map(|_| ConnectorError::transient("the disk is full"));
    world.letters.faults.dispatches.lock().unwrap().extend(errors);
    let report = run(&world).await;
    assert!(matches!(report.ended, Ended::SourceEmpty), "{:?}", report.ended);
    assert_eq!((report.tally.succeeded, report.tally.dead_lettered), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_permanent_is_not_tried_five_times() {
    let world = some_bad(&["bad", "1"]);
    let errors = (0..9).map(|_| ConnectorError::permanent("no such exchange"));
    world.letters.faults.dispatches.lock().unwrap().extend(errors);
    let report = run(&world).await;
    assert!(matches!(report.ended, Ended::Failed(_)), "{:?}", report.ended);
    assert_eq!((report.tally.succeeded, letters_tried(&world).len()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_streaming_run_with_a_limit_ends_though_dead_letters_are_not_taken() {
    let world = some_bad(&["bad", "1", "2", "3"]).policy(|policy| {
        policy.streaming = true;
        policy.limit = Some(3);
    });
    takes_nothing(&world);
    let report = run(&world).await;
    assert!(matches!(report.ended, Ended::Failed(_)), "{:?}", report.ended);
    assert_eq!((report.tally.fetched, report.tally.succeeded, report.tally.undelivered), (3, 2, 1));
    assert_eq!(world.input.queue.inspect().waiting, 2);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_the_dead_letter_connector_is_given_back_at_a_stop() {
    for hangs in [false, true] {
        let world = some_bad(&["bad-1", "bad-2", "1"]).policy(|policy| policy.streaming = true);
        if hangs {
            *world.letters.faults.dispatch_takes.lock().unwrap() = 36_000 * SECOND;
        } else {
            takes_nothing(&world);
        }
        let running = world.start().await;
        succeeded(&running, 1).await;
        sleep(300 * SECOND).await;
        running.stop();
        let began = Instant::now();
        let report = running.wait().await.unwrap();
        let took = began.elapsed().as_secs();
        assert!(if hangs { took <= 25 } else { took == 0 }, "hangs: {hangs}, it took {took} s");
        assert!(matches!(report.ended, Ended::Stopped { given_back: 2 }), "{:?}", report.ended);
        let tally = &report.tally;
        assert_eq!((tally.processed, tally.undelivered, tally.given_back, tally.dead_lettered), (3, 2, 2, 0));
        let queue = world.input.queue.inspect();
        assert_eq!((queue.waiting, queue.handed_out, queue.acked), (2, 0, 1), "hangs: {hangs}");
    }
}

/// Waiting dead letters are held in memory, so their number must be limited for a large source.
#[tokio::test(start_paused = true)]
async fn only_so_many_dead_letters_wait_and_the_rest_comes_when_they_are_taken() {
    let world = World::new()
        .process(|_| async { Err(TransactionError::business("no such article")) })
        .policy(|policy| {
            policy.dead_letter = Some("letters".into());
            policy.concurrency = 4;
            policy.batch_size = 100;
            policy.prefetch = 100;
            policy.streaming = true;
        });
    world.push((0..3000).map(|n| n.to_string()));
    takes_nothing(&world);
    let running = world.start().await;
    sleep(600 * SECOND).await;
    let out = world.input.queue.inspect().handed_out;
    assert!((1024..1400).contains(&out), "{out} are held");
    takes_all(&world);
    sleep(60 * SECOND).await;
    assert_eq!(world.letters.queue.inspect().waiting, 3000);
    running.stop();
    let tally = running.wait().await.unwrap().tally;
    assert_eq!((tally.processed, tally.dead_lettered, tally.undelivered), (3000, 3000, 0));
}

#[tokio::test(start_paused = true)]
async fn a_finite_run_ends_when_so_many_dead_letters_wait_that_nothing_new_may_begin() {
    let world = failing(Disposition::Reject).policy(|policy| policy.dead_letter = Some("letters".into()));
    world.push((0..3000).map(|n| format!("more-{n}")));
    takes_nothing(&world);
    let report = run(&world).await;
    assert!(matches!(report.ended, Ended::Failed(_)), "{:?}", report.ended);
    assert_eq!(report.tally.undelivered, 1024);
    let queue = world.input.queue.inspect();
    assert_eq!((queue.waiting, queue.handed_out, queue.acked), (3001, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_log_says_that_dead_letters_wait_at_once_and_then_less_and_less_often() {
    let (lines, _logging) = Lines::capture();
    let world = some_bad(&["bad-1", "bad-2", "1"]).policy(|policy| policy.streaming = true);
    takes_nothing(&world);
    let running = world.start().await;
    succeeded(&running, 1).await;
    sleep(SECOND).await;
    let said = lines.with("dead letters wait");
    assert_eq!(said.len(), 1, "{said:#?}");
    let named =
        said[0].starts_with("WARN") && said[0].contains("bad-1") && said[0].contains("the disk is full");
    assert!(named, "{said:#?}");
    sleep(3600 * SECOND).await;
    let said = lines.with("dead letters wait");
    assert!((9..=14).contains(&said.len()), "{}: {said:#?}", said.len());
    assert!(said[1..].iter().all(|line| line.contains("waiting=2")), "{said:#?}");
    assert_eq!(lines.with("did not accept the transaction").len(), 0, "none is given back yet");
    takes_all(&world);
    sleep(31 * SECOND).await;
    assert_eq!(lines.with("no dead letter waits any more").len(), 1);
    running.stop();
    running.wait().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_counts_also_if_the_source_does_not_take_the_settlement() {
    let world = lettered(Disposition::Reject).policy(|policy| policy.limit = Some(1));
    world.input.faults.settles.lock().unwrap().push_back(ConnectorError::unknown("the link died"));
    let tally = run(&world).await.tally;
    assert_eq!((tally.unknown, tally.dead_lettered, world.letters.queue.inspect().waiting), (1, 1, 1));
    assert_eq!((tally.processed, tally.rejected), (0, 0));
}

/// The error of a closed sink.
fn gone() -> TransactionError {
    ConnectorError::closed("the reader has left").into()
}

fn assert_gone(report: &RunReport) {
    let Ended::Failed(error) = &report.ended else { panic!("{:?}", report.ended) };
    assert_eq!(error.to_string(), "the reader has left");
    assert_eq!(error.hint(), Some("the deliveries that it had not accepted were given back"));
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_is_gone_ends_the_run_whichever_step_finds_out_and_what_it_did_not_take_is_given_back() {
    let ok = |_| async { Ok(()) };
    let tried = |policy: &mut ConsumerPolicy| {
        for step in [&mut policy.process, &mut policy.success, &mut policy.exception] {
            *step = RetryPolicy { max_attempts: 5, backoff: SECOND, ..RetryPolicy::DEFAULT };
        }
    };
    let in_process = World::with(3).process(|_| async { Err(gone()) });
    let in_success = World::with(3).process(ok).success(|_| async { Err(gone()) });
    let refuse = |_| async { Err(TransactionError::business("no")) };
    let in_exception = World::with(3).process(refuse).exception(|_| async { Err(gone()) });
    for (world, last) in
        [(in_process, "process 0"), (in_success, "success 0"), (in_exception, "exception:business 0")]
    {
        let world = world.policy(tried);
        let report = run(&world).await;
        assert_gone(&report);
        assert_eq!(world.log().last().unwrap(), last, "it is not tried again, and no handler sees it");
        assert_eq!((report.tally.processed, world.input.queue.inspect().waiting), (0, 3), "{last}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_connector_that_is_gone_ends_the_run_and_the_transaction_is_given_back() {
    let world = lettered(Disposition::Reject);
    world.letters.faults.dispatches.lock().unwrap().push_back(ConnectorError::closed("the reader has left"));
    let report = run(&world).await;
    assert_gone(&report);
    let (input, letters) = (world.input.queue.inspect(), world.letters.queue.inspect());
    assert_eq!((input.waiting, input.acked, letters.waiting), (1, 0, 0));
}
