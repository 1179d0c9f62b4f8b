//! Tests `ergon::testing` with real tasks.

use std::time::Duration;

use ergon::connector::prelude::*;
use ergon::connector::{ItemOutcome, SinkConfig};
use ergon::prelude::*;
use ergon::telemetry::{Ended, SingleReport};
use ergon::testing::{self, Fault, Script};
use ergon::transaction::key;
use ergon::{Error, ErrorKind};
use futures_util::stream;
use tokio::time::{Instant, sleep};

/// Doubles a number. 13 is a business error, 0 is a system error, and 600 takes ten minutes.
#[ergon::task(connectors(input, output, letters), consumer(transaction_timeout = "1h"))]
struct Double;

impl Consumer for Double {
    type Payload = u32;
    type Output = u32;

    async fn process_transaction(&self, number: &Transaction<u32>) -> Result<u32> {
        match *number.payload() {
            13 => Err(TransactionError::business("unlucky")),
            0 => Err(TransactionError::system("nothing there")),
            seconds @ 600 => {
                sleep(Duration::from_secs(u64::from(seconds))).await;
                Ok(seconds)
            }
            number => Ok(number * 2),
        }
    }

    async fn handle_process_success(&self, number: &Transaction<u32>, double: &u32) -> Result<()> {
        self.output_connector.dispatch(number.derive(double)?).await
    }
}

#[derive(Clone, Default)]
struct World {
    input: Script,
    output: Script,
    letters: Script,
}

impl World {
    /// Numbers to double; their ids are `n-1`, `n-2`, ….
    fn of(numbers: &[u32]) -> Self {
        let world = Self::default();
        for (index, number) in numbers.iter().enumerate() {
            world.input.push_json(&format!("n-{}", index + 1), number);
        }
        world
    }

    fn config(&self) -> TaskConfig {
        let Self { input, output, letters } = self.clone();
        Double::config(DoubleWiring { input, output, letters })
    }
}

fn down() -> Fault {
    Fault::Fails(ConnectorError::transient("the link is down"))
}

fn attempts(report: &SingleReport) -> Vec<(&'static str, u32)> {
    report.steps.iter().map(|step| (step.step.as_str(), step.attempts)).collect()
}

