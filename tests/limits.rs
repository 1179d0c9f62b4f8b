//! What is never exceeded: concurrency, limit, one of an id at a time.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ergon::Mode;
use ergon::telemetry::Ended;
use ergon_tests::World;
use tokio::time::{Instant, sleep};

/// Counts how many are inside at once, and the most that ever were.
#[derive(Debug, Default)]
struct Gauge {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Gauge {
    fn enter(self: &Arc<Self>) -> Inside {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        Inside(Arc::clone(self))
    }
}

struct Inside(Arc<Gauge>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

fn gauged(count: usize) -> (World, Arc<Gauge>) {
    let gauge = Arc::new(Gauge::default());
    let seen = Arc::clone(&gauge);
    let world = World::with(count).process(move |_| {
        let inside = seen.enter();
        async move {
            sleep(Duration::from_millis(10)).await;
            drop(inside);
            Ok(())
        }
    });
    (world, gauge)
}

#[tokio::test(start_paused = true)]
async fn concurrency_is_reached_and_never_exceeded() {
    for (concurrency, batch_size, prefetch) in [(1, 1, 0), (1, 50, 50), (7, 1, 0), (7, 3, 0), (7, 100, 100)] {
        let (world, gauge) = gauged(200);
        let world = world.policy(|policy| {
            policy.concurrency = concurrency;
            policy.batch_size = batch_size;
            policy.prefetch = prefetch;
        });
        let report = world.run().await;
        assert_eq!(report.tally.succeeded, 200);
        assert_eq!(gauge.most.load(Ordering::SeqCst), concurrency, "batch {batch_size}, prefetch {prefetch}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrency_is_never_exceeded_on_several_threads() {
    let gauge = Arc::new(Gauge::default());
    let seen = Arc::clone(&gauge);
    let world = World::with(20_000)
        .process(move |_| {
            let inside = seen.enter();
            async move {
                tokio::task::yield_now().await;
                drop(inside);
                Ok(())
            }
        })
        .policy(|policy| {
            policy.concurrency = 5;
            policy.batch_size = 16;
        });
    let report = world.run().await;
    assert_eq!(report.tally.succeeded, 20_000);
    assert!(gauge.most.load(Ordering::SeqCst) <= 5);
    assert_eq!(world.input.queue.inspect().acked, 20_000);
}

#[tokio::test(start_paused = true)]
async fn a_slow_transaction_holds_back_nobody_else() {
    let world = World::with(100)
        .process(|transaction| async move {
            let time = if transaction.id() == "0" { 1000 } else { 10 };
            sleep(Duration::from_millis(time)).await;
            Ok(())
        })
        .policy(|policy| policy.concurrency = 2);
    let began = Instant::now();
    world.run().await;
    assert_eq!(began.elapsed().as_millis(), 1000, "99 of 10 ms run beside one of 1 s");
}

#[tokio::test(start_paused = true)]
async fn limit_is_exact_and_nothing_is_fetched_and_left() {
    for limit in [0, 1, 3, 15, 20, 99] {
        for (concurrency, batch_size, prefetch) in [(1, 1, 0), (4, 5, 0), (8, 10, 30), (64, 1, 0)] {
            let world = World::with(50).policy(|policy| {
                policy.limit = Some(limit);
                policy.concurrency = concurrency;
                policy.batch_size = batch_size;
                policy.prefetch = prefetch;
            });
            let report = world.run().await;
            let expected = limit.min(50);
            assert_eq!(report.tally.processed, expected, "limit {limit}, concurrency {concurrency}");
            let queue = world.input.queue.inspect();
            assert_eq!((queue.acked, queue.waiting), (expected, 50 - usize::try_from(expected).unwrap()));
            let asked = world.input.faults.asked.load(Ordering::SeqCst);
            assert!(limit > 0 || asked == 0, "limit 0 fetches nothing");
            let reached = matches!(report.ended, Ended::LimitReached);
            assert_eq!(reached, limit <= 50, "{:?}", report.ended);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn deliveries_of_one_id_are_never_processed_at_the_same_time() {
    let gauge = Arc::new(Gauge::default());
    let seen = Arc::clone(&gauge);
    let world = World::new()
        .process(move |transaction| {
            let inside = (transaction.id() == "twin").then(|| seen.enter());
            async move {
                sleep(Duration::from_millis(10)).await;
                drop(inside);
                Ok(())
            }
        })
        .policy(|policy| {
            policy.concurrency = 8;
            policy.batch_size = 8;
        });
    world.push(["twin", "a", "twin", "b", "twin", "c"]);
    let began = Instant::now();
    let report = world.run().await;
    assert_eq!(report.tally.succeeded, 6);
    assert_eq!(gauge.most.load(Ordering::SeqCst), 1);
    assert_eq!(began.elapsed().as_millis(), 30, "the others do not wait for the twins");
}

#[tokio::test(start_paused = true)]
async fn order_is_kept_with_one_at_a_time() {
    let world = World::with(20).policy(|policy| policy.batch_size = 7);
    world.run().await;
    let processed: Vec<_> = world.log().into_iter().filter(|line| line.starts_with("process")).collect();
    let expected: Vec<_> = (0..20).map(|n| format!("process {n}")).collect();
    assert_eq!(processed, expected);
}

#[tokio::test(start_paused = true)]
async fn in_batch_mode_a_batch_ends_before_the_next_is_fetched() {
    let world = World::with(9)
        .process(|transaction| async move {
            let slow = transaction.id().parse::<u64>().unwrap_or_default() % 3;
            sleep(Duration::from_secs(slow)).await;
            Ok(())
        })
        .policy(|policy| {
            policy.mode = Mode::Batch;
            policy.concurrency = 2;
            policy.batch_size = 3;
        });
    world.run().await;
    let log = world.log();
    let at = |line: &str| log.iter().position(|logged| logged == line).unwrap();
    for batch in 0..2 {
        let last_end = (0..3).map(|n| at(&format!("success {}", batch * 3 + n))).max().unwrap();
        assert!(last_end < at(&format!("process {}", (batch + 1) * 3)), "{log:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_is_fetched_than_free_slots_and_prefetch() {
    for (concurrency, prefetch) in [(1, 0), (3, 0), (3, 4)] {
        let (world, _) = gauged(40);
        let world = world.policy(|policy| {
            policy.concurrency = concurrency;
            policy.prefetch = prefetch;
            policy.batch_size = 100;
        });
        let running = world.start().await;
        for _ in 0..20 {
            sleep(Duration::from_millis(3)).await;
            let handed_out = world.input.queue.inspect().handed_out;
            assert!(handed_out <= concurrency + prefetch, "{handed_out} of {concurrency} + {prefetch}");
        }
        running.wait().await.unwrap();
    }
}
