//! Tests limits that are never exceeded: concurrency, the limit of a run, and one transaction of an id at a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ergon::connector::Context;
use ergon::connector::{ConnectorConfig, ConnectorError};
use ergon::policy::Mode;
use ergon::prelude::*;
use ergon::telemetry::Ended;
use ergon::transaction::Payload;
use ergon_tests::{Flaky, FlakyConfig, World};
use tokio::time::{Instant, sleep};

/// Counts the handlers that run at the same time, and the maximum of this number.
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

#[tokio::test(start_paused = true)]
async fn concurrency_counts_every_step() {
    let gauge = Arc::new(Gauge::default());
    let inside = |time: u64| {
        let gauge = Arc::clone(&gauge);
        move || {
            let inside = gauge.enter();
            async move {
                sleep(Duration::from_millis(time)).await;
                drop(inside);
            }
        }
    };
    let (process, success, exception) = (inside(10), inside(30), inside(20));
    let world = World::with(60)
        .process(move |transaction| {
            let step = process();
            async move {
                step.await;
                let odd = transaction.id().parse::<u64>().unwrap() % 2 == 1;
                if odd { Err(TransactionError::business("odd")) } else { Ok(()) }
            }
        })
        .success(move |_| {
            let step = success();
            async move {
                step.await;
                Ok(())
            }
        })
        .exception(move |_| {
            let step = exception();
            async move {
                step.await;
                Ok(Disposition::Reject)
            }
        })
        .policy(|policy| (policy.concurrency, policy.batch_size, policy.prefetch) = (4, 8, 8));
    let report = world.run().await;
    assert_eq!((report.tally.succeeded, report.tally.rejected), (30, 30));
    assert_eq!(gauge.most.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn each_fetch_asks_for_what_fits_and_no_more() {
    for (concurrency, batch_size, prefetch) in
        [(1, 1, 0), (1, 9, 0), (4, 3, 0), (4, 100, 0), (4, 5, 3), (4, 100, 10)]
    {
        let (world, _) = gauged(200);
        let world = world.policy(|policy| {
            (policy.concurrency, policy.batch_size, policy.prefetch) = (concurrency, batch_size, prefetch);
        });
        world.run().await;
        let asked: Vec<_> =
            world.input.faults.asked_at.lock().unwrap().iter().map(|(_, asked)| *asked).collect();
        let fits = batch_size.min(concurrency + prefetch);
        assert_eq!(asked[0], fits, "concurrency {concurrency}, batch {batch_size}, prefetch {prefetch}");
        assert!(asked.iter().all(|asked| (1..=fits).contains(asked)), "{asked:?}");
    }
}

/// Records the number of unsettled deliveries that the engine announces to a connector.
#[derive(Clone)]
struct Asks(FlakyConfig, Arc<AtomicUsize>);

impl ConnectorConfig for Asks {
    type Connector = Flaky;

    fn build(&self, context: &Context) -> Result<Flaky, ConnectorError> {
        self.1.store(context.max_in_flight, Ordering::SeqCst);
        self.0.build(context)
    }
}

/// A source to which the external system pushes deliveries must receive a whole batch, and nothing of the next batch.
#[tokio::test(start_paused = true)]
async fn a_source_is_told_how_much_is_held_at_once_in_each_mode() {
    #[ergon::task(connectors(input), consumer())]
    struct Told;
    impl Consumer for Told {
        type Payload = Payload;
        type Output = ();
        async fn process_transaction(&self, _: &Transaction<Payload>) -> Result<()> {
            Ok(())
        }
    }
    for (mode, concurrency, batch_size, prefetch, at_once) in [
        (Mode::Continuous, 1, 1, 0, 1),
        (Mode::Continuous, 4, 100, 3, 7),
        (Mode::Batch, 1, 100, 0, 100),
        (Mode::Batch, 16, 4, 50, 4),
    ] {
        let asks = Asks(FlakyConfig::new(), Arc::default());
        let config = Told::config(ToldWiring { input: asks.clone() }).consumer(|policy| {
            (policy.mode, policy.concurrency) = (mode, concurrency);
            (policy.batch_size, policy.prefetch) = (batch_size, prefetch);
        });
        ergon::testing::run(config).await.unwrap();
        assert_eq!(asks.1.load(Ordering::SeqCst), at_once, "{mode:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn in_batch_mode_nothing_is_fetched_while_anything_is_unsettled() {
    let world = World::with(40)
        .process(|transaction| async move {
            sleep(Duration::from_millis(transaction.id().parse::<u64>().unwrap() % 7)).await;
            Ok(())
        })
        .policy(|policy| {
            policy.mode = Mode::Batch;
            (policy.concurrency, policy.batch_size, policy.prefetch) = (3, 10, 50);
        });
    *world.input.faults.settle_takes.lock().unwrap() = Duration::from_millis(5);
    let running = world.start().await;
    let faults = Arc::clone(&world.input.faults);
    let mut before = 1;
    while world.input.queue.inspect().acked < 40 {
        sleep(Duration::from_micros(500)).await;
        let fetched = faults.fetched.load(Ordering::SeqCst);
        if fetched > before {
            // Only the deliveries of this fetch are processed.
            assert!(world.input.queue.inspect().acked >= 10 * (fetched as u64 - 1), "{fetched} fetches");
            before = fetched;
        }
    }
    running.wait().await.unwrap();
    let asked: Vec<_> = faults.asked_at.lock().unwrap().iter().map(|(_, asked)| *asked).collect();
    assert_eq!(asked, [10; 5], "four whole batches, and the end");
}

#[tokio::test(start_paused = true)]
async fn limit_is_exact_for_every_combination() {
    for concurrency in [1, 2, 5, 16] {
        for batch_size in [1, 3, 8, 40] {
            for prefetch in [0, 1, 7, 40] {
                for (mode, streaming) in
                    [Mode::Continuous, Mode::Batch].into_iter().flat_map(|mode| [(mode, false), (mode, true)])
                {
                    for limit in [1_usize, 4, 13, 30] {
                        let (world, _) = gauged(30);
                        let world = world.policy(|policy| {
                            (policy.concurrency, policy.batch_size) = (concurrency, batch_size);
                            (policy.prefetch, policy.mode) = (prefetch, mode);
                            (policy.streaming, policy.limit) = (streaming, Some(limit as u64));
                        });
                        let report = world.run().await;
                        let how =
                            format!("{concurrency} {batch_size} {prefetch} {mode:?} {streaming} {limit}");
                        assert!(matches!(report.ended, Ended::LimitReached), "{how}: {:?}", report.ended);
                        assert_eq!(report.tally.fetched, limit as u64, "{how}");
                        let queue = world.input.queue.inspect();
                        let seen = (queue.acked, queue.waiting, queue.handed_out);
                        assert_eq!(seen, (limit as u64, 30 - limit, 0), "{how}");
                        assert_eq!(world.input.faults.asked.load(Ordering::SeqCst), limit, "{how}");
                    }
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_0_fetches_nothing() {
    for (mode, streaming) in
        [(Mode::Continuous, false), (Mode::Continuous, true), (Mode::Batch, false), (Mode::Batch, true)]
    {
        let world = World::with(3).policy(|policy| {
            (policy.mode, policy.streaming, policy.limit) = (mode, streaming, Some(0));
            (policy.concurrency, policy.batch_size, policy.prefetch) = (4, 8, 8);
        });
        let report = world.run().await;
        assert!(matches!(report.ended, Ended::LimitReached), "{:?}", report.ended);
        assert_eq!((report.tally.fetched, world.input.faults.fetched.load(Ordering::SeqCst)), (0, 0));
        assert_eq!(world.input.queue.inspect().waiting, 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_whose_id_is_in_process_waits_through_all_its_steps() {
    let gauge = Arc::new(Gauge::default());
    let alive: Arc<Mutex<Vec<Inside>>> = Arc::default();
    let (entering, leaving, refused) = (Arc::clone(&gauge), Arc::clone(&alive), Arc::clone(&alive));
    let world = World::new()
        .process(move |transaction| {
            // A transaction counts from the start of process to the end of the last handler.
            alive.lock().unwrap().push(entering.enter());
            async move {
                sleep(Duration::from_millis(10)).await;
                if transaction.metadata().text("fails").is_some() {
                    return Err(TransactionError::business("no"));
                }
                Ok(())
            }
        })
        .success(move |_| {
            let leaving = Arc::clone(&leaving);
            async move {
                sleep(Duration::from_millis(10)).await;
                drop(leaving.lock().unwrap().pop());
                Ok(())
            }
        })
        .exception(move |_| {
            let leaving = Arc::clone(&refused);
            async move {
                sleep(Duration::from_millis(10)).await;
                drop(leaving.lock().unwrap().pop());
                Ok(Disposition::Reject)
            }
        })
        .policy(|policy| (policy.concurrency, policy.batch_size) = (8, 8));
    for n in 0..8 {
        let twin = Transaction::builder().id("twin").payload(Payload::text("body"));
        let twin = if n % 2 == 0 { twin.metadata("fails", "yes") } else { twin };
        world.input.queue.push(twin.build());
    }
    let began = Instant::now();
    let report = world.run().await;
    assert_eq!((report.tally.succeeded, report.tally.rejected), (4, 4));
    assert_eq!((gauge.most.load(Ordering::SeqCst), began.elapsed().as_millis()), (1, 8 * 20));
}

#[tokio::test(start_paused = true)]
async fn order_is_kept_through_retries_with_one_at_a_time() {
    let world = World::with(12)
        .process(|transaction| async move {
            match transaction.id().parse::<u64>().unwrap() % 3 {
                0 => Err(TransactionError::system("link lost")),
                1 => Err(TransactionError::business("no")),
                _ => Ok(()),
            }
        })
        .policy(|policy| {
            (policy.batch_size, policy.prefetch) = (5, 5);
            policy.process.max_attempts = 3;
            policy.process.backoff = Duration::from_secs(1);
        });
    world.run().await;
    let log = world.log();
    let mut ids: Vec<u64> = log.iter().map(|line| line.split_once(' ').unwrap().1.parse().unwrap()).collect();
    assert!(ids.is_sorted(), "{log:?}");
    ids.dedup();
    assert_eq!(ids.len(), 12);
}