fn failure(ended: Ended) -> Error {
    match ended {
        Ended::Failed(error) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_fault_it_is_a_source_and_a_sink() {
    let world = World::of(&[1, 13, 2]);
    let report = testing::run(world.config()).await.unwrap();
    assert_eq!((report.tally.succeeded, report.tally.rejected), (2, 1));
    assert_eq!(
        world.input.dispositions(),
        [
            ("n-1".to_owned(), Disposition::Ack),
            ("n-2".to_owned(), Disposition::Reject),
            ("n-3".to_owned(), Disposition::Ack),
        ]
    );
    assert_eq!(
        (world.input.acked(), world.input.rejected()),
        (vec!["n-1".into(), "n-3".into()], vec!["n-2".into()])
    );
    assert!(world.input.waiting().is_empty() && world.input.handed_out().is_empty());
    assert_eq!(world.output.dispatched_as::<u32>(), [2, 4]);
    assert_eq!(world.output.dispatched()[1].parent_id(), Some("n-3"));
    assert_eq!((world.output.dispatches(), world.output.fetches(), world.input.dispatches()), (2, 0, 0));
    assert_eq!(world.input.fetches(), 4, "the last one finds it empty");
}

#[tokio::test(start_paused = true)]
async fn a_failed_fetch_is_retried_by_the_fetch_policy() {
    let world = World::of(&[1, 2]);
    world.input.on_fetch(2, down());
    let config = world.config().consumer(|policy| {
        policy.fetch.max_attempts = 2;
        policy.fetch.backoff = Duration::from_secs(60);
    });
    let report = testing::run(config).await.unwrap();
    assert!(matches!(report.ended, Ended::SourceEmpty), "{:?}", report.ended);
    assert_eq!((world.input.acked().len(), world.input.fetches()), (2, 4));
    assert!(report.elapsed >= Duration::from_secs(60), "{:?}", report.elapsed);
    assert_eq!(world.input.faults_left(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failed_fetch_that_is_not_retried_ends_the_run_with_its_own_error() {
    let world = World::of(&[1, 2]);
    let error = ConnectorError::permanent("no such queue").with_hint("declare it");
    world.input.on_fetch(2, Fault::Fails(error));
    let report = testing::run(world.config()).await.unwrap();
    let error = failure(report.ended);
    assert_eq!(error.to_string(), "fetch from input (script): no such queue");
    assert_eq!((error.kind(), error.hint()), (ErrorKind::Refused, Some("declare it")));
    assert_eq!((world.input.acked(), world.input.waiting()), (vec!["n-1".into()], vec!["n-2".into()]));
}

#[tokio::test(start_paused = true)]
async fn a_lost_fetch_hands_nothing_out() {
    let world = World::of(&[1]);
    world.input.on_fetch(1, Fault::Lost);
    let report = testing::run(world.config()).await.unwrap();
    assert!(failure(report.ended).to_string().contains("the link died"));
    let deliveries = world.input.fetch(&FetchRequest::new(1)).await.unwrap();
    assert_eq!((deliveries[0].transaction().deliveries(), world.input.fetches()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn what_an_unanswered_fetch_brought_comes_back_counted() {
    let world = World::of(&[1, 2, 3]);
    world.input.on_fetch(1, Fault::Unanswered);
    let config = world.config().consumer(|policy| (policy.batch_size, policy.concurrency) = (2, 2));
    let report = testing::run(config).await.unwrap();
    assert!(failure(report.ended).to_string().contains("the link died"));
    assert_eq!(world.input.waiting(), ["n-1", "n-2", "n-3"]);
    let deliveries = world.input.fetch(&FetchRequest::new(3)).await.unwrap();
    let counted: Vec<_> = deliveries.iter().map(|delivery| delivery.transaction().deliveries()).collect();
    assert_eq!(counted, [2, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_fetch_is_ended_by_the_fetch_timeout() {
    let world = World::of(&[1]);
    world.input.on_fetch(1, Fault::Hangs);
    let config = world.config().consumer(|policy| {
        policy.fetch.timeout = Some(Duration::from_secs(10));
        policy.fetch.max_attempts = 2;
    });
    let began = Instant::now();
    let report = testing::run(config).await.unwrap();
    assert_eq!((report.tally.succeeded, began.elapsed().as_secs()), (1, 10));
    assert_eq!((world.input.acked(), world.input.faults_left()), (vec!["n-1".to_owned()], 0));
}

#[tokio::test(start_paused = true)]
async fn a_streaming_fetch_waits_for_what_is_pushed() {
    let world = World::default();
    let running = testing::start(world.config().consumer(|policy| policy.streaming = true)).await.unwrap();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(world.input.fetches(), 1, "it waits in the source");
    world.input.push_json("late", &4);
    sleep(Duration::from_millis(1)).await;
    assert_eq!((world.input.acked(), running.tally().succeeded), (vec!["late".to_owned()], 1));
    running.stop();
    assert!(matches!(running.wait().await.unwrap().ended, Ended::Stopped { given_back: 0 }));
}

/// A streaming run over one transaction whose first settlement fails. The run is then stopped.
async fn settled_with(fault: Fault) -> (World, ergon::telemetry::RunReport) {
    let world = World::of(&[1]);
    world.input.on_settle(1, fault);
    let config = world.config().consumer(|policy| policy.streaming = true);
    let running = testing::start(config).await.unwrap();
    sleep(Duration::from_secs(60)).await;
    running.stop();
    let report = running.wait().await.unwrap();
    assert_eq!(world.input.faults_left(), 0);
    (world, report)
}

#[tokio::test(start_paused = true)]
async fn a_lost_settle_is_unknown_and_the_delivery_comes_back() {
    let (world, report) = settled_with(Fault::Lost).await;
    assert_eq!((report.tally.unknown, report.tally.succeeded, report.tally.fetched), (1, 1, 2));
    assert_eq!((world.input.acked(), world.input.settles()), (vec!["n-1".to_owned()], 2));
    assert_eq!(world.output.dispatched_as::<u32>(), [2, 2], "it was processed twice");
}

#[tokio::test(start_paused = true)]
async fn what_a_lost_settle_gave_back_is_there_for_the_next_run() {
    let world = World::of(&[1]);
    world.input.on_settle(1, Fault::Lost);
    let first = testing::run(world.config().consumer(|policy| policy.limit = Some(1))).await.unwrap();
    assert_eq!((first.tally.unknown, world.input.waiting()), (1, vec!["n-1".to_owned()]));
    let second = testing::run(world.config()).await.unwrap();
    assert_eq!((second.tally.succeeded, world.input.acked()), (1, vec!["n-1".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn an_unanswered_settle_is_unknown_and_done_all_the_same() {
    let (world, report) = settled_with(Fault::Unanswered).await;
    assert_eq!((report.tally.unknown, report.tally.succeeded, report.tally.fetched), (1, 0, 1));
    assert_eq!((world.input.acked(), world.input.settles()), (vec!["n-1".to_owned()], 1));
}

#[tokio::test(start_paused = true)]
async fn a_failed_settle_gives_the_delivery_back() {
    let (world, report) = settled_with(down()).await;
    assert_eq!((report.tally.unknown, report.tally.succeeded), (1, 1));
    assert_eq!((world.input.acked(), world.input.settles()), (vec!["n-1".to_owned()], 2));
}

#[tokio::test(start_paused = true)]
async fn a_settle_that_fails_in_part_gives_back_only_that_part() {
    let world = World::of(&[600, 600, 600]);
    let stale = ConnectorError::partial(vec![(1, ConnectorError::transient("a stale tag"))]);
    world.input.on_settle(1, Fault::Fails(stale));
    let config = world.config().consumer(|policy| {
        (policy.concurrency, policy.batch_size, policy.limit) = (3, 3, Some(3));
    });
    let report = testing::run(config).await.unwrap();
    assert_eq!((report.tally.succeeded, report.tally.unknown), (2, 1));
    assert_eq!(
        (world.input.acked(), world.input.waiting()),
        (vec!["n-1".into(), "n-3".into()], vec!["n-2".into()])
    );
}

#[tokio::test(start_paused = true)]
async fn a_hanging_settle_leaves_the_delivery_handed_out() {
    let world = World::of(&[1]);
    world.input.on_settle(1, Fault::Hangs);
    let running = testing::start(world.config()).await.unwrap();
    sleep(Duration::from_secs(60)).await;
    assert_eq!((world.input.handed_out(), running.in_flight()), (vec!["n-1".to_owned()], 0));
    running.abort();
    let report = running.wait().await.unwrap();
    assert_eq!((report.tally.unknown, report.tally.succeeded), (1, 0));
    assert_eq!(world.input.handed_out(), ["n-1"]);
    assert!(world.input.dispositions().is_empty() && world.input.waiting().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_is_not_taken_is_tried_again_and_tells_its_attempts() {
    let world = World::of(&[0]);
    world.letters.on_dispatch(1, down());
    let config = world.config().consumer(|policy| {
        policy.dead_letter = Some("letters".into());
        policy.process.max_attempts = 3;
    });
    let report = testing::run(config).await.unwrap();
    assert_eq!((report.tally.dead_lettered, world.input.acked()), (1, vec!["n-1".to_owned()]));
    let letters = world.letters.dispatched();
    assert_eq!((letters.len(), letters[0].metadata().get(key::ATTEMPTS)), (1, Some(&Value::from(3))));
}

#[tokio::test(start_paused = true)]
async fn a_failed_dispatch_is_retried_by_the_success_policy() {
    let world = World::of(&[1, 2]);
    world.output.on_dispatch(2, down());
    let config = world.config().consumer(|policy| {
        policy.success.max_attempts = 2;
        policy.success.backoff = Duration::from_secs(60);
    });
    let report = testing::run(config).await.unwrap();
    assert_eq!((report.tally.succeeded, report.tally.retries, report.elapsed.as_secs()), (2, 1, 60));
    assert_eq!((world.output.dispatched_as::<u32>(), world.output.dispatches()), (vec![2, 4], 3));
}

#[tokio::test(start_paused = true)]
async fn a_lost_dispatch_arrives_once_and_an_unanswered_one_twice() {
    for (fault, arrived) in [(Fault::Lost, vec![2]), (Fault::Unanswered, vec![2, 2])] {
        let world = World::of(&[1]);
        world.output.on_dispatch(1, fault);
        let report =
            testing::run(world.config().consumer(|policy| policy.success.max_attempts = 2)).await.unwrap();
        assert_eq!((report.tally.succeeded, report.tally.retries), (1, 1));
        assert_eq!(world.output.dispatched_as::<u32>(), arrived);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hanging_dispatch_is_ended_by_the_success_timeout() {
    let world = World::of(&[1]);
    world.output.on_dispatch(1, Fault::Hangs);
    let config = world.config().consumer(|policy| {
        policy.success.timeout = Some(Duration::from_secs(10));
        policy.success.max_attempts = 2;
    });
    let report = testing::run(config).await.unwrap();
    assert_eq!((report.tally.succeeded, report.elapsed.as_secs()), (1, 10));
    assert_eq!(world.output.dispatched_as::<u32>(), [2]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_call_is_of_unknown_fate() {
    let output = Script::new();
    output.on_dispatch(1, Fault::Lost);
    let error = output.dispatch(vec![Transaction::new("a", &1).unwrap()]).await.unwrap_err();
    assert_eq!((error.outcome(0), error.is_permanent()), (ItemOutcome::Unknown, false));
}

#[tokio::test(start_paused = true)]
async fn a_run_can_be_looked_at_and_ended_at_once() {
    let world = World::of(&[1, 600, 2]);
    let running = testing::start(world.config()).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    let tally = running.tally();
    assert_eq!((tally.succeeded, tally.fetched, running.in_flight()), (1, 2, 1));
    let began = Instant::now();
    running.abort();
    let report = running.wait().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(matches!(report.ended, Ended::Stopped { given_back: 1 }), "{:?}", report.ended);
    assert_eq!(
        (world.input.acked(), world.input.waiting()),
        (vec!["n-1".into()], vec!["n-2".into(), "n-3".into()])
    );
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_finish_what_is_in_flight() {
    let world = World::of(&[600, 2]);
    let running =
        testing::start(world.config().consumer(|policy| policy.shutdown_grace = Duration::from_secs(900)));
    let running = running.await.unwrap();
    sleep(Duration::from_secs(1)).await;
    running.stop();
    assert_eq!(running.wait().await.unwrap().tally.succeeded, 1);
    assert_eq!(
        (world.input.acked(), world.input.waiting()),
        (vec!["n-1".to_owned()], vec!["n-2".to_owned()])
    );
}

#[tokio::test(start_paused = true)]
async fn one_transaction_tells_its_output_attempts_and_disposition() {
    let world = World::default();
    world.output.on_dispatch(1, down());
    let config = world.config().consumer(|policy| policy.success.max_attempts = 3);
    let report = testing::process(config, &21).await.unwrap();
    assert!(report.succeeded());
    assert_eq!((&report.output, report.disposition), (&Some(42.into()), Some("ack")));
    assert_eq!(attempts(&report), [("process", 1), ("success", 2)]);
    assert_eq!(world.output.dispatched_as::<u32>(), [42]);
    assert_eq!((world.input.fetches(), world.input.settles()), (0, 0), "the source is left alone");
}

#[tokio::test(start_paused = true)]
async fn one_transaction_that_fails_goes_to_the_dead_letters() {
    let world = World::default();
    let config = world.config().consumer(|policy| {
        policy.process.max_attempts = 3;
        policy.dead_letter = Some("letters".into());
    });
    let zero = Transaction::new("zero", &0).unwrap();
    let report = testing::process_transaction(config, zero).await.unwrap();
    assert_eq!((report.id.as_str(), report.disposition), ("zero", Some("dead_letter")));
    assert_eq!(attempts(&report), [("process", 3), ("exception", 1)]);
    assert_eq!(report.error.unwrap().message(), "nothing there");
    let letter = &world.letters.dispatched()[0];
    assert_eq!((letter.id(), letter.metadata().get(key::ATTEMPTS)), ("zero", Some(&Value::from(3))));
}

#[tokio::test(start_paused = true)]
async fn one_transaction_obeys_its_time_limits() {
    let world = World::default();
    let config = world.config().consumer(|policy| policy.process.timeout = Some(Duration::from_secs(5)));
    let began = Instant::now();
    let report = testing::process(config, &600).await.unwrap();
    assert_eq!((report.error.unwrap().category(), began.elapsed().as_secs()), (Category::Timeout, 5));
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_cannot_be_obeyed_is_an_error_of_every_form() {
    let config = || World::default().config().consumer(|policy| policy.concurrency = 0);
    let problem = "`concurrency` must be at least 1";
    let error = testing::process(config(), &1).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().contains(problem)), (ErrorKind::Policy, true), "{error}");
    let error = testing::run(config()).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().contains(problem)), (ErrorKind::Policy, true), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_is_no_json_is_an_error_before_anything_is_opened() {
    let nameless = std::collections::BTreeMap::from([((1, 2), 3)]);
    let error = testing::process(World::default().config(), &nameless).await.unwrap_err();
    assert_eq!(error.to_string(), "the payload cannot be serialized as JSON");
}

/// Cannot be opened if it has a certain name, and can never be closed.
#[derive(Debug, Clone)]
struct Stubborn(&'static str);

impl ConnectorConfig for Stubborn {
    type Connector = Self;

    fn build(&self, _: &Context) -> Result<Self, ConnectorError> {
        Ok(self.clone())
    }
}

impl Connector for Stubborn {
    const KIND: &'static str = "stubborn";

    async fn open(&self) -> Result<(), ConnectorError> {
        if self.0 == "stays shut" { Err(ConnectorError::permanent("the door is shut")) } else { Ok(()) }
    }

    async fn close(&self) -> Result<(), ConnectorError> {
        Err(ConnectorError::transient("the disk is full"))
    }
}

impl Source for Stubborn {
    async fn fetch(&self, _: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        Ok(Vec::new())
    }
}

impl Sink for Stubborn {
    async fn dispatch(&self, _: Vec<Transaction>) -> Result<(), ConnectorError> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn one_transaction_opens_and_closes_all_but_the_source() {
    let report = process_between(Stubborn("stays shut"), Script::new()).await.unwrap();
    assert!(report.succeeded(), "the source is not opened");
    let shut = process_between(Stubborn("opens"), Stubborn("stays shut")).await.unwrap_err();
    assert_eq!(shut.to_string(), "connector `output` (stubborn): the door is shut");
    let full = process_between(Stubborn("stays shut"), Stubborn("opens")).await.unwrap_err();
    assert_eq!(
        (full.kind(), full.to_string().as_str()),
        (ErrorKind::Connector, "connector `output` (stubborn): the disk is full",)
    );
}

async fn process_between(input: Stubborn, output: impl SinkConfig) -> Result<SingleReport, Error> {
    testing::process(Double::config(DoubleWiring { input, output, letters: Script::new() }), &21).await
}

/// The same as [`Double`], on threads.
#[ergon::task(blocking, connectors(input, output), consumer(success(max_attempts = 2)))]
struct Block;

impl BlockingConsumer for Block {
    type Payload = u32;
    type Output = u32;

    fn process_transaction(&self, number: &Transaction<u32>) -> Result<u32> {
        Ok(number.payload() * 2)
    }

    fn handle_process_success(&self, number: &Transaction<u32>, double: &u32) -> Result<()> {
        self.output_connector.blocking_dispatch(number.derive(double)?)
    }
}

#[tokio::test(start_paused = true)]
async fn a_blocking_task_is_tested_the_same_way() {
    let (input, output) = (Script::new(), Script::new());
    let config = || Block::config(BlockWiring { input: input.clone(), output: output.clone() });
    output.on_dispatch(1, down());
    let report = testing::process(config(), &21).await.unwrap();
    assert_eq!((&report.output, report.disposition), (&Some(42.into()), Some("ack")));
    assert_eq!(attempts(&report), [("process", 1), ("success", 2)]);

    input.push_json("a", &1);
    output.on_dispatch(3, Fault::Lost);
    let report = testing::run(config()).await.unwrap();
    assert_eq!((report.tally.succeeded, report.tally.retries), (1, 1));
    assert_eq!((input.acked(), output.dispatched_as::<u32>()), (vec!["a".to_owned()], vec![42, 2]));
}

/// Makes numbers, and dispatches their squares.
#[ergon::task(connectors(output), producer(success(max_attempts = 2)))]
struct Square;

impl Producer for Square {
    type Payload = u32;
    type Output = u32;

    fn transactions(&self) -> impl Stream<Item = Result<Transaction<u32>>> + Send {
        stream::iter((1..=3).map(|n| Transaction::typed(format!("s-{n}"), n)))
    }

    async fn prepare_transaction(&self, number: &Transaction<u32>) -> Result<u32> {
        Ok(number.payload() * number.payload())
    }

    async fn handle_prepare_success(&self, number: &Transaction<u32>, square: &u32) -> Result<()> {
        self.output_connector.dispatch(number.derive(square)?).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_producer_is_tested_the_same_way() {
    let output = Script::new();
    let config = || Square::config(SquareWiring { output: output.clone() });
    output.on_dispatch(1, down());
    let report = testing::process(config(), &9).await.unwrap();
    assert_eq!((&report.output, report.disposition), (&Some(81.into()), Some("ack")));
    assert_eq!(attempts(&report), [("prepare", 1), ("success", 2)]);

    output.on_dispatch(4, Fault::Lost);
    let report = testing::run(config()).await.unwrap();
    assert_eq!((report.tally.succeeded, report.tally.retries), (3, 1));
    assert_eq!(output.dispatched_as::<u32>(), [81, 1, 4, 9]);
}

/// Dispatches each number that is not zero to its own source.
#[ergon::task(connectors(counter: Duplex), consumer())]
struct CountDown;

impl Consumer for CountDown {
    type Payload = u32;
    type Output = ();

    async fn process_transaction(&self, number: &Transaction<u32>) -> Result<()> {
        match number.payload().checked_sub(1) {
            Some(left) => self.counter_connector.output().dispatch(number.derive(&left)?).await,
            None => Ok(()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_duplex_slot_takes_it_too_and_is_not_fed_by_itself() {
    let counter = Script::new();
    counter.push_json("a", &2);
    let report = testing::run(CountDown::config(CountDownWiring { counter: counter.clone() })).await.unwrap();
    assert_eq!(report.tally.succeeded, 1);
    counter.extend(counter.dispatched());
    testing::run(CountDown::config(CountDownWiring { counter: counter.clone() })).await.unwrap();
    assert_eq!(
        (counter.acked(), counter.dispatched_as::<u32>()),
        (vec!["a".into(), "a/1".into()], vec![1, 0])
    );
}

#[test]
#[should_panic(expected = "fetch 1 was made already, 1 of them by now")]
fn a_fault_of_a_call_that_was_made_is_refused() {
    let input = Script::new();
    block_on(input.fetch(&FetchRequest::new(1))).unwrap();
    input.on_fetch(1, down());
}

#[test]
#[should_panic(expected = "calls are counted from 1, so there is no settle 0")]
fn calls_are_counted_from_one() {
    Script::new().on_settle(0, down());
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
