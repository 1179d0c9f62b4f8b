//! Tests a stop: the engine fetches nothing more, gives back deliveries that were not started, lets in-flight work
//! finish, and then cancels the rest.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ergon::connector::Context;
use ergon::connector::memory::{Memory, MemoryQueue};
use ergon::connector::prelude::*;
use ergon::policy::RetryPolicy;
use ergon::prelude::*;
use ergon::service::{Service, ServiceConfig, ServiceError};
use ergon::telemetry::Ended;
use ergon::transaction::Payload;
use ergon_tests::World;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

fn slow(count: usize) -> World {
    World::with(count).process(|_| async {
        sleep(10 * SECOND).await;
        Ok(())
    })
}

#[tokio::test(start_paused = true)]
async fn in_flight_work_finishes_and_is_settled_and_the_rest_is_handed_back() {
    let world = slow(10).policy(|policy| {
        policy.concurrency = 2;
        policy.batch_size = 8;
        policy.prefetch = 6;
    });
    let running = world.start().await;
    sleep(SECOND).await;
    let fetched = world.input.faults.fetched.load(Ordering::SeqCst);
    running.stop();
    let began = Instant::now();
    let report = running.wait().await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 9);
    assert_eq!((report.tally.processed, report.tally.succeeded), (2, 2));
    assert_eq!(world.input.faults.fetched.load(Ordering::SeqCst), fetched, "nothing is fetched after a stop");
    let queue = world.input.queue.inspect();
    assert_eq!((queue.acked, queue.waiting, queue.handed_out), (2, 8, 0));
    assert!(matches!(report.ended, Ended::Stopped { given_back: 6 }), "{:?}", report.ended);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_done_within_the_grace_is_cancelled_and_given_back() {
    let world = slow(3).policy(|policy| {
        policy.concurrency = 3;
        policy.batch_size = 3;
        policy.shutdown_grace = 2 * SECOND;
    });
    let running = world.start().await;
    sleep(SECOND).await;
    running.stop();
    let began = Instant::now();
    let report = running.wait().await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 2);
    assert!(matches!(report.ended, Ended::Stopped { given_back: 3 }), "{:?}", report.ended);
    let queue = world.input.queue.inspect();
    assert_eq!((queue.acked, queue.waiting, queue.handed_out), (0, 3, 0));
    assert_eq!(
        world.log(),
        ["process 0", "process 1", "process 2"],
        "no handler runs because of a cancellation"
    );
}

#[tokio::test(start_paused = true)]
async fn a_wait_between_attempts_ends_at_once_and_the_delivery_is_given_back() {
    let world =
        World::with(1).process(|_| async { Err(TransactionError::system("link lost")) }).policy(|policy| {
            policy.process.max_attempts = 9;
            policy.process.backoff = 3600 * SECOND;
            policy.transaction_timeout = None;
        });
    let running = world.start().await;
    sleep(SECOND).await;
    running.stop();
    let began = Instant::now();
    let report = running.wait().await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 0);
    assert_eq!((report.tally.processed, report.tally.given_back), (0, 1));
    assert_eq!(world.input.queue.inspect().waiting, 1);
    assert_eq!(world.log(), ["process 0"]);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_held_for_later_is_given_back() {
    let world = World::with(1)
        .process(|_| async { Err(TransactionError::business("not yet")) })
        .exception(|_| async { Ok(Disposition::RetryAfter(3600 * SECOND)) });
    let running = world.start().await;
    sleep(SECOND).await;
    assert_eq!(world.input.queue.inspect().handed_out, 1);
    running.stop();
    let began = Instant::now();
    running.wait().await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 0);
    assert_eq!(world.input.queue.inspect().waiting, 1);
}

