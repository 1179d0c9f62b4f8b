//! Tests blocking handlers: they run on threads, and their limits are as strict as the limits of async handlers.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use ergon::connector::memory::{MemoryConfig, MemoryQueue};
use ergon::prelude::*;
use ergon::service::{Service, ServiceConfig, ServiceError};
use ergon::telemetry::Ended;
use ergon::testing;
use ergon::transaction::Payload;

/// A gate that handlers wait at until the test opens it.
#[derive(Debug, Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
    waiting: AtomicUsize,
}

impl Gate {
    fn wait(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut open = self.open.lock().unwrap();
        while !*open {
            open = self.opened.wait(open).unwrap();
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

type Step = Arc<dyn Fn(&Transaction<u32>) -> Result<u32> + Send + Sync>;

#[derive(Clone)]
struct Script {
    process: Step,
    success: Step,
    log: Arc<Mutex<Vec<String>>>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}

impl Service for Script {}

impl ServiceConfig for Script {
    type Service = Self;

    fn build(&self) -> Result<Self, ServiceError> {
        Ok(self.clone())
    }
}

impl Script {
    fn say(&self, what: &str, id: &str) {
        self.log.lock().unwrap().push(format!("{what} {id}"));
    }
}

#[ergon::task(connectors(input, output), services(script: Script), consumer(), blocking)]
struct Block;

impl BlockingConsumer for Block {
    type Payload = u32;
    type Output = u32;

    fn process_transaction(&self, number: &Transaction<u32>) -> Result<u32> {
        self.script_service.say("process", number.id());
        (self.script_service.process)(number)
    }

    fn handle_process_success(&self, number: &Transaction<u32>, output: &u32) -> Result<()> {
        self.script_service.say("success", number.id());
        (self.script_service.success)(number)?;
        self.output_connector.blocking_dispatch(number.derive(output)?)
    }

    fn handle_process_exception(
        &self,
        number: &Transaction,
        error: &TransactionError,
    ) -> Result<Disposition> {
        self.script_service.say(&format!("exception:{}", error.category()), number.id());
        Ok(Disposition::Reject)
    }

    fn exit(&self) -> Result<()> {
        self.script_service.say("exit", "");
        Ok(())
    }
}

struct World {
    input: Arc<MemoryQueue>,
    output: Arc<MemoryQueue>,
    wiring: (MemoryConfig, MemoryConfig),
    script: Script,
}

impl World {
    fn with(count: u32, process: impl Fn(&Transaction<u32>) -> Result<u32> + Send + Sync + 'static) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let names =
            ["in", "out"].map(|end| format!("blocking-{end}-{}", NEXT.fetch_add(1, Ordering::SeqCst)));
        let [input, output] = names.each_ref().map(|name| MemoryQueue::named(name));
        input.extend((0..count).map(|n| Transaction::new(n.to_string(), &n).unwrap()));
        let [source, sink] = names.map(MemoryConfig::new);
        let script = Script { process: Arc::new(process), success: Arc::new(|_| Ok(0)), log: Arc::default() };
        Self { input, output, wiring: (source, sink), script }
    }

    fn config(&self, change: impl FnOnce(&mut ConsumerPolicy)) -> TaskConfig {
        let (input, output) = self.wiring.clone();
        Block::config(BlockWiring { input, output, script: self.script.clone() }).consumer(change)
    }

    fn log(&self) -> Vec<String> {
        self.script.log.lock().unwrap().clone()
    }
}

#[tokio::test(start_paused = true)]
async fn a_blocking_task_lives_the_same_life() {
    let world =
        World::with(
            2,
            |number| {
                if *number.payload() == 0 { Ok(7) } else { Err(TransactionError::business("odd")) }
            },
        );
    let report = testing::run(world.config(|_| ())).await.unwrap();
    assert_eq!((report.tally.succeeded, report.tally.failed.business), (1, 1));
    assert_eq!(world.log(), ["process 0", "success 0", "process 1", "exception:business 1", "exit "]);
    assert_eq!(world.output.drain()[0].decode::<u32>().unwrap(), 7);
    assert_eq!((world.input.inspect().acked, world.input.inspect().dead_letters.len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn blocking_retries_wait_on_the_engines_clock() {
    let calls = Arc::new(AtomicUsize::new(0));
    let world = World::with(1, move |_| match calls.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => Err(TransactionError::system("link lost")),
        _ => Ok(1),
    });
    let began = tokio::time::Instant::now();
    let report = testing::run(world.config(|policy| {
        policy.process.max_attempts = 3;
        policy.process.backoff = Duration::from_secs(100);
        policy.transaction_timeout = None;
    }))
    .await
    .unwrap();
    assert_eq!((report.tally.succeeded, report.tally.retries, began.elapsed().as_secs()), (1, 2, 300));
}

#[tokio::test(start_paused = true)]
async fn a_paused_clock_stands_still_while_a_handler_runs() {
    let world = World::with(20, |_| {
        std::thread::sleep(Duration::from_millis(2));
        Ok(1)
    });
    let report = testing::run(world.config(|policy| policy.concurrency = 4)).await.unwrap();
    assert_eq!((report.tally.succeeded, report.tally.failed.total()), (20, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_run_at_once_as_concurrency_says_and_never_more() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, peak) = (Arc::clone(&running), Arc::clone(&most));
    let world = World::with(300, move |_| {
        peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_micros(200));
        now.fetch_sub(1, Ordering::SeqCst);
        Ok(1)
    });
    let report = testing::run(world.config(|policy| policy.concurrency = 8)).await.unwrap();
    assert_eq!(report.tally.succeeded, 300);
    assert_eq!(most.load(Ordering::SeqCst), 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_hangs_is_abandoned_at_its_limit_and_its_slot_taken_over() {
    let gate = Arc::new(Gate::default());
    let at = Arc::clone(&gate);
    let world = World::with(3, move |number| {
        if *number.payload() == 0 {
            at.wait();
        }
        Ok(1)
    });
    let began = Instant::now();
    let report = testing::run(world.config(|policy| {
        policy.concurrency = 2;
        policy.process.timeout = Some(Duration::from_millis(50));
    }))
    .await
    .unwrap();
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(50), "{took:?}");
    assert_eq!((report.tally.succeeded, report.tally.failed.timeout), (2, 1));
    assert_eq!(report.tally.abandoned_threads, 1);
    let before = world.log();
    assert!(before.contains(&"exception:timeout 0".to_owned()), "{before:?}");
    gate.open();
    while gate.waiting.load(Ordering::SeqCst) > 0 {
        std::thread::yield_now();
    }
    // Its late result changes nothing.
    assert!(!world.log().contains(&"success 0".to_owned()));
    assert_eq!((world.input.inspect().acked, world.output.drain().len()), (2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_attempt_is_retried_and_sees_that_it_is_cancelled() {
    let (calls, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(Gate::default()));
    let (count, told) = (Arc::clone(&calls), Arc::clone(&seen));
    let world = World::with(1, move |number| {
        if count.fetch_add(1, Ordering::SeqCst) > 0 {
            return Ok(u32::from(number.is_cancelled()));
        }
        while !number.is_cancelled() {
            std::thread::yield_now();
        }
        told.open();
        Err(TransactionError::business("its error is ignored"))
    });
    // With a concurrency of 1, one abandoned thread would be all threads.
    let report = testing::run(world.config(|policy| {
        policy.concurrency = 2;
        policy.process.timeout = Some(Duration::from_millis(50));
        policy.process.max_attempts = 2;
    }))
    .await
    .unwrap();
    seen.wait();
    assert_eq!((report.tally.succeeded, report.tally.retries), (1, 1));
    assert_eq!(world.output.drain()[0].decode::<u32>().unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_threads_are_stuck_the_run_drains_and_ends_with_an_error() {
    let gate = Arc::new(Gate::default());
    let at = Arc::clone(&gate);
    let world = World::with(10, move |_| {
        at.wait();
        Ok(1)
    });
    let report = testing::run(world.config(|policy| {
        policy.concurrency = 2;
        policy.process.timeout = Some(Duration::from_millis(30));
        policy.shutdown_grace = Duration::from_millis(50);
    }))
    .await
    .unwrap();
    let Ended::Failed(error) = report.ended else { panic!("{:?}", report.ended) };
    assert_eq!(error.to_string(), "all 2 threads are stuck in handlers that exceeded their limits");
    let queue = world.input.inspect();
    assert_eq!((queue.handed_out, queue.acked), (0, 0));
    assert_eq!(queue.waiting + queue.dead_letters.len(), 10);
    gate.open();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_handler_that_is_cut_off_by_a_stop_is_given_back() {
    let gate = Arc::new(Gate::default());
    let at = Arc::clone(&gate);
    let world = World::with(2, move |_| {
        at.wait();
        Ok(1)
    });
    let running = testing::start(world.config(|policy| policy.shutdown_grace = Duration::from_millis(30)))
        .await
        .unwrap();
    while gate.waiting.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    running.stop();
    let report = running.wait().await.unwrap();
    assert!(matches!(report.ended, Ended::Stopped { given_back: 1 }), "{:?}", report.ended);
    assert_eq!((world.input.inspect().waiting, world.input.inspect().handed_out), (2, 0));
    assert_eq!(world.log(), ["process 0", "exit "]);
    gate.open();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_a_blocking_handler_is_that_attempts_system_error() {
    let calls = Arc::new(AtomicUsize::new(0));
    let world = World::with(1, move |_| {
        assert!(calls.fetch_add(1, Ordering::SeqCst) > 0, "first");
        Ok(1)
    });
    let report = testing::run(world.config(|policy| policy.process.max_attempts = 2)).await.unwrap();
    assert_eq!((report.tally.succeeded, report.tally.retries), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_transaction_limit_bounds_a_success_handler_that_hangs_and_only_one_handler_ends() {
    let gate = Arc::new(Gate::default());
    let at = Arc::clone(&gate);
    let mut world = World::with(1, |_| Ok(1));
    world.script.success = Arc::new(move |_| {
        at.wait();
        Ok(0)
    });
    let report = testing::run(world.config(|policy| {
        policy.transaction_timeout = Some(Duration::from_millis(50));
        policy.concurrency = 2;
    }))
    .await
    .unwrap();
    assert_eq!(report.tally.failed.timeout, 1);
    assert_eq!(world.log(), ["process 0", "success 0", "exception:timeout 0", "exit "]);
    gate.open();
    assert_eq!(world.input.inspect().dead_letters.len(), 1);
}

#[ergon::task(connectors(output), producer(concurrency = 4, limit = 50), blocking)]
struct Count;

impl BlockingProducer for Count {
    type Payload = u32;
    type Output = u32;

    fn transactions(&self) -> impl Iterator<Item = Result<Transaction<u32>>> {
        (0..).map(|n: u32| Transaction::typed(n.to_string(), n))
    }

    fn prepare_transaction(&self, number: &Transaction<u32>) -> Result<u32> {
        Ok(number.payload() + 1)
    }

    fn handle_prepare_success(&self, number: &Transaction<u32>, next: &u32) -> Result<()> {
        self.output_connector.blocking_dispatch(number.derive(next)?)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_producer_pulls_its_iterator_as_slots_free_up() {
    let queue = MemoryQueue::named("blocking-count");
    let config = Count::config(CountWiring { output: MemoryConfig::new("blocking-count") });
    let report = testing::run(config).await.unwrap();
    assert!(matches!(report.ended, Ended::LimitReached), "{:?}", report.ended);
    assert_eq!((report.tally.succeeded, queue.drain().len()), (50, 50));
}

#[ergon::task(connectors(input, output), consumer(), producer(), blocking)]
struct Split;

impl BlockingConsumer for Split {
    type Payload = Vec<u32>;
    type Output = Vec<Transaction>;

    fn process_transaction(&self, order: &Transaction<Vec<u32>>) -> Result<Vec<Transaction>> {
        order.payload().iter().map(|line| order.derive(line)).collect()
    }
}

impl BlockingProducer for Split {
    type Payload = u32;
    type Output = ();

    fn prepare_transaction(&self, line: &Transaction<u32>) -> Result<()> {
        self.output_connector.blocking_dispatch(line.forward())
    }
}

#[tokio::test(start_paused = true)]
async fn a_blocking_hybrid_takes_every_outbound_through_before_it_settles() {
    let (orders, lines) = (MemoryQueue::named("blocking-orders"), MemoryQueue::named("blocking-lines"));
    orders.push(Transaction::new("o", &[1, 2, 3]).unwrap());
    let (input, output) = (MemoryConfig::new("blocking-orders"), MemoryConfig::new("blocking-lines"));
    let report = testing::run(Split::config(SplitWiring { input, output })).await.unwrap();
    assert_eq!((report.tally.succeeded, report.tally.produced), (1, 3));
    assert_eq!(lines.drain().iter().map(|t| t.decode::<u32>().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(orders.inspect().acked, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_each_blocking_handler_is_that_steps_failure() {
    let mut world =
        World::with(2, |number| if *number.payload() == 1 { std::panic::panic_any(7_u64) } else { Ok(1) });
    world.script.success = Arc::new(|_| panic!("in success"));
    let report = testing::run(world.config(|policy| {
        (policy.process.max_attempts, policy.success.max_attempts) = (2, 3);
    }))
    .await
    .unwrap();
    assert_eq!((report.tally.succeeded, report.tally.failed.system, report.tally.retries), (0, 2, 2 + 1));
    let log = world.log();
    let count = |what: &str| log.iter().filter(|line| *line == what).count();
    let expected = [1, 3, 1, 2, 1];
    let seen = ["process 0", "success 0", "exception:system 0", "process 1", "exception:system 1"].map(count);
    assert_eq!(seen, expected, "{log:?}");
    assert_eq!((world.input.inspect().dead_letters.len(), world.input.inspect().handed_out), (2, 0));
}

#[ergon::task(connectors(input), consumer(), blocking)]
struct FailsTwice;

impl BlockingConsumer for FailsTwice {
    type Payload = u32;
    type Output = ();

    fn process_transaction(&self, _: &Transaction<u32>) -> Result<()> {
        Err(TransactionError::business("no"))
    }

    fn handle_process_exception(&self, _: &Transaction, _: &TransactionError) -> Result<Disposition> {
        panic!("in exception")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_a_blocking_exception_handler_is_a_handler_failure() {
    let queue = MemoryQueue::named("blocking-fails-twice");
    queue.push(Transaction::new("0", &0).unwrap());
    let config = FailsTwice::config(FailsTwiceWiring { input: MemoryConfig::new("blocking-fails-twice") });
    let report = testing::run(config.consumer(|policy| policy.limit = Some(1))).await.unwrap();
    assert_eq!((report.tally.handler_failures, report.tally.requeued), (1, 1));
    assert_eq!((queue.inspect().waiting, queue.inspect().handed_out), (1, 0));
}

/// Tasks that block their thread for longer than a poll may take, each in another place.
mod blocks {
    use super::*;

    pub(super) fn now() {
        std::thread::sleep(Duration::from_millis(150));
    }

    #[ergon::task(connectors(input), consumer())]
    pub(super) struct AtOnce;
    impl Consumer for AtOnce {
        type Payload = Payload;
        type Output = ();
        async fn process_transaction(&self, _: &Transaction<Payload>) -> Result<()> {
            now();
            Ok(())
        }
    }

    #[ergon::task(connectors(input), consumer())]
    pub(super) struct BeforeItWaits;
    impl Consumer for BeforeItWaits {
        type Payload = Payload;
        type Output = ();
        async fn process_transaction(&self, _: &Transaction<Payload>) -> Result<()> {
            now();
            tokio::task::yield_now().await;
            Ok(())
        }
    }

    #[ergon::task(connectors(input), consumer())]
    pub(super) struct AfterItWaited;
    impl Consumer for AfterItWaited {
        type Payload = Payload;
        type Output = ();
        async fn process_transaction(&self, _: &Transaction<Payload>) -> Result<()> {
            tokio::task::yield_now().await;
            now();
            Ok(())
        }
    }

    #[ergon::task(connectors(input), consumer())]
    pub(super) struct InSuccess;
    impl Consumer for InSuccess {
        type Payload = Payload;
        type Output = ();
        async fn process_transaction(&self, _: &Transaction<Payload>) -> Result<()> {
            Ok(())
        }
        async fn handle_process_success(&self, _: &Transaction<Payload>, (): &()) -> Result<()> {
            now();
            Ok(())
        }
    }

    #[ergon::task(connectors(input), consumer(process(max_attempts = 2)))]
    pub(super) struct InException;
    impl Consumer for InException {
        type Payload = Payload;
        type Output = ();
        async fn process_transaction(&self, _: &Transaction<Payload>) -> Result<()> {
            Err(TransactionError::system("no"))
        }
        async fn handle_process_exception(
            &self,
            _: &Transaction,
            _: &TransactionError,
        ) -> Result<Disposition> {
            now();
            Ok(Disposition::Ack)
        }
    }

    #[ergon::task(connectors(input), consumer(process(max_attempts = 2)))]
    pub(super) struct InTheRetry;
    impl Consumer for InTheRetry {
        type Payload = Payload;
        type Output = ();
        async fn process_transaction(&self, transaction: &Transaction<Payload>) -> Result<()> {
            static TRIED: Mutex<Vec<String>> = Mutex::new(Vec::new());
            let id = transaction.id().to_owned();
            let again = TRIED.lock().unwrap().contains(&id);
            if !again {
                TRIED.lock().unwrap().push(id);
                return Err(TransactionError::system("not yet"));
            }
            now();
            Ok(())
        }
    }

    #[ergon::task(connectors(input), consumer(concurrency = 4))]
    pub(super) struct Waits;
    impl Consumer for Waits {
        type Payload = Payload;
        type Output = ();
        async fn process_transaction(&self, _: &Transaction<Payload>) -> Result<()> {
            tokio::time::sleep(Duration::from_secs(30)).await;
            Ok(())
        }
    }

    #[ergon::task(connectors(input), consumer(), blocking)]
    pub(super) struct ByRight;
    impl BlockingConsumer for ByRight {
        type Payload = Payload;
        type Output = ();
        fn process_transaction(&self, _: &Transaction<Payload>) -> Result<()> {
            now();
            Ok(())
        }
    }
}

/// The log lines about blocked threads while a task processes three transactions.
async fn said_of(task: impl FnOnce(MemoryConfig) -> TaskConfig) -> Vec<String> {
    let name = format!("blocks-{}", fastrand::u64(..));
    let queue = MemoryQueue::named(&name);
    queue.extend((0..3).map(|n| Transaction::new(format!("n-{n}"), &n).unwrap()));
    let (lines, logging) = ergon_tests::Lines::capture();
    let report = testing::run(task(MemoryConfig::new(name))).await.unwrap();
    drop(logging);
    assert_eq!(report.tally.processed, 3);
    lines.with("blocked its thread")
}

#[tokio::test]
async fn an_async_handler_that_blocks_its_thread_is_reported_once_for_its_task_with_the_remedy() {
    use blocks::{
        AfterItWaited, AfterItWaitedWiring, AtOnce, AtOnceWiring, BeforeItWaits, BeforeItWaitsWiring,
        InException, InExceptionWiring, InSuccess, InSuccessWiring, InTheRetry, InTheRetryWiring,
    };
    let cases = [
        ("at-once", "process", said_of(|input| AtOnce::config(AtOnceWiring { input })).await),
        (
            "before-it-waits",
            "process",
            said_of(|input| BeforeItWaits::config(BeforeItWaitsWiring { input })).await,
        ),
        (
            "after-it-waited",
            "process",
            said_of(|input| AfterItWaited::config(AfterItWaitedWiring { input })).await,
        ),
        ("in-success", "success", said_of(|input| InSuccess::config(InSuccessWiring { input })).await),
        (
            "in-exception",
            "exception",
            said_of(|input| InException::config(InExceptionWiring { input })).await,
        ),
        ("in-the-retry", "process", said_of(|input| InTheRetry::config(InTheRetryWiring { input })).await),
    ];
    for (task, step, said) in cases {
        assert_eq!(said.len(), 1, "{task}: {said:#?}");
        let line = &said[0];
        assert!(line.starts_with("WARN") && line.contains(&format!("task=\"{task}\"")), "{line}");
        assert!(line.contains(&format!("step=\"{step}\"")), "{line}");
        assert!(line.contains("`blocking`") && line.contains("`ergon::spawn_blocking`"), "{line}");
        let took = line.split("blocked_ms=").nth(1).unwrap().split(' ').next().unwrap();
        assert!((150..60_000).contains(&took.parse::<u64>().unwrap()), "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_waits_blocks_nothing() {
    assert!(said_of(|input| blocks::Waits::config(blocks::WaitsWiring { input })).await.is_empty());
}

#[tokio::test]
async fn a_blocking_task_blocks_by_right() {
    assert!(said_of(|input| blocks::ByRight::config(blocks::ByRightWiring { input })).await.is_empty());
}
