//! A producer loses nothing of what its stream makes, whatever the stream, its steps and its sink do.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use ergon::prelude::*;
use ergon::telemetry::Ended;
use ergon::testing::{self, Fault, Script};
use ergon_tests::{LogConfig, LogService};
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

/// Makes its second transaction a minute after the first, and the third an hour after that; the first is tried again
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
