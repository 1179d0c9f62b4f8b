//! Tests settlements: each delivery is settled exactly once, many in one call, and an unconfirmed settlement is never
//! counted as a success.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ergon::connector::ConnectorError;
use ergon::prelude::*;
use ergon_tests::{Lines, World};
use tokio::time::{Instant, sleep};

#[tokio::test(start_paused = true)]
async fn what_finishes_together_is_settled_in_one_call() {
    let world = World::with(64)
        .process(|_| async {
            sleep(Duration::from_secs(1)).await;
            Ok(())
        })
        .policy(|policy| {
            policy.concurrency = 64;
            policy.batch_size = 64;
        });
    world.run().await;
    let calls = world.input.faults.settled.lock().unwrap().clone();
    assert_eq!(calls, [64]);
}

#[tokio::test(start_paused = true)]
async fn a_lone_transaction_is_settled_without_waiting_for_others() {
    let world = World::with(1).policy(|policy| policy.streaming = true);
    let running = world.start().await;
    sleep(Duration::from_millis(1)).await;
    assert_eq!(world.input.queue.inspect().acked, 1);
    running.stop();
    running.wait().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_unknown_settlement_is_counted_and_never_as_success() {
    let world = World::with(3);
    let error = ConnectorError::unknown("link died");
    world.input.faults.settles.lock().unwrap().push_back(error);
    let report = world.run().await;
    assert_eq!(report.tally.unknown + report.tally.succeeded, 3);
    assert!(report.tally.unknown >= 1);
    assert_eq!(world.input.queue.inspect().acked, report.tally.succeeded);
}

/// A world of one transaction that is rejected, with a dead-letter connector.
fn refusing() -> World {
    World::with(1)
        .process(|_| async { Err(TransactionError::business("no such article")) })
        .policy(|policy| policy.dead_letter = Some("letters".into()))
}

/// The connection is lost: unsettled deliveries are stale, and no settlement arrives.
fn cut(world: &World) {
    world.input.faults.lost.store(true, Ordering::SeqCst);
    world.input.faults.settles.lock().unwrap().push_back(ConnectorError::unknown("link died"));
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_was_written_is_counted_though_its_settlement_is_unknown() {
    let world = refusing();
    world.input.faults.settles.lock().unwrap().push_back(ConnectorError::unknown("link died"));
    let tally = world.run().await.tally;
    assert_eq!(world.letters.queue.inspect().waiting, 1);
    assert_eq!((tally.dead_lettered, tally.unknown, tally.rejected, tally.processed), (1, 1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_its_source_lost_hold_of_does_not_start_its_exception_way() {
    let world = World::with(1).policy(|policy| policy.dead_letter = Some("letters".into()));
    let faults = Arc::clone(&world.input.faults);
    let world = world.process(move |_| {
        faults.lost.store(true, Ordering::SeqCst);
        faults.settles.lock().unwrap().push_back(ConnectorError::unknown("link died"));
        async { Err(TransactionError::business("no such article")) }
    });
    let tally = world.run().await.tally;
    assert!(world.log().iter().all(|line| !line.starts_with("exception")), "{:?}", world.log());
    assert_eq!(world.letters.queue.inspect().waiting, 0);
    assert_eq!((tally.unknown, tally.dead_lettered, tally.rejected, tally.failed.total()), (1, 0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_its_source_lost_hold_of_is_not_dead_lettered() {
    let world = refusing();
    let faults = Arc::clone(&world.input.faults);
    let world = world.exception(move |_| {
        faults.lost.store(true, Ordering::SeqCst);
        faults.settles.lock().unwrap().push_back(ConnectorError::unknown("link died"));
        async { Ok(Disposition::Reject) }
    });
    let tally = world.run().await.tally;
    assert_eq!(world.letters.faults.dispatched_at.lock().unwrap().len(), 0);
    assert_eq!((tally.unknown, tally.dead_lettered, tally.rejected, tally.processed), (1, 0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn no_letter_is_tried_again_once_its_delivery_is_lost() {
    let world = refusing();
    *world.letters.faults.dispatch_takes.lock().unwrap() = Duration::from_secs(1);
    world.letters.faults.dispatches.lock().unwrap().push_back(ConnectorError::transient("not now"));
    let running = world.start().await;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(
        world.letters.faults.dispatched_at.lock().unwrap().len(),
        1,
        "the first attempt is on its way"
    );
    cut(&world);
    let tally = running.wait().await.unwrap().tally;
    assert_eq!(world.letters.faults.dispatched_at.lock().unwrap().len(), 1);
    assert_eq!(world.letters.queue.inspect().waiting, 0);
    assert_eq!((tally.unknown, tally.dead_lettered, tally.rejected, tally.processed), (1, 0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_waits_is_dropped_once_its_delivery_is_lost() {
    let world = refusing().policy(|policy| policy.streaming = true);
    let errors = (0..3).map(|_| ConnectorError::transient("not now"));
    world.letters.faults.dispatches.lock().unwrap().extend(errors);
    let running = world.start().await;
    sleep(Duration::from_millis(400)).await;
    cut(&world);
    sleep(Duration::from_secs(60)).await;
    running.stop();
    let tally = running.wait().await.unwrap().tally;
    let tried = world.letters.faults.dispatched_at.lock().unwrap().len();
    assert!((1..=2).contains(&tried), "{tried}");
    assert_eq!(world.letters.queue.inspect().waiting, 0);
    assert_eq!((tally.unknown, tally.dead_lettered, tally.undelivered, tally.processed), (1, 0, 0, 0));
}

/// A lost poison transaction is not an error of the dead-letter connector, so the run continues.
#[tokio::test(start_paused = true)]
async fn poison_that_its_source_lost_hold_of_does_not_end_the_run() {
    let world = World::new().policy(|policy| {
        policy.dead_letter = Some("letters".into());
        policy.max_deliveries = 1;
    });
    world.input.queue.push(Transaction::new("poison", "body").unwrap().with_deliveries(2));
    cut(&world);
    let report = world.run().await;
    assert!(matches!(report.ended, ergon::telemetry::Ended::SourceEmpty), "{:?}", report.ended);
    assert_eq!((report.tally.unknown, report.tally.dead_lettered), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_partial_settlement_counts_only_what_was_settled() {
    let world = World::with(4)
        .process(|_| async {
            sleep(Duration::from_secs(1)).await;
            Ok(())
        })
        .policy(|policy| {
            policy.concurrency = 4;
            policy.batch_size = 4;
        });
    let lost = ConnectorError::partial(vec![(0, ConnectorError::transient("stale tag"))]);
    world.input.faults.settles.lock().unwrap().push_back(lost);
    let report = world.run().await;
    assert_eq!((report.tally.succeeded, report.tally.unknown), (3, 1));
}

#[tokio::test]
async fn a_delivery_that_a_task_fetches_and_drops_is_given_back() {
    use ergon::connector::memory::Memory;
    use ergon::connector::{Context, FetchRequest};
    let world = World::with(2);
    let memory = Arc::new(Memory::new(Arc::clone(&world.input.queue)));
    let input = Input::new(memory, &Context::new("t", "input"));
    let mut deliveries = input.fetch(&FetchRequest::new(2)).await.unwrap();
    let kept = deliveries.pop().unwrap();
    drop(deliveries);
    input.settle(vec![kept.settle(Disposition::Ack)]).await.unwrap();
    let queue = world.input.queue.inspect();
    assert_eq!((queue.acked, queue.waiting, queue.handed_out), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_when_it_settles_does_not_hang_the_run() {
    let world = World::with(3);
    world.input.faults.settle_panics.store(true, Ordering::SeqCst);
    let report = world.run().await;
    assert_eq!((report.tally.succeeded, report.tally.unknown), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_never_answers_does_not_hold_up_a_stop() {
    let world = World::with(3).policy(|policy| policy.shutdown_grace = Duration::from_secs(5));
    world.input.faults.settle_hangs.store(true, Ordering::SeqCst);
    let running = world.start().await;
    sleep(Duration::from_secs(60)).await;
    running.stop();
    let began = Instant::now();
    let report = running.wait().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5 + 2 * 2 + 1), "{:?}", began.elapsed());
    assert_eq!((report.tally.succeeded, report.tally.unknown), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn what_finishes_while_the_source_answers_goes_in_the_next_call() {
    let world = World::with(30)
        .process(|transaction| async move {
            sleep(Duration::from_millis(transaction.id().parse().unwrap())).await;
            Ok(())
        })
        .policy(|policy| (policy.concurrency, policy.batch_size) = (30, 30));
    *world.input.faults.settle_takes.lock().unwrap() = Duration::from_secs(1);
    let report = world.run().await;
    assert_eq!(report.tally.succeeded, 30);
    let calls: Vec<_> =
        world.input.faults.settled.lock().unwrap().iter().copied().filter(|count| *count > 0).collect();
    assert_eq!(calls, [1, 29], "the first alone, the others together");
}

#[tokio::test(start_paused = true)]
async fn each_receipt_of_a_settle_has_a_fate_of_its_own() {
    let world = World::with(6)
        .process(|transaction| async move {
            sleep(Duration::from_secs(1)).await;
            match transaction.id() {
                "0" | "1" => Err(TransactionError::business("no")),
                _ => Ok(()),
            }
        })
        .policy(|policy| (policy.concurrency, policy.batch_size) = (6, 6));
    let fates = vec![
        (0, ConnectorError::transient("stale tag")),
        (2, ConnectorError::unknown("link died")),
        (5, ConnectorError::permanent("no such channel")),
    ];
    world.input.faults.settles.lock().unwrap().push_back(ConnectorError::partial(fates));
    let report = world.run().await;
    assert_eq!(world.input.faults.settled.lock().unwrap()[0], 6);
    // Of two rejected and four succeeded transactions, the settlements of one and of two are unknown.
    assert_eq!((report.tally.unknown, report.tally.succeeded, report.tally.rejected), (3, 2, 1));
    assert_eq!(report.tally.processed, 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_to_be_settled_is_logged() {
    let (lines, _logging) = Lines::capture();
    let world = World::with(3).policy(|policy| policy.concurrency = 3);
    let error = ConnectorError::unknown("link died");
    world.input.faults.settles.lock().unwrap().extend([error, ConnectorError::unknown("link died again")]);
    let report = world.run().await;
    assert!(report.tally.unknown >= 2, "{report:?}");
    let told = lines.with("link died");
    assert_eq!(told.len() as u64, report.tally.unknown, "{told:#?}");
    assert!(told.iter().all(|line| line.starts_with("WARN") || line.starts_with("ERROR")), "{told:?}");
    for id in 0..report.tally.unknown {
        assert!(
            told.iter().any(|line| line.contains(&format!("transaction_id=\"{id}\""))),
            "{id} in {told:?}"
        );
    }
}