#[tokio::test(start_paused = true)]
async fn a_streaming_run_on_an_empty_source_stops_at_once() {
    let world = World::new().policy(|policy| policy.streaming = true);
    let running = world.start().await;
    sleep(3600 * SECOND).await;
    running.stop();
    let began = Instant::now();
    running.wait().await.unwrap();
    assert_eq!(began.elapsed().as_millis(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_dropped_gives_back_what_it_held_with_the_next_settle() {
    let world = slow(2).policy(|policy| policy.concurrency = 2);
    let running = world.start().await;
    sleep(SECOND).await;
    assert_eq!(world.input.queue.inspect().handed_out, 2);
    running.stop();
    drop(running);
    sleep(60 * SECOND).await;
    assert_eq!(world.input.queue.inspect().handed_out, 0);
}

#[tokio::test(start_paused = true)]
async fn the_grace_of_a_stop_is_25_seconds_by_default() {
    // The run is stopped after a second.
    for (takes, acked) in [(25_500, 1), (26_500, 0)] {
        let world = World::with(1).process(move |_| async move {
            sleep(Duration::from_millis(takes)).await;
            Ok(())
        });
        let running = world.start().await;
        sleep(SECOND).await;
        running.stop();
        let began = Instant::now();
        running.wait().await.unwrap();
        assert!(began.elapsed() <= 25 * SECOND + SECOND / 100, "{:?}", began.elapsed());
        assert_eq!(world.input.queue.inspect().acked, acked, "{takes}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_not_begun_is_handed_back_at_once() {
    let world = slow(9).policy(|policy| {
        policy.concurrency = 2;
        policy.batch_size = 8;
        policy.prefetch = 6;
    });
    // A delivery with the same id as a running delivery was not started either.
    world.push(["0"]);
    let running = world.start().await;
    sleep(SECOND).await;
    assert_eq!(world.input.queue.inspect().handed_out, 8);
    running.stop();
    sleep(Duration::from_millis(1)).await;
    let queue = world.input.queue.inspect();
    assert_eq!((queue.handed_out, queue.waiting, queue.acked), (2, 8, 0));
    running.wait().await.unwrap();
    assert_eq!(world.input.queue.inspect().acked, 2);
}

#[tokio::test(start_paused = true)]
async fn a_twin_that_waits_is_handed_back() {
    let world = slow(0).policy(|policy| (policy.concurrency, policy.batch_size) = (4, 4));
    world.push(["twin", "twin", "twin"]);
    let running = world.start().await;
    sleep(SECOND).await;
    running.stop();
    let report = running.wait().await.unwrap();
    assert!(matches!(report.ended, Ended::Stopped { given_back: 2 }), "{:?}", report.ended);
    let queue = world.input.queue.inspect();
    assert_eq!((queue.acked, queue.waiting, queue.handed_out), (1, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn what_a_stop_gives_back_comes_again_as_it_was() {
    let world = slow(0).policy(|policy| {
        (policy.concurrency, policy.batch_size, policy.prefetch) = (1, 3, 2);
        policy.shutdown_grace = SECOND;
    });
    let given = ["a", "b", "c"].map(|id| {
        Transaction::builder()
            .id(id)
            .payload(Payload::text(id))
            .metadata("colour", id)
            .correlation_id("order")
            .build()
    });
    world.input.queue.extend(given.clone());
    let running = world.start().await;
    sleep(SECOND).await;
    running.stop();
    let report = running.wait().await.unwrap();
    assert_eq!((report.tally.processed, report.tally.failed.total(), report.tally.retries), (0, 0, 0));
    let mut back = world.input.queue.drain();
    back.sort_by(|one, other| one.id().cmp(other.id()));
    assert_eq!(back.len(), 3);
    for (given, back) in given.iter().zip(&back) {
        assert_eq!((given.id(), given.metadata()), (back.id(), back.metadata()));
        assert_eq!(given.correlation_id(), back.correlation_id());
        assert_eq!(back.payload().decode::<String>().unwrap(), given.id());
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_wait_of_every_step_at_once() {
    let lost = || TransactionError::system("link lost");
    let patient = RetryPolicy { max_attempts: 9, backoff: 3600 * SECOND, ..RetryPolicy::DEFAULT };
    for step in ["process", "success", "exception", "letter"] {
        let world = World::with(1)
            .process(move |_| async move {
                match step {
                    "process" => Err(lost()),
                    "success" => Ok(()),
                    _ => Err(TransactionError::business("no")),
                }
            })
            .success(move |_| async move { Err(lost()) })
            .exception(move |_| async move {
                if step == "letter" { Ok(Disposition::Reject) } else { Err(lost()) }
            })
            .policy(|policy| {
                (policy.process, policy.success, policy.exception) = (patient, patient, patient);
                policy.transaction_timeout = None;
                policy.dead_letter = Some("letters".into());
            });
        let errors = (0..9).map(|_| ConnectorError::transient("disk full"));
        world.letters.faults.dispatches.lock().unwrap().extend(errors);
        let running = world.start().await;
        // The dead letter is dispatched at 0, 200, 600, 1400 and 3000 ms, up to a fifth earlier or later.
        sleep(Duration::from_millis(2200)).await;
        let log = world.log();
        running.stop();
        let began = Instant::now();
        let report = running.wait().await.unwrap();
        assert_eq!(began.elapsed().as_millis(), 0, "{step}");
        assert_eq!(world.log(), log, "{step}");
        let queue = world.input.queue.inspect();
        assert_eq!((queue.waiting, queue.handed_out, queue.acked), (1, 0, 0), "{step}");
        assert_eq!(
            (report.tally.given_back, report.tally.succeeded, report.tally.rejected),
            (1, 0, 0),
            "{step}"
        );
        assert_eq!(world.letters.queue.inspect().waiting, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn no_further_attempt_begins_after_a_stop() {
    let world = slow(1)
        .process(|_| async {
            sleep(10 * SECOND).await;
            Err(TransactionError::system("link lost"))
        })
        .policy(|policy| policy.process.max_attempts = 9);
    let running = world.start().await;
    sleep(SECOND).await;
    running.stop();
    let began = Instant::now();
    running.wait().await.unwrap();
    assert_eq!((began.elapsed().as_secs(), world.log()), (9, vec!["process 0".to_owned()]));
    assert_eq!(world.input.queue.inspect().waiting, 1);
}

type Said = Arc<Mutex<Vec<String>>>;

/// A connector or service that records when it is opened and closed, and is slow to close.
#[derive(Debug, Clone)]
struct Teller(&'static str, Said, Option<(Arc<MemoryQueue>, Arc<Memory>)>);

impl Teller {
    async fn close(&self) {
        sleep(SECOND).await;
        let out = self.2.as_ref().map_or(0, |(queue, _)| queue.inspect().handed_out);
        self.1.lock().unwrap().push(format!("close {}, {out} handed out", self.0));
    }
}

impl ConnectorConfig for Teller {
    type Connector = Self;

    fn build(&self, _: &Context) -> Result<Self, ConnectorError> {
        Ok(self.clone())
    }
}

impl Connector for Teller {
    const KIND: &'static str = "teller";

    async fn close(&self) -> Result<(), ConnectorError> {
        self.close().await;
        Ok(())
    }
}

impl Source for Teller {
    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        self.2.as_ref().unwrap().1.fetch(request).await
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), ConnectorError> {
        self.1.lock().unwrap().push(format!("settle {}", settlements.len()));
        self.2.as_ref().unwrap().1.settle(settlements).await
    }
}

impl Sink for Teller {
    async fn dispatch(&self, _: Vec<Transaction>) -> Result<(), ConnectorError> {
        Ok(())
    }
}

impl ServiceConfig for Teller {
    type Service = Self;

    fn build(&self) -> Result<Self, ServiceError> {
        Ok(self.clone())
    }
}

impl Service for Teller {
    async fn close(&self) -> Result<(), ServiceError> {
        self.close().await;
        Ok(())
    }
}

#[ergon::task(connectors(input, output, copies: Sink), services(clerk: Teller, porter: Teller), consumer())]
struct Tells;

impl Consumer for Tells {
    type Payload = Payload;
    type Output = ();

    async fn process_transaction(&self, transaction: &Transaction<Payload>) -> Result<()> {
        self.output_connector.dispatch(transaction.forward()).await?;
        sleep(10 * SECOND).await;
        Ok(())
    }

    async fn exit(&self) -> Result<()> {
        sleep(SECOND).await;
        self.clerk_service.1.lock().unwrap().push("exit".to_owned());
        Ok(())
    }
}

/// Its `exit` never ends.
#[ergon::task(connectors(input))]
struct Stays;

impl Consumer for Stays {
    type Payload = String;
    type Output = ();

    async fn process_transaction(&self, _: &Transaction<String>) -> Result<()> {
        Ok(())
    }

    async fn exit(&self) -> Result<()> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn an_exit_hook_that_never_ends_is_given_up_and_told() {
    let world = World::with(2);
    let began = Instant::now();
    let wiring = StaysWiring { input: world.input.clone() };
    let report = ergon::testing::run(Stays::config(wiring)).await.unwrap();
    let Ended::Failed(error) = &report.ended else { panic!("{:?}", report.ended) };
    assert_eq!(error.to_string(), "the exit hook of `stays` failed: it did not end within 30 seconds");
    assert_eq!((began.elapsed().as_secs(), report.tally.succeeded), (30, 2));
}

#[tokio::test(start_paused = true)]
async fn exit_comes_first_then_sinks_services_and_the_source_are_closed() {
    // The cases: a stop in whose grace the work ends, a stop that cuts the work off, and the end of a run.
    for stop in [Some(60), Some(1), None] {
        let said = Said::default();
        let queue = MemoryQueue::new();
        queue.push(Transaction::new("0", &0).unwrap());
        let teller = |name| Teller(name, Arc::clone(&said), None);
        let wiring = TellsWiring {
            input: Teller(
                "input",
                Arc::clone(&said),
                Some((Arc::clone(&queue), Arc::new(Memory::new(Arc::clone(&queue))))),
            ),
            output: teller("output"),
            copies: teller("copies"),
            clerk: teller("clerk"),
            porter: teller("porter"),
        };
        let config = Tells::config(wiring).consumer(|policy| {
            policy.shutdown_grace = SECOND * stop.unwrap_or_default();
        });
        let running = ergon::testing::start(config).await.unwrap();
        sleep(SECOND).await;
        if stop.is_some() {
            running.stop();
        }
        running.wait().await.unwrap();
        let said = said.lock().unwrap().clone();
        let last_settle = said.iter().rposition(|line| line.starts_with("settle")).unwrap();
        let order = ["exit", "output", "copies", "clerk", "porter", "input"];
        let after: Vec<_> = said[last_settle + 1..].iter().map(String::as_str).collect();
        let expected = order.map(|name| match name {
            "exit" => name.to_owned(),
            _ => format!("close {name}, 0 handed out"),
        });
        assert_eq!(after, expected, "{stop:?}");
        assert_eq!((queue.inspect().acked, queue.inspect().handed_out), (u64::from(stop != Some(1)), 0));
    }
}
