//! Tests that transactions keep their order if they are processed one at a time, also when they are given back.

use std::time::Duration;

use ergon::connector::memory::{MemoryConfig, MemoryQueue};
use ergon::prelude::*;
use ergon::testing;
use ergon_tests::{LogConfig, LogService};
use tokio::time::sleep;

const MS: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn what_is_requeued_together_comes_again_in_order() {
    #[ergon::task(connectors(input), services(log), consumer(batch_size = 3, prefetch = 2))]
    struct Ord1;
    impl Consumer for Ord1 {
        type Payload = u32;
        type Output = ();
        async fn process_transaction(&self, n: &Transaction<u32>) -> Result<()> {
            if n.deliveries() == 1 {
                return Err(TransactionError::business("again"));
            }
            self.log_service.say(n.id());
            Ok(())
        }
        async fn handle_process_exception(
            &self,
            _: &Transaction,
            _: &TransactionError,
        ) -> Result<Disposition> {
            Ok(Disposition::Requeue)
        }
    }
    let queue = MemoryQueue::named("order-requeued");
    for n in 0..6 {
        queue.push(Transaction::new(format!("{n}"), &1).unwrap());
    }
    let log = LogConfig::default();
    testing::run(Ord1::config(Ord1Wiring { input: MemoryConfig::new("order-requeued"), log: log.clone() }))
        .await
        .unwrap();
    assert_eq!(log.all(), ["0", "1", "2", "3", "4", "5"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_stop_gives_back_lies_in_order() {
    #[ergon::task(connectors(input), consumer(batch_size = 5, prefetch = 4))]
    struct Ord2;
    impl Consumer for Ord2 {
        type Payload = u32;
        type Output = ();
        async fn process_transaction(&self, _: &Transaction<u32>) -> Result<()> {
            sleep(100 * MS).await;
            Ok(())
        }
    }
    let queue = MemoryQueue::named("order-stopped");
    for n in 0..6 {
        queue.push(Transaction::new(format!("{n}"), &1).unwrap());
    }
    let running =
        testing::start(Ord2::config(Ord2Wiring { input: MemoryConfig::new("order-stopped") })).await.unwrap();
    sleep(50 * MS).await;
    running.stop();
    running.wait().await.unwrap();
    let left: Vec<_> = queue.drain().iter().map(|t| t.id().to_owned()).collect();
    assert_eq!(left, ["1", "2", "3", "4", "5"]);
}
