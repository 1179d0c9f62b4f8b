//! Tests that producers, hybrids and tasks with their own `execute` follow the same rules as consumers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ergon::connector::memory::{MemoryConfig, MemoryQueue};
use ergon::connector::prelude::*;
use ergon::prelude::*;
use ergon::service::{Service, ServiceConfig, ServiceError};
use ergon::telemetry::{Ended, RunReport, Step};
use ergon::testing;
use futures_util::stream;
use tokio::time::{Instant, sleep};

/// The behaviour of the tasks below, and their recorded calls.
#[derive(Debug, Default)]
struct Script {
    /// The number of transactions.
    count: usize,
    /// The duration of the prepare step.
    takes: Duration,
    /// The numbers whose first step fails, with the category of the error and the number of failures.
    fails: Vec<(usize, Category, usize)>,
    /// The stream fails, or panics, at this number.
    breaks_at: Option<usize>,
    panics_at: Option<usize>,
    pulled: AtomicUsize,
    running: AtomicUsize,
    most: AtomicUsize,
    log: Mutex<Vec<String>>,
    attempts: Mutex<Vec<usize>>,
}

impl Script {
    fn say(&self, what: &str, id: &str) {
        self.log.lock().unwrap().push(format!("{what} {id}"));
    }

    fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    fn transaction(&self, n: usize) -> Result<Transaction<usize>> {
        self.pulled.fetch_add(1, Ordering::SeqCst);
        assert_ne!(self.panics_at, Some(n), "no {n}");
        if self.breaks_at == Some(n) {
            return Err(TransactionError::system("the table is gone"));
        }
        Transaction::typed(format!("n-{n}"), n)
    }

    async fn attempt(&self, n: usize) -> Result<()> {
        self.most.fetch_max(self.running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        sleep(self.takes).await;
        self.running.fetch_sub(1, Ordering::SeqCst);
        let before = {
            let mut attempts = self.attempts.lock().unwrap();
            attempts.push(n);
            attempts.iter().filter(|other| **other == n).count()
        };
        match self.fails.iter().find(|(number, ..)| *number == n) {
            Some((_, category, times)) if before <= *times => {
                Err(TransactionError::new(*category, format!("{n} fails")))
            }
            _ => Ok(()),
        }
    }
}

#[derive(Debug, Clone, Default)]
struct ScriptConfig(Arc<Script>);

#[derive(Debug)]
struct ScriptService(Arc<Script>);

impl Service for ScriptService {}

impl ServiceConfig for ScriptConfig {
    type Service = ScriptService;

    fn build(&self) -> Result<ScriptService, ServiceError> {
        Ok(ScriptService(Arc::clone(&self.0)))
    }
}

fn script(change: impl FnOnce(&mut Script)) -> ScriptConfig {
    let mut script = Script { takes: Duration::from_millis(10), ..Script::default() };
    change(&mut script);
    ScriptConfig(Arc::new(script))
}

/// A new queue for each use.
fn queue() -> (Arc<MemoryQueue>, MemoryConfig) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("roles-{}", NEXT.fetch_add(1, Ordering::SeqCst));
    (MemoryQueue::named(&name), MemoryConfig::new(name))
}

#[ergon::task(connectors(output, dlq), services(script), producer())]
struct Produce;

impl Producer for Produce {
    type Payload = usize;
    type Output = usize;

    fn transactions(&self) -> impl Stream<Item = Result<Transaction<usize>>> + Send {
        let script = &self.script_service.0;
        stream::iter((0..script.count).map(|n| script.transaction(n)))
    }

    async fn prepare_transaction(&self, number: &Transaction<usize>) -> Result<usize> {
        let script = &self.script_service.0;
        script.say("prepare", number.id());
        script.attempt(*number.payload()).await?;
        Ok(number.payload() * 10)
    }

    async fn handle_prepare_success(&self, number: &Transaction<usize>, tenfold: &usize) -> Result<()> {
        self.script_service.0.say("success", number.id());
        self.output_connector.dispatch(number.derive(tenfold)?).await
    }

    async fn handle_prepare_exception(
        &self,
        number: &Transaction,
        error: &TransactionError,
    ) -> Result<Disposition> {
        self.script_service.0.say(&format!("exception:{}", error.category()), number.id());
        Ok(if error.category() == Category::Timeout { Disposition::Requeue } else { Disposition::Reject })
    }

    async fn exit(&self) -> Result<()> {
        self.script_service.0.say("exit", "");
        Ok(())
    }
}

