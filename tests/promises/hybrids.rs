//! Tests the inbound transaction of a hybrid when one of its outbound transactions fails.

use std::time::Duration;

use ergon::prelude::*;
use ergon::testing::{self, Script};
use ergon_tests::{LogConfig, LogService};
use futures_util::stream;
use tokio::time::sleep;

const MS: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn an_outbound_one_that_fails_within_the_grace_makes_the_inbound_one_fail() {
    #[ergon::task(connectors(input, output), services(log), consumer(), producer())]
    struct Hyb;
    impl Consumer for Hyb {
        type Payload = u32;
        type Output = Vec<Transaction>;
        async fn process_transaction(&self, n: &Transaction<u32>) -> Result<Vec<Transaction>> {
            sleep(1000 * MS).await;
            Ok(vec![n.derive(&1)?])
        }
        async fn handle_process_exception(
            &self,
            n: &Transaction,
            _: &TransactionError,
        ) -> Result<Disposition> {
            self.log_service.say(format!("exception {}", n.id()));
            Ok(Disposition::Reject)
        }
    }
    impl Producer for Hyb {
        type Payload = u32;
        type Output = ();
        fn transactions(&self) -> impl Stream<Item = Result<Transaction<u32>>> + Send {
            stream::empty()
        }
        async fn prepare_transaction(&self, _: &Transaction<u32>) -> Result<()> {
            Err(TransactionError::business("never"))
        }
    }
    let log = LogConfig::default();
    let input = Script::new();
    input.push_json("a", &1);
    let running = testing::start(Hyb::config(HybWiring {
        input: input.clone(),
        output: Script::new(),
        log: log.clone(),
    }))
    .await
    .unwrap();
    sleep(500 * MS).await;
    running.stop();
    running.wait().await.unwrap();
    assert_eq!(input.rejected(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn what_an_outbound_one_comes_to_counts_for_the_inbound_one_alone() {
    #[ergon::task(connectors(input), consumer(), producer())]
    struct Hyb;
    impl Consumer for Hyb {
        type Payload = u32;
        type Output = Vec<Transaction>;
        async fn process_transaction(&self, n: &Transaction<u32>) -> Result<Vec<Transaction>> {
            Ok(vec![n.derive(&1)?])
        }
    }
    impl Producer for Hyb {
        type Payload = u32;
        type Output = ();
        fn transactions(&self) -> impl Stream<Item = Result<Transaction<u32>>> + Send {
            stream::empty()
        }
        async fn prepare_transaction(&self, _: &Transaction<u32>) -> Result<()> {
            Err(TransactionError::business("never"))
        }
        async fn handle_prepare_exception(
            &self,
            _: &Transaction,
            _: &TransactionError,
        ) -> Result<Disposition> {
            Ok(Disposition::Requeue)
        }
    }
    let input = Script::new();
    input.push_json("a", &1);
    let report = testing::run(Hyb::config(HybWiring { input: input.clone() })).await.unwrap();
    assert_eq!((report.tally.requeued, report.tally.rejected), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_stop_gives_the_inbound_one_back_once() {
    #[ergon::task(connectors(input), consumer(), producer(prepare(max_attempts = 9, backoff = "1s")))]
    struct Hyb;
    impl Consumer for Hyb {
        type Payload = u32;
        type Output = Vec<Transaction>;
        async fn process_transaction(&self, n: &Transaction<u32>) -> Result<Vec<Transaction>> {
            Ok(vec![n.derive(&1)?])
        }
    }
    impl Producer for Hyb {
        type Payload = u32;
        type Output = ();
        fn transactions(&self) -> impl Stream<Item = Result<Transaction<u32>>> + Send {
            stream::empty()
        }
        async fn prepare_transaction(&self, _: &Transaction<u32>) -> Result<()> {
            Err(TransactionError::system("down"))
        }
    }
    let input = Script::new();
    input.push_json("a", &1);
    let running = testing::start(Hyb::config(HybWiring { input: input.clone() })).await.unwrap();
    sleep(100 * MS).await;
    running.stop();
    let report = running.wait().await.unwrap();
    assert_eq!(report.tally.given_back, 1);
}

struct ShownBadly;

impl AsRef<[Transaction]> for ShownBadly {
    fn as_ref(&self) -> &[Transaction] {
        panic!("shown badly")
    }
}

#[tokio::test(start_paused = true)]
async fn an_output_that_panics_when_its_transactions_are_asked_for_is_an_error() {
    #[ergon::task(connectors(input), consumer(), producer())]
    struct H;
    impl Consumer for H {
        type Payload = u32;
        type Output = ShownBadly;
        async fn process_transaction(&self, _: &Transaction<u32>) -> Result<ShownBadly> {
            Ok(ShownBadly)
        }
    }
    impl Producer for H {
        type Payload = u32;
        type Output = ();
        fn transactions(&self) -> impl Stream<Item = Result<Transaction<u32>>> + Send {
            stream::empty()
        }
        async fn prepare_transaction(&self, _: &Transaction<u32>) -> Result<()> {
            Ok(())
        }
    }
    let input = Script::new();
    input.push_json("a", &1);
    testing::run(H::config(HWiring { input: input.clone() })).await.unwrap();
    assert_eq!(input.rejected(), ["a"]);
}
