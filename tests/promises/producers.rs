//! Tests that a producer loses nothing of its stream, with any behaviour of the stream, the steps and the sink.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll};
use std::time::Duration;

use ergon::prelude::*;
use ergon::service::{Service, ServiceConfig, ServiceError};
use ergon::telemetry::Ended;
use ergon::testing::{self, Fault, Script};
use ergon_tests::{Lines, LogConfig, LogService};
use futures_util::{StreamExt, stream};
use tokio::time::sleep;

const MS: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn what_the_stream_makes_while_a_held_one_is_released_is_not_lost() {
    #[ergon::task(connectors(output), services(log), producer())]
    struct Slow;
    impl Producer for Slow {
        type Payload = usize;
        type Output = ();
        fn transactions(&self) -> impl Stream<Item = Result<Transaction<usize>>> + Send {
            stream::unfold(0_usize, |n| async move {
                if n == 3 {
                    return None;
                }
                if n > 0 {
                    sleep(1000 * MS).await;
                }
                Some((Transaction::typed(format!("n-{n}"), n), n + 1))
            })
        }
        async fn prepare_transaction(&self, n: &Transaction<usize>) -> Result<()> {
            if self.log_service.say(n.id()) == 1 && n.id() == "n-0" {
                return Err(TransactionError::business("later"));
            }
            Ok(())
        }
        async fn handle_prepare_exception(
            &self,
            _: &Transaction,
            _: &TransactionError,
        ) -> Result<Disposition> {
            Ok(Disposition::RetryAfter(500 * MS))
        }
    }
    let log = LogConfig::default();
    let report =
        testing::run(Slow::config(SlowWiring { output: Script::new(), log: log.clone() })).await.unwrap();
    assert_eq!(report.tally.succeeded, 3);
}

#[tokio::test]
async fn what_an_iterator_makes_while_a_held_one_is_released_is_not_lost() {
    #[ergon::task(connectors(output), services(log), producer(), blocking)]
    struct Slow;
    impl BlockingProducer for Slow {
        type Payload = usize;
        type Output = ();
        fn transactions(&self) -> impl Iterator<Item = Result<Transaction<usize>>> {
            (0..3).map(|n| {
                if n > 0 {
                    std::thread::sleep(200 * MS);
                }
                Transaction::typed(format!("n-{n}"), n)
            })
        }
        fn prepare_transaction(&self, n: &Transaction<usize>) -> Result<()> {
            if self.log_service.say(n.id()) == 1 && n.id() == "n-0" {
                return Err(TransactionError::business("later"));
            }
            Ok(())
        }
        fn handle_prepare_exception(&self, _: &Transaction, _: &TransactionError) -> Result<Disposition> {
            Ok(Disposition::RetryAfter(100 * MS))
        }
    }
    let log = LogConfig::default();
    let report =
        testing::run(Slow::config(SlowWiring { output: Script::new(), log: log.clone() })).await.unwrap();
    assert_eq!(report.tally.succeeded, 3);
}

/// Makes its second transaction a minute after the first, and the third an hour later. The first transaction is retried
/// after ten seconds.
#[ergon::task(connectors(output), services(log), producer())]
struct Seldom;

impl Producer for Seldom {
    type Payload = u64;
    type Output = ();

    fn transactions(&self) -> impl Stream<Item = Result<Transaction<u64>>> + Send {
        stream::iter([0, 60, 3600]).then(|after| async move {
            sleep(Duration::from_secs(after)).await;
            Transaction::typed(format!("after {after}"), after)
        })
    }

    async fn prepare_transaction(&self, n: &Transaction<u64>) -> Result<()> {
        let at = self.log_service.say(n.id());
        if *n.payload() == 0 && at == 1 { Err(TransactionError::business("later")) } else { Ok(()) }
    }