/// Runs the producer. Returns its report and its output.
async fn produce(
    script: &ScriptConfig,
    policy: impl FnOnce(&mut ProducerPolicy),
) -> (RunReport, Vec<Transaction>, Vec<Transaction>) {
    let ((out, output), (letters, dlq)) = (queue(), queue());
    let config = Produce::config(ProduceWiring { output, dlq, script: script.clone() });
    let report = testing::run(config.producer(policy)).await.unwrap();
    (report, out.drain(), letters.drain())
}

#[tokio::test(start_paused = true)]
async fn a_producer_prepares_and_hands_on_all_that_its_stream_yields() {
    let script = script(|script| script.count = 3);
    let (report, out, _) = produce(&script, |_| ()).await;
    assert_eq!((report.tally.fetched, report.tally.succeeded), (3, 3));
    assert!(matches!(report.ended, Ended::SourceEmpty));
    let ids: Vec<_> = out.iter().map(|transaction| transaction.id().to_owned()).collect();
    assert_eq!(ids, ["n-0/1", "n-1/1", "n-2/1"]);
    let expected =
        ["prepare n-0", "success n-0", "prepare n-1", "success n-1", "prepare n-2", "success n-2", "exit "];
    assert_eq!(script.0.log(), expected);
    assert_eq!(report.tally.times(Step::Prepare).count(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_stream_is_pulled_only_as_fast_as_slots_free_up() {
    let script = script(|script| script.count = 1000);
    let ((_, output), (_, dlq)) = (queue(), queue());
    let config = Produce::config(ProduceWiring { output, dlq, script: script.clone() });
    let running = testing::start(config.producer(|policy| policy.concurrency = 4)).await.unwrap();
    sleep(Duration::from_millis(5)).await;
    assert_eq!(script.0.pulled.load(Ordering::SeqCst), 4);
    sleep(Duration::from_millis(10)).await;
    assert_eq!(script.0.pulled.load(Ordering::SeqCst), 8);
    running.stop();
    let report = running.wait().await.unwrap();
    assert_eq!((report.tally.succeeded, script.0.most.load(Ordering::SeqCst)), (8, 4));
}

#[tokio::test(start_paused = true)]
async fn limit_is_exact_for_every_batch_size_and_concurrency_of_a_producer() {
    for (concurrency, batch_size) in [(1, 1), (3, 1), (1, 7), (4, 7), (16, 3)] {
        let script = script(|script| script.count = 100);
        let (report, out, _) = produce(&script, |policy| {
            *policy = ProducerPolicy { concurrency, batch_size, limit: Some(15), ..policy.clone() };
        })
        .await;
        assert_eq!((report.tally.succeeded, out.len()), (15, 15), "{concurrency} {batch_size}");
        assert_eq!(script.0.pulled.load(Ordering::SeqCst), 15, "{concurrency} {batch_size}");
    }
}

/// Runs the producer over scripted sinks.
async fn produce_into(output: &testing::Script, script: &ScriptConfig, together: usize) -> RunReport {
    #[ergon::task(connectors(output), services(script), producer())]
    struct Hand;

    impl Producer for Hand {
        type Payload = usize;
        type Output = ();

        fn transactions(&self) -> impl Stream<Item = Result<Transaction<usize>>> + Send {
            let script = &self.script_service.0;
            stream::iter((0..script.count).map(|n| script.transaction(n)))
        }

        async fn prepare_transaction(&self, number: &Transaction<usize>) -> Result<()> {
            self.script_service.0.attempt(*number.payload()).await
        }

        async fn handle_prepare_success(&self, number: &Transaction<usize>, (): &()) -> Result<()> {
            self.output_connector.dispatch(number.forward()).await
        }
    }

    let config = Hand::config(HandWiring { output: output.clone(), script: script.clone() });
    let config = config.producer(|policy| {
        (policy.concurrency, policy.batch_size) = (8, together);
        policy.success.max_attempts = 2;
    });
    testing::run(config).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_is_dispatched_at_the_same_time_goes_to_the_sink_in_one_call() {
    let script = script(|script| script.count = 64);
    let (alone, together) = (testing::Script::new(), testing::Script::new());
    assert_eq!(produce_into(&alone, &script, 1).await.tally.succeeded, 64);
    assert_eq!(produce_into(&together, &script, 8).await.tally.succeeded, 64);
    assert_eq!((alone.dispatches(), alone.dispatched().len()), (64, 64));
    assert_eq!(together.dispatched().len(), 64);
    assert_eq!(together.dispatches(), 8);
}

#[tokio::test(start_paused = true)]
async fn of_a_call_that_fails_in_part_only_that_part_is_dispatched_again() {
    let script = script(|script| script.count = 8);
    let output = testing::Script::new();
    let refused = ConnectorError::partial(vec![(1, ConnectorError::transient("no room"))]);
    output.on_dispatch(1, testing::Fault::Fails(refused));
    let report = produce_into(&output, &script, 8).await;
    assert_eq!((report.tally.succeeded, report.tally.retries), (8, 1));
    assert_eq!(output.dispatched().len(), 8);
}

#[tokio::test(start_paused = true)]
async fn prepare_is_retried_and_its_failures_go_the_exception_way() {
    let script = script(|script| {
        script.count = 3;
        script.fails = vec![(0, Category::System, 1), (1, Category::Business, 9), (2, Category::System, 9)];
    });
    let (report, out, letters) = produce(&script, |policy| {
        policy.prepare.max_attempts = 2;
        policy.dead_letter = Some("dlq".into());
    })
    .await;
    assert_eq!((report.tally.succeeded, report.tally.failed.business, report.tally.failed.system), (1, 1, 1));
    assert_eq!((out.len(), letters.len(), report.tally.dead_lettered), (1, 2, 2));
    assert_eq!(letters[0].decode::<usize>().unwrap(), 1);
    assert_eq!(letters[1].metadata().text("ergon-category"), Some("system"));
    assert_eq!(script.0.attempts.lock().unwrap().as_slice(), [0, 0, 1, 2, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_produced_transaction_that_is_given_back_is_tried_again_in_the_run() {
    let script = script(|script| {
        script.count = 1;
        script.fails = vec![(0, Category::Timeout, 2)];
    });
    let (report, out, _) = produce(&script, |_| ()).await;
    assert_eq!((out.len(), report.tally.succeeded, report.tally.requeued), (1, 1, 2));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_stream_ends_the_run_after_what_came_before_it() {
    let script = script(|script| (script.count, script.breaks_at) = (5, Some(2)));
    let (report, out, _) = produce(&script, |policy| policy.batch_size = 4).await;
    assert_eq!(out.len(), 2);
    let Ended::Failed(error) = report.ended else { panic!("{:?}", report.ended) };
    assert_eq!(error.to_string(), "fetch from transactions (stream): the table is gone");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_panics_ends_the_run_with_the_panic() {
    let script = script(|script| (script.count, script.panics_at) = (5, Some(2)));
    let (report, out, _) = produce(&script, |_| ()).await;
    assert_eq!(out.len(), 2);
    let Ended::Failed(error) = report.ended else { panic!("{:?}", report.ended) };
    assert!(error.to_string().contains("no 2"), "{error}");
}

#[ergon::task(connectors(output), producer())]
struct SaysNothing;

impl Producer for SaysNothing {
    type Payload = usize;
    type Output = ();

    async fn prepare_transaction(&self, _: &Transaction<usize>) -> Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_does_not_say_what_it_produces_is_an_error() {
    let report = testing::run(SaysNothing::config(SaysNothingWiring { output: queue().1 })).await.unwrap();
    let Ended::Failed(error) = report.ended else { panic!("{:?}", report.ended) };
    assert!(error.to_string().contains("`says-nothing` does not say what it produces"), "{error}");
}

#[ergon::task(connectors(input, output, dlq), services(script), consumer(), producer())]
struct Split;

impl Consumer for Split {
    type Payload = Vec<usize>;
    type Output = Vec<Transaction>;

    async fn process_transaction(&self, order: &Transaction<Vec<usize>>) -> Result<Vec<Transaction>> {
        order.payload().iter().map(|line| order.derive(line)).collect()
    }

    async fn handle_process_success(
        &self,
        order: &Transaction<Vec<usize>>,
        _: &Vec<Transaction>,
    ) -> Result<()> {
        self.script_service.0.say("success", order.id());
        Ok(())
    }

    async fn handle_process_exception(
        &self,
        order: &Transaction,
        error: &TransactionError,
    ) -> Result<Disposition> {
        self.script_service.0.say(&format!("exception:{} {}", error.category(), error.message()), order.id());
        Ok(Disposition::Reject)
    }
}

impl Producer for Split {
    type Payload = usize;
    type Output = ();

    async fn prepare_transaction(&self, line: &Transaction<usize>) -> Result<()> {
        self.script_service.0.attempt(*line.payload()).await
    }

    async fn handle_prepare_success(&self, line: &Transaction<usize>, (): &()) -> Result<()> {
        self.output_connector.dispatch(line.forward()).await
    }
}

struct Splitting {
    orders: Arc<MemoryQueue>,
    lines: Arc<MemoryQueue>,
    letters: Arc<MemoryQueue>,
    script: ScriptConfig,
    config: TaskConfig,
}

fn split(script: ScriptConfig, orders: &[&[usize]]) -> Splitting {
    let ((queue_in, input), (lines, output), (letters, dlq)) = (queue(), queue(), queue());
    queue_in.extend(
        orders.iter().enumerate().map(|(n, lines)| Transaction::new(format!("o-{n}"), lines).unwrap()),
    );
    let config = Split::config(SplitWiring { input, output, dlq, script: script.clone() });
    Splitting { orders: queue_in, lines, letters, script, config }
}

#[tokio::test(start_paused = true)]
async fn a_hybrid_settles_the_inbound_only_after_every_outbound_is_through() {
    let world = split(script(|script| script.takes = Duration::from_millis(10)), &[&[1, 2, 3]]);
    let running = testing::start(world.config.producer(|policy| policy.concurrency = 2)).await.unwrap();
    sleep(Duration::from_millis(15)).await;
    assert_eq!((world.lines.inspect().waiting, world.orders.inspect().acked), (2, 0));
    let report = running.wait().await.unwrap();
    assert_eq!((world.lines.inspect().waiting, world.orders.inspect().acked), (3, 1));
    assert_eq!((report.tally.succeeded, report.tally.produced), (1, 3));
    assert_eq!(world.script.0.log(), ["success o-0"]);
    assert_eq!(world.script.0.most.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_hybrid_whose_outbound_does_not_go_through_sends_the_inbound_the_exception_way() {
    let script = script(|script| script.fails = vec![(2, Category::Business, 9)]);
    let world = split(script, &[&[1, 2, 3]]);
    let report = testing::run(world.config).await.unwrap();
    assert_eq!((report.tally.succeeded, report.tally.failed.business), (0, 1));
    let said = "exception:business outbound transaction o-0/2 did not go through (reject): 2 fails o-0";
    assert_eq!(world.script.0.log(), [said]);
    assert_eq!(world.orders.inspect().dead_letters.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_outbound_that_the_dead_letter_connector_took_is_through() {
    let script = script(|script| script.fails = vec![(2, Category::Business, 9)]);
    let world = split(script, &[&[1, 2]]);
    let report =
        testing::run(world.config.producer(|policy| policy.dead_letter = Some("dlq".into()))).await.unwrap();
    assert_eq!((report.tally.succeeded, report.tally.dead_lettered), (1, 1));
    assert_eq!(world.letters.drain()[0].id(), "o-0/2");
    assert_eq!(world.orders.inspect().acked, 1);
}

#[tokio::test(start_paused = true)]
async fn the_retries_of_an_outbound_are_its_own() {
    let script = script(|script| script.fails = vec![(2, Category::System, 2)]);
    let world = split(script, &[&[1, 2]]);
    let report = testing::run(world.config.producer(|policy| policy.prepare.max_attempts = 3)).await.unwrap();
    assert_eq!((report.tally.succeeded, report.tally.retries), (1, 2));
    let attempts = world.script.0.attempts.lock().unwrap().clone();
    assert_eq!(attempts.iter().filter(|n| **n == 1).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_time_limit_of_the_inbound_bounds_its_outbound() {
    let script = script(|script| script.takes = Duration::from_secs(100));
    let world = split(script, &[&[1]]);
    let began = Instant::now();
    let config = world.config.consumer(|policy| policy.transaction_timeout = Some(Duration::from_secs(7)));
    let report = testing::run(config).await.unwrap();
    assert_eq!((began.elapsed().as_secs(), report.tally.failed.timeout), (7, 1));
    assert!(world.script.0.log()[0].starts_with("exception:timeout"), "{:?}", world.script.0.log());
}

#[tokio::test(start_paused = true)]
async fn a_hybrid_that_is_aborted_gives_the_inbound_back() {
    let script = script(|script| script.takes = Duration::from_secs(100));
    let world = split(script, &[&[1], &[2]]);
    let config = world.config.consumer(|policy| policy.shutdown_grace = Duration::from_secs(1));
    let running = testing::start(config).await.unwrap();
    sleep(Duration::from_secs(5)).await;
    running.stop();
    let report = running.wait().await.unwrap();
    assert!(matches!(report.ended, Ended::Stopped { given_back: 1 }), "{:?}", report.ended);
    assert_eq!((world.orders.inspect().waiting, world.orders.inspect().handed_out), (2, 0));
    assert_eq!(world.script.0.log(), [""; 0]);
}

#[ergon::task(connectors(orders, returns: Source, output: Sink), services(script), consumer(concurrency = 2), execute)]
struct Nightly;

impl Consumer for Nightly {
    type Payload = usize;
    type Output = ();

    async fn process_transaction(&self, paper: &Transaction<usize>) -> Result<()> {
        self.script_service.0.say("process", paper.id());
        self.script_service.0.attempt(*paper.payload()).await
    }
}

impl Producer for Nightly {
    type Payload = usize;
    type Output = ();

    async fn prepare_transaction(&self, number: &Transaction<usize>) -> Result<()> {
        self.output_connector.dispatch(number.forward()).await
    }
}

impl Execute for Nightly {
    async fn execute(&self, run: &Run) -> Result<()> {
        let consumed = run.consume(self, &self.consumer_policy).await?;
        let returns = ConsumerPolicy { from: Some("returns".into()), ..self.consumer_policy.clone() };
        let returned = run.consume(self, &returns).await?;
        let counts = [consumed, returned].map(|report| usize::try_from(report.tally.succeeded).unwrap());
        let counts = stream::iter(counts.map(|count| Transaction::typed(format!("count-{count}"), count)));
        run.produce(self, counts, &ProducerPolicy::DEFAULT).await?;
        Ok(())
    }

    async fn exit(&self) -> Result<()> {
        self.script_service.0.say("exit", "");
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn an_execute_runs_its_loops_one_after_the_other_and_their_figures_add_up() {
    let ((order_queue, orders), (return_queue, returns), (out, output)) = (queue(), queue(), queue());
    order_queue.extend([1, 2].map(|n| Transaction::new(format!("o-{n}"), &n).unwrap()));
    return_queue.extend([3].map(|n| Transaction::new(format!("r-{n}"), &n).unwrap()));
    let script = script(|_| ());
    let config = Nightly::config(NightlyWiring { orders, returns, output, script: script.clone() });
    let report = testing::run(config).await.unwrap();
    assert!(matches!(report.ended, Ended::Finished), "{:?}", report.ended);
    assert_eq!((report.tally.fetched, report.tally.succeeded), (5, 5));
    assert_eq!(out.drain().iter().map(|t| t.decode::<usize>().unwrap()).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(script.0.log(), ["process o-1", "process o-2", "process r-3", "exit "]);
}

#[tokio::test(start_paused = true)]
async fn an_execute_that_is_stopped_gives_back_what_its_loop_held() {
    let ((order_queue, orders), (_, returns), (_, output)) = (queue(), queue(), queue());
    order_queue.extend([1, 2, 3].map(|n| Transaction::new(format!("o-{n}"), &n).unwrap()));
    let script = script(|script| script.takes = Duration::from_secs(100));
    let config = Nightly::config(NightlyWiring { orders, returns, output, script });
    let running = testing::start(config.consumer(|policy| policy.shutdown_grace = Duration::from_secs(1)))
        .await
        .unwrap();
    sleep(Duration::from_secs(5)).await;
    running.stop();
    let report = running.wait().await.unwrap();
    assert!(matches!(report.ended, Ended::Stopped { given_back: 2 }), "{:?}", report.ended);
    assert_eq!((order_queue.inspect().waiting, order_queue.inspect().handed_out), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_names_no_source_fails_the_execute() {
    #[ergon::task(connectors(input), execute)]
    struct Wrong;

    impl Consumer for Wrong {
        type Payload = usize;
        type Output = ();

        async fn process_transaction(&self, _: &Transaction<usize>) -> Result<()> {
            Ok(())
        }
    }

    impl Execute for Wrong {
        async fn execute(&self, run: &Run) -> Result<()> {
            let policy = ConsumerPolicy { from: Some("inptu".into()), ..self.consumer_policy.clone() };
            run.consume(self, &policy).await.map(drop)
        }
    }

    let report = testing::run(Wrong::config(WrongWiring { input: queue().1 })).await.unwrap();
    let Ended::Failed(error) = report.ended else { panic!("{:?}", report.ended) };
    assert_eq!(
        error.to_string(),
        "execute: task `wrong`: `from` names `inptu`, which is no source of the task"
    );
}

#[tokio::test(start_paused = true)]
async fn the_run_limit_bounds_a_producer_too() {
    for (grace, ended, made) in [(60, "TimeLimit", 4), (1, "Failed", 2)] {
        let script = script(|script| (script.count, script.takes) = (1000, Duration::from_secs(10)));
        let began = Instant::now();
        let (report, out, _) = produce(&script, |policy| {
            policy.concurrency = 2;
            policy.timeout = Some(Duration::from_secs(15));
            policy.shutdown_grace = Duration::from_secs(grace);
        })
        .await;
        assert!(format!("{:?}", report.ended).starts_with(ended), "{:?}", report.ended);
        if let Ended::Failed(error) = &report.ended {
            assert_eq!(error.kind(), ergon::ErrorKind::LoopTimeout);
        }
        assert_eq!((out.len(), began.elapsed().as_secs()), (made, 15 + grace.min(5)));
        assert_eq!(script.0.pulled.load(Ordering::SeqCst), 4, "nothing is pulled after the limit");
    }
}

/// A number whose live copies are counted.
#[derive(Debug, Serialize, Deserialize)]
struct Item {
    n: usize,
    #[serde(skip)]
    _held: Option<Held>,
}

#[derive(Debug)]
struct Held(Arc<Script>);

impl Held {
    fn new(script: &Arc<Script>) -> Self {
        script.most.fetch_max(script.running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        Self(Arc::clone(script))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

#[ergon::task(connectors(output), services(script), producer(concurrency = 4, batch_size = 8, limit = 20000))]
struct Endless;

impl Producer for Endless {
    type Payload = Item;
    type Output = ();

    fn transactions(&self) -> impl Stream<Item = Result<Transaction<Item>>> + Send {
        let script = &self.script_service.0;
        stream::iter((0..).map(|n| {
            script.pulled.fetch_add(1, Ordering::SeqCst);
            Transaction::typed(n.to_string(), Item { n, _held: Some(Held::new(script)) })
        }))
    }

    async fn prepare_transaction(&self, item: &Transaction<Item>) -> Result<()> {
        if item.payload().n.is_multiple_of(3) {
            sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_producer_holds_no_more_of_an_endless_stream_than_its_slots() {
    let script = script(|_| ());
    let config = Endless::config(EndlessWiring { output: queue().1, script: script.clone() });
    let report = testing::run(config).await.unwrap();
    assert_eq!((report.tally.succeeded, script.0.pulled.load(Ordering::SeqCst)), (20_000, 20_000));
    let (most, left) = (script.0.most.load(Ordering::SeqCst), script.0.running.load(Ordering::SeqCst));
    assert!(most <= 4 * 4 && left == 0, "{most} are held at once, {left} in the end");
}

#[tokio::test]
async fn a_derived_connector_hands_opening_beginning_and_closing_on_in_this_order() {
    static SAID: Mutex<Vec<&str>> = Mutex::new(Vec::new());
    type Done = std::result::Result<(), ConnectorError>;
    fn say(what: &'static str) {
        SAID.lock().unwrap().push(what);
    }

    #[derive(Connector)]
    #[connector(source, manual)]
    struct Door {}
    impl Connector for Door {
        const KIND: &'static str = "door";

        async fn open(&self) -> Done {
            say("open");
            Ok(())
        }
        async fn start(&self) -> Done {
            say("start");
            Ok(())
        }
        async fn close(&self) -> Done {
            say("close");
            Ok(())
        }
        async fn check(&self) -> Done {
            say("check");
            Ok(())
        }
    }
    impl Source for Door {
        async fn fetch(&self, _: &FetchRequest) -> std::result::Result<Vec<Delivery>, ConnectorError> {
            say("fetch");
            Ok(Vec::new())
        }
    }
    #[ergon::task(connectors(input))]
    struct Through;
    impl Consumer for Through {
        type Payload = String;
        type Output = ();
        async fn process_transaction(&self, _: &Transaction<String>) -> Result<()> {
            Ok(())
        }
    }
    testing::run(Through::config(ThroughWiring { input: DoorConfig {} })).await.unwrap();
    Connector::check(&Door {}).await.unwrap();
    assert_eq!(*SAID.lock().unwrap(), ["open", "start", "fetch", "close", "check"]);
}
