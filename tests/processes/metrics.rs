//! Tests that the metrics of each run add up to its summary.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, SystemTime};

use ergon::connector::ConnectorError;
use ergon::connector::memory::{MemoryConfig, MemoryQueue};
use ergon::prelude::*;
use ergon::telemetry::{RunReport, Step};
use ergon::testing;
use ergon::transaction::Payload;
use ergon_tests::lab::measure;
use ergon_tests::{World, until};
use tokio::sync::Semaphore;
use tokio::time::sleep;

const MS: Duration = Duration::from_millis(1);

/// Runs the config, and returns the growth of its task's metrics.
async fn gained(world: &World) -> (Vec<String>, RunReport) {
    let measuring = measure().await;
    let report = world.run().await;
    (measuring.gained("probe"), report)
}

/// Asserts that the metrics grew by exactly these lines.
fn assert_gained(lines: &[String], expected: &[&str]) {
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    assert_eq!(lines, expected, "gained:\n{}", lines.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn transactions_that_succeed_are_seen() {
    let world = World::with(3).process(|_| async {
        sleep(10 * MS).await;
        Ok(())
    });
    let (lines, _) = gained(&world.policy(|policy| policy.batch_size = 2)).await;
    assert_gained(
        &lines,
        &[
            "ergon.attempts{outcome=succeeded,step=fetch} 4",
            "ergon.attempts{outcome=succeeded,step=process} 3",
            "ergon.attempts{outcome=succeeded,step=success} 3",
            "ergon.fetch.batch_size 3x 3.000",
            "ergon.fetch.duration 4x 0.000",
            "ergon.fetch.empty 1",
            "ergon.queue.wait 3x",
            "ergon.settlements{disposition=ack,result=done} 3",
            "ergon.step.duration{outcome=succeeded,step=process} 3x 0.030",
            "ergon.step.duration{outcome=succeeded,step=success} 3x 0.000",
            "ergon.transaction.duration{outcome=succeeded} 3x 0.030",
            "ergon.transactions{outcome=succeeded} 3",
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn a_retried_success_shows_its_retries_and_their_waits() {
    let calls = Arc::new(AtomicUsize::new(0));
    let world = World::with(1).process(move |_| {
        let call = calls.fetch_add(1, Ordering::SeqCst);
        async move { if call < 2 { Err(TransactionError::system("busy")) } else { Ok(()) } }
    });
    let world = world.policy(|policy| {
        (policy.process.max_attempts, policy.process.backoff) = (3, 100 * MS);
    });
    let (lines, report) = gained(&world).await;
    assert_eq!(report.tally.retries, 2);
    assert_gained(
        &lines,
        &[
            "ergon.attempts{outcome=succeeded,step=fetch} 2",
            "ergon.attempts{outcome=succeeded,step=process} 1",
            "ergon.attempts{outcome=succeeded,step=success} 1",
            "ergon.attempts{outcome=system,step=process} 2",
            "ergon.backoff.duration{step=process} 2x 0.300",
            "ergon.fetch.batch_size 1x 1.000",
            "ergon.fetch.duration 2x 0.000",
            "ergon.fetch.empty 1",
            "ergon.queue.wait 1x",
            "ergon.retries{category=system,step=process} 2",
            "ergon.settlements{disposition=ack,result=done} 1",
            "ergon.step.duration{outcome=succeeded,step=process} 1x 0.300",
            "ergon.step.duration{outcome=succeeded,step=success} 1x 0.000",
            "ergon.transaction.duration{outcome=succeeded} 1x 0.300",
            "ergon.transactions{outcome=succeeded} 1",
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn a_business_failure_is_seen_up_to_the_dead_letter_connector() {
    let world = World::with(2).process(|_| async { Err(TransactionError::business("no such article")) });
    let (lines, report) = gained(&world.policy(|policy| policy.dead_letter = Some("letters".into()))).await;
    assert_eq!(report.tally.dead_lettered, 2);
    assert_gained(
        &lines,
        &[
            "ergon.attempts{outcome=business,step=process} 2",
            "ergon.attempts{outcome=succeeded,step=dead_letter} 2",
            "ergon.attempts{outcome=succeeded,step=exception} 2",
            "ergon.attempts{outcome=succeeded,step=fetch} 3",
            "ergon.dead_letters 2",
            "ergon.fetch.batch_size 2x 2.000",
            "ergon.fetch.duration 3x 0.000",
            "ergon.fetch.empty 1",
            "ergon.queue.wait 2x",
            "ergon.settlements{disposition=ack,result=done} 2",
            "ergon.step.duration{outcome=business,step=process} 2x 0.000",
            "ergon.step.duration{outcome=succeeded,step=exception} 2x 0.000",
            "ergon.transaction.duration{outcome=business} 2x 0.000",
            "ergon.transactions{outcome=business} 2",
        ],
    );
}

/// The lines of these metrics.
fn of<'a>(lines: &'a [String], metrics: &[&str]) -> Vec<&'a str> {
    let named = |line: &&String| metrics.iter().any(|metric| line.starts_with(&format!("ergon.{metric}")));
    lines.iter().filter(named).map(String::as_str).collect()
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_that_runs_out_is_seen_where_it_did() {
    let world = World::with(1).process(|_| async {
        sleep(1000 * MS).await;
        Ok(())
    });
    let world = world.policy(|policy| {
        policy.process.timeout = Some(100 * MS);
        (policy.process.max_attempts, policy.process.backoff) = (5, 200 * MS);
        // After the first attempt there is no time left for the second wait.
        policy.transaction_timeout = Some(250 * MS);
    });
    let (lines, _) = gained(&world).await;
    assert_gained(
        &of(&lines, &["attempts", "backoff", "retries", "step", "timeouts", "transaction"])
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>(),
        &[
            "ergon.attempts{outcome=succeeded,step=exception} 1",
            "ergon.attempts{outcome=succeeded,step=fetch} 2",
            "ergon.attempts{outcome=timeout,step=process} 1",
            "ergon.backoff.duration{step=process} 1x 0.200",
            "ergon.step.duration{outcome=succeeded,step=exception} 1x 0.000",
            "ergon.step.duration{outcome=timeout,step=process} 1x 0.250",
            "ergon.timeouts{step=process} 2",
            "ergon.transaction.duration{outcome=timeout} 1x 0.250",
            "ergon.transactions{outcome=timeout} 1",
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_system_error() {
    let world = World::with(1).process(|_| async { panic!("out of range") });
    let (lines, _) = gained(&world).await;
    assert_eq!(
        of(&lines, &["attempts{outcome=sys", "settlements", "transactions"]),
        [
            "ergon.attempts{outcome=system,step=process} 1",
            "ergon.settlements{disposition=reject,result=done} 1",
            "ergon.transactions{outcome=system} 1",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_is_counted_each_time() {
    for (disposition, settled) in [
        (Disposition::Requeue, "ergon.settlements{disposition=requeue,result=done} 1"),
        (Disposition::RetryAfter(60 * MS), "ergon.settlements{disposition=ack,result=done} 1"),
    ] {
        let calls = Arc::new(AtomicUsize::new(0));
        let world = World::with(1)
            .process(move |_| {
                let call = calls.fetch_add(1, Ordering::SeqCst);
                async move { if call == 0 { Err(TransactionError::system("busy")) } else { Ok(()) } }
            })
            .exception(move |_| async move { Ok(disposition) });
        let (lines, report) = gained(&world).await;
        assert_eq!((report.tally.processed, report.tally.requeued), (2, 1));
        assert_eq!(
            of(&lines, &["queue", "transactions"]),
            [
                "ergon.queue.wait 2x",
                "ergon.transactions{outcome=succeeded} 1",
                "ergon.transactions{outcome=system} 1",
            ]
        );
        let settlements = of(&lines, &["settlements"]);
        assert!(settlements.contains(&settled), "{settlements:?}");
        // A delivery that is held until it is due is settled once, at the end.
        let held = matches!(disposition, Disposition::RetryAfter(_));
        assert_eq!(settlements.len(), if held { 1 } else { 2 }, "{settlements:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_fails_is_seen_with_its_retries() {
    let world = World::with(1).policy(|policy| policy.fetch.max_attempts = 2);
    let faults = [ConnectorError::transient("gone"), ConnectorError::permanent("no such queue")];
    world.input.faults.fetches.lock().unwrap().extend(faults);
    let (lines, report) = gained(&world).await;
    assert!(matches!(report.ended, ergon::telemetry::Ended::Failed(_)));
    assert_gained(
        &lines,
        &[
            "ergon.attempts{outcome=business,step=fetch} 1",
            "ergon.attempts{outcome=system,step=fetch} 1",
            "ergon.backoff.duration{step=fetch} 1x 0.000",
            "ergon.retries{category=system,step=fetch} 1",
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn empty_fetches_of_a_streaming_run_are_counted() {
    let measuring = measure().await;
    let running = World::new().policy(|policy| policy.streaming = true).start().await;
    sleep(Duration::from_secs(600)).await;
    running.stop();
    running.wait().await.unwrap();
    let lines = measuring.gained("probe");
    let empty: f64 = of(&lines, &["fetch.empty"])[0].rsplit_once(' ').unwrap().1.parse().unwrap();
    assert!(empty > 10.0 && of(&lines, &["fetch.batch_size"]).is_empty(), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn settlements_that_the_source_did_not_take_are_told_apart() {
    for (fault, result) in
        [(ConnectorError::unknown("link died"), "unknown"), (ConnectorError::transient("gone"), "not_done")]
    {
        let world = World::with(1).policy(|policy| policy.timeout = Some(1000 * MS));
        world.input.faults.settles.lock().unwrap().push_back(fault);
        let (lines, report) = gained(&world).await;
        assert_eq!((report.tally.unknown, report.tally.succeeded), (1, 0));
        assert_eq!(
            of(&lines, &["settlements", "transactions"]),
            [format!("ergon.settlements{{disposition=ack,result={result}}} 1")]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn poison_and_what_cannot_be_decoded_are_outcomes_too() {
    let world = World::with(0);
    let poison = Transaction::builder().id("p").payload(Payload::text("x")).build().with_deliveries(99);
    world.input.queue.push(poison);
    let (lines, _) = gained(&world).await;
    // A poison transaction is not processed: there is no attempt, and no wait that ended.
    assert_eq!(
        of(&lines, &["attempts", "queue", "step", "transactions"]),
        ["ergon.attempts{outcome=succeeded,step=fetch} 2", "ergon.transactions{outcome=business} 1",]
    );
    let measuring = measure().await;
    let hybrid = Hybrid::new(&["not a list"]);
    hybrid.run().await;
    let lines = measuring.gained("split");
    assert_eq!(
        of(&lines, &["attempts{outcome=b", "step.duration{outcome=b", "transactions"]),
        [
            "ergon.attempts{outcome=business,step=process} 1",
            "ergon.step.duration{outcome=business,step=process} 1x 0.000",
            "ergon.transactions{outcome=business} 1",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn the_queue_wait_is_the_age_at_the_first_step() {
    let measuring = measure().await;
    let world = World::new();
    for (id, age) in [("a", 3600), ("b", 60)] {
        let created = SystemTime::now() - Duration::from_secs(age);
        let old = Transaction::builder().id(id).created_at(created).payload(Payload::text("x")).build();
        world.input.queue.push(old);
    }
    let ahead = SystemTime::now() + Duration::from_secs(1000);
    world
        .input
        .queue
        .push(Transaction::builder().id("c").created_at(ahead).payload(Payload::text("x")).build());
    world.run().await;
    let (count, sum) = measuring.grown("probe")["ergon.queue.wait"];
    assert!(count == 3 && (3660.0..3670.0).contains(&sum), "{count} {sum}");
}

#[tokio::test(start_paused = true)]
async fn levels_rise_with_the_work_and_fall_to_nothing_after_it() {
    let measuring = measure().await;
    let gate = Arc::new(Semaphore::new(0));
    let waits = Arc::clone(&gate);
    let world = World::with(5).policy(|policy| policy.concurrency = 3).process(move |_| {
        let gate = Arc::clone(&waits);
        async move {
            gate.acquire().await.unwrap().forget();
            Ok(())
        }
    });
    let running = world.start().await;
    until("three run", 60_000 * MS, || async { running.in_flight() == 3 }).await;
    let levels = |name| measuring.now("probe")[name];
    assert_eq!(levels("ergon.in_flight"), (0, 3.0));
    assert_eq!(levels("ergon.concurrency.limit"), (0, 3.0));
    gate.add_permits(5);
    running.wait().await.unwrap();
    assert_eq!(levels("ergon.in_flight"), (0, 0.0));
    assert_eq!(levels("ergon.concurrency.limit"), (0, 0.0));
}

/// Splits a list into its numbers; a 0 fails.
#[ergon::task(connectors(input, output, dlq), consumer(), producer())]
struct Split;

impl Consumer for Split {
    type Payload = Vec<usize>;
    type Output = Vec<Transaction>;

    async fn process_transaction(&self, order: &Transaction<Vec<usize>>) -> Result<Vec<Transaction>> {
        order.payload().iter().map(|line| order.derive(line)).collect()
    }

    async fn handle_process_success(&self, _: &Transaction<Vec<usize>>, _: &Vec<Transaction>) -> Result<()> {
        Ok(())
    }
}

impl Producer for Split {
    type Payload = usize;
    type Output = ();

    async fn prepare_transaction(&self, line: &Transaction<usize>) -> Result<()> {
        if *line.payload() == 0 { Err(TransactionError::business("nothing to send")) } else { Ok(()) }
    }

    async fn handle_prepare_success(&self, line: &Transaction<usize>, (): &()) -> Result<()> {
        self.output_connector.dispatch(line.forward()).await
    }
}

/// A new queue for each use.
fn queue() -> (Arc<MemoryQueue>, MemoryConfig) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("metrics-{}", NEXT.fetch_add(1, Ordering::SeqCst));
    (MemoryQueue::named(&name), MemoryConfig::new(name))
}

/// A hybrid and its orders.
struct Hybrid(TaskConfig);

impl Hybrid {
    fn new<T: Serialize>(orders: &[T]) -> Self {
        let ((queue_in, input), (_, output), (_, dlq)) = (queue(), queue(), queue());
        queue_in
            .extend(orders.iter().enumerate().map(|(n, o)| Transaction::new(format!("o-{n}"), o).unwrap()));
        let config = Split::config(SplitWiring { input, output, dlq });
        Self(config.producer(|policy| policy.dead_letter = Some("dlq".into())))
    }

    async fn run(self) -> RunReport {
        testing::run(self.0).await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_hybrid_sends_out_is_part_of_the_transaction_it_came_from() {
    let measuring = measure().await;
    let report = Hybrid::new(&[vec![1, 2, 3], vec![4, 0]]).run().await;
    assert_eq!((report.tally.succeeded, report.tally.dead_lettered), (2, 1));
    let lines = measuring.gained("split");
    assert_eq!(
        of(&lines, &["attempts", "dead", "queue", "settlements", "step", "transaction"]),
        [
            "ergon.attempts{outcome=business,step=prepare} 1",
            "ergon.attempts{outcome=succeeded,step=dead_letter} 1",
            "ergon.attempts{outcome=succeeded,step=exception} 1",
            "ergon.attempts{outcome=succeeded,step=fetch} 3",
            "ergon.attempts{outcome=succeeded,step=prepare} 4",
            "ergon.attempts{outcome=succeeded,step=process} 2",
            "ergon.attempts{outcome=succeeded,step=success} 6",
            "ergon.dead_letters 1",
            "ergon.queue.wait 2x",
            "ergon.settlements{disposition=ack,result=done} 2",
            "ergon.step.duration{outcome=business,step=prepare} 1x 0.000",
            "ergon.step.duration{outcome=succeeded,step=exception} 1x 0.000",
            "ergon.step.duration{outcome=succeeded,step=prepare} 4x 0.000",
            "ergon.step.duration{outcome=succeeded,step=process} 2x 0.000",
            "ergon.step.duration{outcome=succeeded,step=success} 6x 0.000",
            "ergon.transaction.duration{outcome=succeeded} 2x 0.000",
            "ergon.transactions{outcome=succeeded} 2",
        ]
    );
}

/// The gate at which handlers wait until the test opens it.
static GATE: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

#[ergon::task(connectors(input), consumer(), blocking)]
struct Block;

impl BlockingConsumer for Block {
    type Payload = u32;
    type Output = ();

    fn process_transaction(&self, number: &Transaction<u32>) -> Result<()> {
        if *number.payload() == 0 {
            drop(GATE.1.wait_while(GATE.0.lock().unwrap(), |open| !*open).unwrap());
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_thread_is_seen_until_it_returns_though_the_run_is_over() {
    let measuring = measure().await;
    let (orders, input) = queue();
    orders.extend((0..3_u32).map(|n| Transaction::new(n.to_string(), &n).unwrap()));
    let config = Block::config(BlockWiring { input }).consumer(|policy| {
        policy.concurrency = 2;
        policy.process.timeout = Some(50 * MS);
    });
    let report = testing::run(config).await.unwrap();
    assert_eq!((report.tally.succeeded, report.tally.abandoned_threads), (2, 1));
    let threads = || measuring.now("block")["ergon.abandoned_threads"].1;
    assert!((threads() - 1.0).abs() < f64::EPSILON);
    *GATE.0.lock().unwrap() = true;
    GATE.1.notify_all();
    until("the thread has returned", 30_000 * MS, || async { threads() < 0.5 }).await;
    let lines = measuring.gained("block");
    assert_eq!(
        of(&lines, &["timeouts", "transactions"]),
        [
            "ergon.timeouts{step=process} 1",
            "ergon.transactions{outcome=succeeded} 2",
            "ergon.transactions{outcome=timeout} 1",
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_ids_make_no_series() {
    let measuring = measure().await;
    let world = World::with(100_000).policy(|policy| (policy.concurrency, policy.batch_size) = (64, 500));
    let report = world.run().await;
    assert_eq!(report.tally.succeeded, 100_000);
    let lines = measuring.gained("probe");
    assert!(lines.contains(&"ergon.transactions{outcome=succeeded} 100000".to_owned()), "{lines:?}");
    assert!(measuring.now("probe").len() < 60, "{:?}", measuring.now("probe").keys());
}

/// The behaviour of the transaction with this number.
async fn fate(n: usize, calls: &AtomicUsize) -> Result<()> {
    let first = calls.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
    match n % 7 {
        0 => Err(TransactionError::business("wrong")),
        1 if first => Err(TransactionError::system("busy")),
        2 => std::future::pending().await,
        3 => panic!("a defect"),
        4 => {
            tokio::task::yield_now().await;
            Ok(())
        }
        _ => Ok(()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_totals_are_those_of_the_summary() {
    let measuring = measure().await;
    let calls = Arc::new(AtomicUsize::new(0));
    let world = World::with(700).process(move |transaction| {
        let calls = Arc::clone(&calls);
        async move { fate(transaction.id().parse().unwrap(), &calls).await }
    });
    let world = world.policy(|policy| {
        (policy.concurrency, policy.batch_size) = (32, 50);
        (policy.process.max_attempts, policy.process.timeout) = (3, Some(5 * MS));
        policy.dead_letter = Some("letters".into());
    });
    let report = world.run().await;
    let gained = measuring.grown("probe");
    let tally = &report.tally;
    let total = |name: &str| -> (u64, f64) {
        let own = gained.iter().filter(|(series, _)| series.starts_with(name));
        own.fold((0, 0.0), |(counts, sums), (_, (count, sum))| (counts + count, sums + sum))
    };
    #[expect(clippy::cast_precision_loss, reason = "few")]
    for (series, figure) in [
        ("ergon.transactions{", tally.processed),
        ("ergon.transactions{outcome=succeeded", tally.succeeded),
        ("ergon.transactions{outcome=business", tally.failed.business),
        ("ergon.transactions{outcome=system", tally.failed.system),
        ("ergon.transactions{outcome=timeout", tally.failed.timeout),
        ("ergon.dead_letters", tally.dead_lettered),
        ("ergon.retries", tally.retries),
        ("ergon.settlements", tally.fetched),
    ] {
        assert!((total(series).1 - figure as f64).abs() < 1e-9, "{series} {figure}: {gained:?}");
        assert!(figure > 0, "{series}");
    }
    for step in [Step::Process, Step::Success, Step::Exception] {
        let series = gained.iter().filter(|(series, _)| {
            series.starts_with("ergon.step.duration") && series.contains(&format!("step={step}"))
        });
        assert_eq!(series.map(|(_, (count, _))| count).sum::<u64>(), tally.times(step).count(), "{step}");
    }
    assert_eq!(total("ergon.transaction.duration").0, tally.processed);
    assert_eq!(total("ergon.queue.wait").0, tally.processed);
}

#[tokio::test(start_paused = true)]
async fn dead_letters_that_wait_are_a_level() {
    let measuring = measure().await;
    let world =
        World::with(3).process(|_| async { Err(TransactionError::business("no")) }).policy(|policy| {
            policy.dead_letter = Some("letters".into());
            policy.streaming = true;
        });
    let errors = (0..1000).map(|_| ConnectorError::transient("full"));
    world.letters.faults.dispatches.lock().unwrap().extend(errors);
    let running = world.start().await;
    let waiting = || measuring.now("probe")["ergon.dead_letters.waiting"].1;
    sleep(1000 * MS).await;
    assert!((waiting() - 3.0).abs() < f64::EPSILON, "{}", waiting());
    world.letters.faults.dispatches.lock().unwrap().clear();
    sleep(60_000 * MS).await;
    assert!(waiting().abs() < f64::EPSILON, "{}", waiting());
    running.stop();
    running.wait().await.unwrap();
    assert!(measuring.gained("probe").contains(&"ergon.dead_letters 3".to_owned()));
}