    async fn handle_prepare_exception(&self, _: &Transaction, _: &TransactionError) -> Result<Disposition> {
        Ok(Disposition::RetryAfter(Duration::from_secs(10)))
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_made_for_a_fetch_that_was_cancelled_does_not_wait_for_the_next() {
    let log = LogConfig::default();
    let running = testing::start(Seldom::config(SeldomWiring { output: Script::new(), log: log.clone() }))
        .await
        .unwrap();
    sleep(Duration::from_secs(61)).await;
    assert_eq!(log.all(), ["after 0", "after 0", "after 60"]);
    assert_eq!(running.wait().await.unwrap().tally.succeeded, 3);
}

#[tokio::test(start_paused = true)]
async fn what_a_stream_made_before_it_panicked_is_produced() {
    #[ergon::task(connectors(output), producer(concurrency = 8, batch_size = 8))]
    struct Pan;
    impl Producer for Pan {
        type Payload = usize;
        type Output = ();
        fn transactions(&self) -> impl Stream<Item = Result<Transaction<usize>>> + Send {
            stream::iter((0..5).map(|n| {
                assert!(n < 3, "no more");
                Transaction::typed(format!("n-{n}"), n)
            }))
        }
        async fn prepare_transaction(&self, _: &Transaction<usize>) -> Result<()> {
            Ok(())
        }
    }
    let report = testing::run(Pan::config(PanWiring { output: Script::new() })).await.unwrap();
    assert!(matches!(report.ended, Ended::Failed(_)));
    assert_eq!(report.tally.succeeded, 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_requeued_at_the_limit_is_tried_again_and_costs_nothing_of_it() {
    #[ergon::task(connectors(output), services(log), producer(limit = 3))]
    struct Lim;
    impl Producer for Lim {
        type Payload = usize;
        type Output = ();
        fn transactions(&self) -> impl Stream<Item = Result<Transaction<usize>>> + Send {
            stream::iter((0..10).map(|n| Transaction::typed(format!("n-{n}"), n)))
        }
        async fn prepare_transaction(&self, n: &Transaction<usize>) -> Result<()> {
            if self.log_service.say(n.id()) == 1 && n.id() == "n-2" {
                return Err(TransactionError::business("again"));
            }
            Ok(())
        }
        async fn handle_prepare_exception(
            &self,
            _: &Transaction,
            _: &TransactionError,
        ) -> Result<Disposition> {
            Ok(Disposition::Requeue)
        }
    }
    let log = LogConfig::default();
    let report =
        testing::run(Lim::config(LimWiring { output: Script::new(), log: log.clone() })).await.unwrap();
    assert_eq!(report.tally.succeeded, 3);
}

#[tokio::test(start_paused = true)]
async fn a_dispatch_that_hangs_ends_at_its_time_limit_alone_and_together() {
    #[ergon::task(connectors(output), producer(batch_size = 100, success(max_attempts = 3, timeout = "1s")))]
    struct G;
    impl Producer for G {
        type Payload = usize;
        type Output = ();
        fn transactions(&self) -> impl Stream<Item = Result<Transaction<usize>>> + Send {
            stream::iter((0..4).map(|n| Transaction::typed(format!("n-{n}"), n)))
        }
        async fn prepare_transaction(&self, _: &Transaction<usize>) -> Result<()> {
            Ok(())
        }
        async fn handle_prepare_success(&self, n: &Transaction<usize>, (): &()) -> Result<()> {
            self.output_connector.dispatch(n.forward()).await
        }
    }
    for together in [1, 100] {
        let output = Script::new();
        output.on_dispatch(1, Fault::Hangs);
        let config =
            G::config(GWiring { output: output.clone() }).producer(|policy| policy.batch_size = together);
        let report = testing::run(config).await.unwrap();
        assert_eq!(report.tally.succeeded, 4, "batch_size = {together}");
    }
}

/// Has two transactions, and panics when it is dropped.
struct DropsBadly(usize);

impl Stream for DropsBadly {
    type Item = Result<Transaction<usize>>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0 += 1;
        Poll::Ready((self.0 <= 2).then(|| Transaction::typed(format!("n-{}", self.0), 1)))
    }
}

impl Drop for DropsBadly {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "dropped badly");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_panics_when_it_is_dropped_changes_nothing() {
    #[ergon::task(connectors(output), services(log), producer())]
    struct P;
    impl Producer for P {
        type Payload = usize;
        type Output = ();
        fn transactions(&self) -> impl Stream<Item = Result<Transaction<usize>>> + Send {
            DropsBadly(0)
        }
        async fn prepare_transaction(&self, _: &Transaction<usize>) -> Result<()> {
            Ok(())
        }
        async fn exit(&self) -> Result<()> {
            self.log_service.say("exit");
            Ok(())
        }
    }
    let log = LogConfig::default();
    let report = testing::run(P::config(PWiring { output: Script::new(), log: log.clone() })).await;
    assert_eq!(log.all(), ["exit"]);
    assert_eq!(report.unwrap().tally.succeeded, 2);
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_panics_before_it_has_a_stream_is_ended_all_the_same() {
    #[ergon::task(connectors(output), services(log), producer())]
    struct P;
    impl Producer for P {
        type Payload = usize;
        type Output = ();
        fn transactions(&self) -> impl Stream<Item = Result<Transaction<usize>>> + Send {
            assert!(self.log_service.say("asked") > 1, "no table");
            stream::empty()
        }
        async fn prepare_transaction(&self, _: &Transaction<usize>) -> Result<()> {
            Ok(())
        }
        async fn exit(&self) -> Result<()> {
            self.log_service.say("exit");
            Ok(())
        }
    }
    let log = LogConfig::default();
    let report = testing::run(P::config(PWiring { output: Script::new(), log: log.clone() })).await.unwrap();
    assert_eq!(log.all(), ["asked", "exit"]);
    assert!(matches!(report.ended, Ended::Failed(_)), "{:?}", report.ended);
}

/// The behaviour of a stream, drawn from a seed: the number of its items, the time that each takes, and their outcomes.
#[derive(Debug, Clone)]
struct Drawn {
    seed: u64,
    yielded: Arc<AtomicU64>,
}

impl Service for Drawn {}

impl ServiceConfig for Drawn {
    type Service = Self;

    fn build(&self) -> Result<Self, ServiceError> {
        Ok(self.clone())
    }
}

impl Drawn {
    /// A number below `end` that depends on the seed, the item and `what` alone.
    fn number(&self, item: u64, what: u64, end: u64) -> u64 {
        fastrand::Rng::with_seed(self.seed ^ (item << 20) ^ (what << 50)).u64(..end)
    }

    /// A time that is often none, and up to `most` milliseconds.
    fn time(&self, item: u64, what: u64, most: u64) -> Duration {
        let often_none = self.number(item, what + 1, 3) > 0;
        Duration::from_millis(if often_none { 0 } else { self.number(item, what, most) })
    }
}

/// Produces transactions whose outcome depends on chance.
#[ergon::task(connectors(output), services(drawn: Drawn), producer())]
struct Random;

impl Producer for Random {
    type Payload = u64;
    type Output = ();

    fn transactions(&self) -> impl Stream<Item = Result<Transaction<u64>>> + Send {
        let drawn = self.drawn_service.clone();
        let count = drawn.number(0, 1, 80);
        stream::iter(0..count).then(move |item| {
            let drawn = drawn.clone();
            async move {
                let wait = drawn.time(item, 10, 400);
                if !wait.is_zero() {
                    sleep(wait).await;
                }
                drawn.yielded.fetch_add(1, Ordering::Relaxed);
                Transaction::typed(format!("n-{item}"), item)
            }
        })
    }

    async fn prepare_transaction(&self, item: &Transaction<u64>) -> Result<()> {
        let (drawn, n) = (&self.drawn_service, *item.payload());
        let wait = drawn.time(n, 20, 1500);
        if !wait.is_zero() {
            sleep(wait).await;
        }
        match drawn.number(n, 30, 8) + u64::from(item.deliveries()) {
            0..=2 => Err(TransactionError::business("refused")),
            3 => Err(TransactionError::system("not now")),
            _ => Ok(()),
        }
    }

    async fn handle_prepare_exception(
        &self,
        item: &Transaction,
        _: &TransactionError,
    ) -> Result<Disposition> {
        let n = item.payload().decode::<u64>()?;
        Ok(match self.drawn_service.number(n, 40, 4) {
            0 => Disposition::Requeue,
            1 => Disposition::RetryAfter(self.drawn_service.time(n, 50, 3000)),
            _ => Disposition::Reject,
        })
    }
}

/// The number of unproduced transactions that a run reports.
fn left(ended: &Ended) -> u64 {
    match ended {
        Ended::Stopped { given_back } => *given_back,
        Ended::Failed(error) => {
            let message = error.to_string();
            let words = message.split_whitespace().rev().nth(4);
            words.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("{message}"))
        }
        _ => 0,
    }
}

/// Plays one random policy. Returns the number of transactions that the stream yielded, and the number that the run
/// reports.
async fn random(seed: u64) -> (u64, u64) {
    let drawn = Drawn { seed, yielded: Arc::default() };
    let chance = |what, end| drawn.number(u64::MAX >> 20, what, end);
    let config = Random::config(RandomWiring { output: Script::new(), drawn: drawn.clone() });
    let config = config.producer(|policy| {
        let count = |what| usize::try_from(chance(what, 8)).unwrap() + 1;
        (policy.concurrency, policy.batch_size) = (count(1), count(2));
        policy.limit = (chance(3, 4) == 0).then(|| chance(4, 60));
        policy.timeout = (chance(5, 3) == 0).then(|| MS * u32::try_from(chance(6, 4000) + 1).unwrap());
        policy.shutdown_grace = MS * u32::try_from(chance(7, 2) * chance(8, 4000)).unwrap();
        policy.prepare.max_attempts = u32::try_from(chance(9, 3)).unwrap() + 1;
        policy.prepare.backoff = MS * u32::try_from(chance(10, 2) * 300).unwrap();
        policy.max_deliveries = u32::try_from(chance(11, 5)).unwrap() + 1;
    });
    let running = testing::start(config).await.unwrap();
    if chance(12, 2) == 0 {
        sleep(MS * u32::try_from(chance(13, 4000)).unwrap()).await;
        running.stop();
    }
    let report = running.wait().await.unwrap();
    let accounted = report.tally.succeeded + report.tally.rejected + left(&report.ended);
    (drawn.yielded.load(Ordering::Relaxed), accounted)
}

#[test]
fn what_a_stream_has_yielded_is_produced_refused_or_counted_as_left_whatever_the_policy() {
    let mut stopped = 0;
    for seed in 0..2_000 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let (yielded, accounted) = runtime.unwrap().block_on(random(seed));
        assert_eq!(yielded, accounted, "seed {seed}: yielded, accounted for");
        stopped += u64::from(yielded > 0);
    }
    assert!(stopped > 1_500, "{stopped}");
}

#[tokio::test(start_paused = true)]
async fn what_a_stream_has_yielded_by_a_stop_is_produced_within_the_grace() {
    #[ergon::task(connectors(output), services(log), producer(batch_size = 8))]
    struct Ahead;
    impl Producer for Ahead {
        type Payload = u64;
        type Output = ();
        fn transactions(&self) -> impl Stream<Item = Result<Transaction<u64>>> + Send {
            stream::iter((0..100).map(|n| {
                self.log_service.say("yielded");
                Transaction::typed(format!("n-{n}"), n)
            }))
        }
        async fn prepare_transaction(&self, _: &Transaction<u64>) -> Result<()> {
            sleep(1000 * MS).await;
            Ok(())
        }
    }
    let config = |log: &LogConfig, grace: u64| {
        let grace = Duration::from_secs(grace);
        Ahead::config(AheadWiring { output: Script::new(), log: log.clone() })
            .producer(|policy| policy.shutdown_grace = grace)
    };
    for (grace, done) in [(25, 16), (2, 8)] {
        let (log, (lines, _logging)) = (LogConfig::default(), Lines::capture());
        let config = config(&log, grace).producer(|policy| policy.concurrency = 8);
        let running = testing::start(config).await.unwrap();
        sleep(1500 * MS).await;
        running.stop();
        let report = running.wait().await.unwrap();
        let Ended::Stopped { given_back } = report.ended else { panic!("{:?}", report.ended) };
        let yielded = log.all().len() as u64;
        assert_eq!(report.tally.succeeded + given_back, yielded, "grace {grace}");
        assert!(report.tally.succeeded >= done, "grace {grace}: {}", report.tally.succeeded);
        // The log names the transactions that are left.
        let said = lines.with("before all transactions of the stream were produced");
        let named = said.iter().flat_map(|line| line.split("n-").skip(1)).count() as u64;
        assert_eq!((said.is_empty(), named), (given_back == 0, given_back), "grace {grace}: {said:?}");
    }
}

/// Yields an item as soon as the test allows it.
#[ergon::task(connectors(output), services(gate: Gate), producer(), blocking)]
struct Gated;

#[derive(Debug, Clone)]
struct Gate(Arc<Mutex<mpsc::Receiver<u64>>>, Arc<AtomicU64>);

impl Service for Gate {}

impl ServiceConfig for Gate {
    type Service = Self;

    fn build(&self) -> Result<Self, ServiceError> {
        Ok(self.clone())
    }
}

impl BlockingProducer for Gated {
    type Payload = u64;
    type Output = ();

    fn transactions(&self) -> impl Iterator<Item = Result<Transaction<u64>>> {
        let Gate(items, asked) = Gate::clone(&self.gate_service);
        std::iter::from_fn(move || {
            asked.fetch_add(1, Ordering::SeqCst);
            let item = items.lock().unwrap().recv().ok()?;
            Some(Transaction::typed(format!("n-{item}"), item))
        })
    }

    fn prepare_transaction(&self, _: &Transaction<u64>) -> Result<()> {
        Ok(())
    }
}

/// An iterator cannot be stopped while it makes an item, so the run waits for that item within its grace.
#[tokio::test]
async fn an_item_that_an_iterator_is_making_at_a_stop_is_produced() {
    let ((items, hands_out), asked) = (mpsc::channel(), Arc::new(AtomicU64::new(0)));
    let gate = Gate(Arc::new(Mutex::new(hands_out)), Arc::clone(&asked));
    let config = Gated::config(GatedWiring { output: Script::new(), gate });
    let running = testing::start(config).await.unwrap();
    items.send(1).unwrap();
    while asked.load(Ordering::SeqCst) < 2 || running.tally().succeeded < 1 {
        tokio::task::yield_now().await;
    }
    running.stop();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    items.send(2).unwrap();
    // There is no third item.
    items.send(3).unwrap();
    let report = running.wait().await.unwrap();
    assert_eq!((report.tally.succeeded, asked.load(Ordering::SeqCst)), (2, 2));
    assert!(matches!(report.ended, Ended::Stopped { given_back: 0 }), "{:?}", report.ended);
}
