//! Tests settling in a lane's own turn, if the source answers immediately, and in the settler, if it does not. In both
//! cases, at most one call runs at a time, and each delivery is settled exactly once.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ergon::prelude::*;
use ergon::telemetry::Ended;
use ergon_tests::World;
use tokio::task;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

const MS: Duration = Duration::from_millis(1);

/// A world of this many transactions whose handler ends immediately, and the tokio tasks on which the handler ran.
fn quick(count: usize) -> (World, Arc<Mutex<Vec<Option<task::Id>>>>) {
    let ran_on = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&ran_on);
    let world = World::with(count).process(move |_| {
        noted.lock().unwrap().push(task::try_id());
        async { Ok(()) }
    });
    (world, ran_on)
}

fn calls(world: &World) -> Vec<usize> {
    world.input.faults.settled.lock().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn a_source_that_answers_at_once_is_told_by_the_lane_itself() {
    for concurrency in [1, 4] {
        let (world, ran_on) = quick(300);
        let world = world.policy(|policy| (policy.concurrency, policy.batch_size) = (concurrency, 100));
        let report = world.run().await;
        assert_eq!(report.tally.succeeded, 300);
        let lanes = ran_on.lock().unwrap().clone();
        let told_by = world.input.faults.settled_by.lock().unwrap().clone();
        for (first, last) in &told_by {
            assert!(first == last && lanes.contains(first), "{concurrency}: {told_by:?}");
        }
        let calls = calls(&world);
        assert_eq!(calls.iter().sum::<usize>(), 300);
        assert!(calls.len() <= 4, "many go in one call, also over several fetches: {calls:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_not_over_at_once_goes_on_beside_the_lane() {
    let (world, ran_on) = quick(300);
    world.input.faults.settle_yields.store(true, Ordering::SeqCst);
    let report = world.run().await;
    assert_eq!((report.tally.succeeded, report.tally.unknown), (300, 0));
    let (lane, told_by) = (ran_on.lock().unwrap()[0], world.input.faults.settled_by.lock().unwrap().clone());
    assert_eq!(told_by[0].0, lane, "the lane begins the call");
    assert!(told_by.iter().all(|(_, last)| *last != lane), "and the settler ends it: {told_by:?}");
    assert_eq!(calls(&world).iter().sum::<usize>(), 300, "each is settled once");
    assert_eq!(world.input.queue.inspect().acked, 300);
}

#[tokio::test(start_paused = true)]
async fn a_lane_goes_on_while_its_call_is_on_the_way() {
    let (world, ran_on) = quick(500);
    *world.input.faults.settle_takes.lock().unwrap() = Duration::from_secs(1);
    let running = world.start().await;
    sleep(MS * 500).await;
    assert_eq!(ran_on.lock().unwrap().len(), 500);
    let report = running.wait().await.unwrap();
    assert_eq!(report.tally.succeeded, 500);
    assert_eq!(world.input.faults.settling.1.load(Ordering::SeqCst), 1, "one call at a time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_source_is_in_one_call_at_a_time() {
    for yields in [false, true] {
        let world = World::with(2000)
            .process(|transaction| async move {
                if transaction.id().ends_with(['3', '6']) {
                    task::yield_now().await;
                }
                Ok(())
            })
            .policy(|policy| (policy.concurrency, policy.batch_size) = (16, 16));
        world.input.faults.settle_yields.store(yields, Ordering::SeqCst);
        let report = world.run().await;
        assert_eq!(report.tally.succeeded, 2000);
        assert_eq!(calls(&world).iter().sum::<usize>(), 2000, "each is settled once");
        assert_eq!(world.input.faults.settling.1.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_after_its_first_poll_leaves_what_it_was_told_unknown() {
    let (world, _) = quick(3);
    world.input.faults.settle_yields.store(true, Ordering::SeqCst);
    world.input.faults.settle_panics.store(true, Ordering::SeqCst);
    let report = world.run().await;
    assert_eq!((report.tally.succeeded, report.tally.unknown), (0, 3));
}

/// Panics when it receives the event of a failed transaction.
struct Breaks;

impl Subscriber for Breaks {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let failed = event.metadata().fields().field("disposition").is_some();
        assert!(!failed, "a defect of whoever writes the log");
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_dies_in_its_turn_keeps_nothing_from_being_given_back() {
    let _logging = ergon_tests::listen(Breaks);
    let world = World::with(300)
        .process(|_| async { Err(TransactionError::business("no")) })
        .policy(|policy| (policy.batch_size, policy.prefetch) = (300, 299));
    let report = timeout(Duration::from_secs(60), world.run()).await.unwrap();
    assert!(matches!(report.ended, Ended::Failed(_)), "{:?}", report.ended);
    assert_eq!(world.input.faults.asked_at.lock().unwrap()[0].1, 300);
    let given_back: usize = world.input.faults.settled.lock().unwrap().iter().sum();
    assert_eq!(given_back, 300 - 128, "what had not begun");
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_a_call_that_a_lane_began_come_to_its_end() {
    let (world, _) = quick(3);
    let world = world.policy(|policy| policy.streaming = true);
    *world.input.faults.settle_takes.lock().unwrap() = Duration::from_secs(1);
    let running = world.start().await;
    sleep(MS * 500).await;
    running.stop();
    let began = Instant::now();
    let report = running.wait().await.unwrap();
    assert!(matches!(report.ended, Ended::Stopped { given_back: 0 }), "{:?}", report.ended);
    assert_eq!((report.tally.succeeded, report.tally.unknown), (3, 0));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_is_finished_is_settled_while_the_source_is_waited_for() {
    for pushes in [false, true] {
        let (world, _) = quick(5);
        let world = world.policy(|policy| policy.streaming = true);
        world.input.faults.pushes.store(pushes, Ordering::SeqCst);
        let running = world.start().await;
        sleep(MS).await;
        assert_eq!(world.input.queue.inspect().acked, 5, "pushes: {pushes}");
        running.stop();
        running.wait().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_quick_is_settled_while_another_waits() {
    let world = World::with(6)
        .process(|transaction| async move {
            if transaction.id() == "2" {
                sleep(Duration::from_secs(30)).await;
            }
            Ok(())
        })
        .policy(|policy| (policy.concurrency, policy.batch_size) = (2, 6));
    let running = world.start().await;
    sleep(MS).await;
    assert_eq!(world.input.queue.inspect().acked, 5);
    assert_eq!(running.wait().await.unwrap().tally.succeeded, 6);
}

#[tokio::test(start_paused = true)]
async fn what_is_requeued_in_a_lanes_own_turn_comes_again_before_the_run_ends() {
    let world = World::with(3)
        .process(|transaction| async move {
            if transaction.deliveries() < 3 { Err(TransactionError::business("not yet")) } else { Ok(()) }
        })
        .exception(|_| async { Ok(Disposition::Requeue) });
    let report = world.run().await;
    assert_eq!((report.tally.succeeded, report.tally.requeued), (3, 6));
}

#[tokio::test(start_paused = true)]
async fn what_is_to_be_tried_later_in_a_lanes_own_turn_is() {
    let world = World::with(2)
        .process(|transaction| async move {
            if transaction.deliveries() < 2 { Err(TransactionError::business("later")) } else { Ok(()) }
        })
        .exception(|(transaction, _)| async move {
            let seconds = if transaction.id() == "0" { 20 } else { 10 };
            Ok(Disposition::RetryAfter(Duration::from_secs(seconds)))
        });
    let began = Instant::now();
    let report = timeout(Duration::from_secs(60), world.run()).await.unwrap();
    assert_eq!(report.tally.succeeded, 2);
    assert_eq!(began.elapsed().as_secs(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_handler_is_polled_once_for_each_time_it_is_woken() {
    let polls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&polls);
    let world = World::with(1).process(move |_| {
        let (polls, mut waits) = (Arc::clone(&counted), Box::pin(sleep(MS)));
        poll_fn(move |context| {
            polls.fetch_add(1, Ordering::SeqCst);
            waits.as_mut().poll(context).map(Ok)
        })
    });
    assert_eq!(world.run().await.tally.succeeded, 1);
    assert_eq!(polls.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn lanes_that_are_woken_together_finish_before_what_they_did_is_settled() {
    let together = Instant::now() + MS * 200;
    let world = World::with(64)
        .process(move |_| async move {
            sleep_until(together).await;
            Ok(())
        })
        .policy(|policy| (policy.concurrency, policy.batch_size) = (64, 64));
    assert_eq!(world.run().await.tally.succeeded, 64);
    let calls = calls(&world);
    assert!(calls.len() <= 8, "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_never_waits_lets_others_run_on_its_thread() {
    let (world, ran_on) = quick(20_000);
    let running = world.start().await;
    while ran_on.lock().unwrap().is_empty() {
        task::yield_now().await;
    }
    running.stop();
    running.wait().await.unwrap();
    let begun = ran_on.lock().unwrap().len();
    assert!(begun < 20_000, "the stop came when all was done");
}
