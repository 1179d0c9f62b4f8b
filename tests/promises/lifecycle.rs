//! Tests the lifecycle of one delivery: the order of its steps, and its one settlement.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ergon::connector::ConnectorError;
use ergon::policy::OnHandlerFailure;
use ergon::prelude::*;
use ergon::service::{Service, ServiceConfig, ServiceError};
use ergon_tests::World;
use tokio::time::Instant;

fn refused() -> TransactionError {
    TransactionError::business("no such article")
}

#[tokio::test(start_paused = true)]
async fn success_is_acked() {
    let world = World::with(3);
    let report = world.run().await;
    assert_eq!((report.tally.processed, report.tally.succeeded), (3, 3));
    assert_eq!(world.log()[..2], ["process 0", "success 0"]);
    let queue = world.input.queue.inspect();
    assert_eq!((queue.acked, queue.waiting, queue.handed_out), (3, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_business_error_is_not_retried() {
    let world =
        World::with(1).process(|_| async { Err(refused()) }).policy(|policy| policy.process.max_attempts = 5);
    let report = world.run().await;
    assert_eq!(world.log(), ["process 0", "exception:business 0"]);
    assert_eq!(report.tally.retries, 0);
    assert_eq!(report.tally.failed.business, 1);
}

#[tokio::test(start_paused = true)]
async fn a_system_error_is_retried_until_the_attempts_are_used_up() {
    let world = World::with(1)
        .process(|_| async { Err(TransactionError::system("link lost")) })
        .policy(|policy| policy.process.max_attempts = 3);
    let report = world.run().await;
    assert_eq!(world.log(), ["process 0", "process 0", "process 0", "exception:system 0"]);
    assert_eq!((report.tally.retries, report.tally.failed.system), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn waits_between_attempts_follow_the_policy() {
    let world =
        World::with(1).process(|_| async { Err(TransactionError::system("link lost")) }).policy(|policy| {
            policy.process.max_attempts = 4;
            policy.process.backoff = Duration::from_secs(1);
            policy.process.backoff_cap = Some(Duration::from_secs(3));
        });
    let began = Instant::now();
    world.run().await;
    assert_eq!(began.elapsed().as_secs(), 1 + 2 + 3);
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_ends_well_succeeds() {
    let calls = Arc::new(AtomicU32::new(0));
    let world = World::with(1)
        .process(move |_| {
            let call = calls.fetch_add(1, Ordering::SeqCst);
            async move { if call == 0 { Err(TransactionError::system("link lost")) } else { Ok(()) } }
        })
        .policy(|policy| policy.process.max_attempts = 2);
    let report = world.run().await;
    assert_eq!(world.log(), ["process 0", "process 0", "success 0"]);
    assert_eq!((report.tally.succeeded, report.tally.retries), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_failed_success_handler_goes_the_exception_way() {
    let world = World::with(1)
        .success(|_| async { Err(TransactionError::system("no space")) })
        .policy(|policy| policy.success.max_attempts = 2);
    let report = world.run().await;
    assert_eq!(world.log(), ["process 0", "success 0", "success 0", "exception:system 0"]);
    assert_eq!((report.tally.succeeded, report.tally.rejected), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn the_default_rejects_to_the_source() {
    let world = World::with(1).process(|_| async { Err(refused()) });
    let report = world.run().await;
    assert_eq!(report.tally.rejected, 1);
    assert_eq!(report.tally.rejections[0].message, "no such article");
    assert_eq!(world.input.queue.inspect().dead_letters.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_named_dead_letter_connector_takes_the_rejected_with_the_reason_and_then_it_is_acked() {
    let world = World::with(1)
        .process(|_| async { Err(refused()) })
        .policy(|policy| policy.dead_letter = Some("letters".into()));
    let report = world.run().await;
    assert_eq!((report.tally.rejected, report.tally.dead_lettered), (1, 1));
    let queue = world.input.queue.inspect();
    assert_eq!((queue.acked, queue.dead_letters.len()), (1, 0));
    let letter = &world.letters.queue.drain()[0];
    assert_eq!(letter.id(), "0");
    assert_eq!(letter.metadata().text("ergon-error"), Some("no such article"));
    assert_eq!(letter.metadata().text("ergon-category"), Some("business"));
    assert_eq!(letter.metadata().get("ergon-attempts"), Some(&Value::from(1)));
    assert_eq!(letter.metadata().text("ergon-task"), Some("probe"));
    assert_eq!(letter.payload().decode::<String>().unwrap(), "body");
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_connector_that_fails_leads_to_no_ack() {
    let world = World::with(1).process(|_| async { Err(refused()) }).policy(|policy| {
        policy.dead_letter = Some("letters".into());
        policy.limit = Some(1);
    });
    let errors = (0..5).map(|_| ConnectorError::transient("disk full"));
    world.letters.faults.dispatches.lock().unwrap().extend(errors);
    let report = world.run().await;
    assert_eq!((report.tally.dead_lettered, report.tally.given_back), (0, 1));
    let queue = world.input.queue.inspect();
    assert_eq!((queue.acked, queue.waiting, queue.dead_letters.len()), (0, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_connector_is_tried_again() {
    let world = World::with(1)
        .process(|_| async { Err(refused()) })
        .policy(|policy| policy.dead_letter = Some("letters".into()));
    world.letters.faults.dispatches.lock().unwrap().push_back(ConnectorError::transient("busy"));
    let report = world.run().await;
    assert_eq!(report.tally.dead_lettered, 1);
    assert_eq!(world.input.queue.inspect().acked, 1);
}

#[tokio::test(start_paused = true)]
async fn a_failed_exception_handler_is_a_handler_failure_and_requeues() {
    let world = World::with(1)
        .process(|_| async { Err(refused()) })
        .exception(|_| async { Err(TransactionError::system("no pager")) })
        .policy(|policy| {
            policy.exception.max_attempts = 2;
            policy.limit = Some(1);
        });
    let report = world.run().await;
    assert_eq!(world.log(), ["process 0", "exception:business 0", "exception:business 0"]);
    assert_eq!((report.tally.handler_failures, report.tally.requeued), (1, 1));
    assert_eq!(world.input.queue.inspect().waiting, 1);
}

#[tokio::test(start_paused = true)]
async fn a_handler_failure_can_reject() {
    let world = World::with(1)
        .process(|_| async { Err(refused()) })
        .exception(|_| async { Err(TransactionError::system("no pager")) })
        .policy(|policy| policy.on_handler_failure = OnHandlerFailure::Reject);
    let report = world.run().await;
    assert_eq!((report.tally.handler_failures, report.tally.rejected), (1, 1));
    assert_eq!(world.input.queue.inspect().dead_letters.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_exception_handler_may_ack() {
    let world =
        World::with(1).process(|_| async { Err(refused()) }).exception(|_| async { Ok(Disposition::Ack) });
    let report = world.run().await;
    assert_eq!((report.tally.rejected, report.tally.failed.business), (0, 1));
    assert_eq!(world.input.queue.inspect().acked, 1);
}

#[tokio::test(start_paused = true)]
async fn requeue_is_tried_again_up_to_max_deliveries_and_then_rejected_with_the_reason() {
    let world = World::with(1)
        .process(|_| async { Err(refused()) })
        .exception(|_| async { Ok(Disposition::Requeue) })
        .policy(|policy| policy.max_deliveries = 3);
    let report = world.run().await;
    let processed = world.log().iter().filter(|line| line.starts_with("process")).count();
    assert_eq!(processed, 3);
    assert_eq!((report.tally.requeued, report.tally.rejected), (3, 1));
    assert_eq!(
        report.tally.rejections[0].message,
        "delivered 4 times, more than `max_deliveries` = 3 allows"
    );
    assert_eq!(world.input.queue.inspect().dead_letters.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn retry_after_holds_the_delivery_unsettled_for_its_time() {
    let began = Instant::now();
    let times = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&times);
    let world = World::with(1)
        .process(move |transaction| {
            seen.lock().unwrap().push((transaction.deliveries(), began.elapsed().as_secs()));
            async move { if transaction.deliveries() < 3 { Err(refused()) } else { Ok(()) } }
        })
        .exception(|_| async { Ok(Disposition::RetryAfter(Duration::from_secs(7))) });
    let report = world.run().await;
    assert_eq!(*times.lock().unwrap(), [(1, 0), (2, 7), (3, 14)]);
    assert_eq!(report.tally.succeeded, 1);
    assert_eq!(world.input.queue.inspect().acked, 1);
    let settles = world.input.faults.settled.lock().unwrap().iter().sum::<usize>();
    assert_eq!(settles, 1, "settled once, at the end");
}

#[tokio::test(start_paused = true)]
async fn children_are_named_alike_in_every_attempt() {
    let names = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&names);
    let world = World::with(1)
        .process(move |transaction| {
            let child = transaction.derive(&1).map(|child| child.id().to_owned());
            seen.lock().unwrap().push(child.unwrap());
            async { Err(TransactionError::system("link lost")) }
        })
        .policy(|policy| policy.process.max_attempts = 2);
    world.run().await;
    assert_eq!(*names.lock().unwrap(), ["0/1", "0/1"]);
}

#[ergon::task(connectors(input), services(said: Said), consumer(process(max_attempts = 3)))]
struct Typed;

/// The recorded calls of a task whose payload has its own type.
#[derive(Debug, Clone, Default)]
struct Said(Arc<Mutex<Vec<String>>>);

impl Service for Said {}

impl ServiceConfig for Said {
    type Service = Self;

    fn build(&self) -> Result<Self, ServiceError> {
        Ok(self.clone())
    }
}

impl Consumer for Typed {
    type Payload = u32;
    type Output = ();

    async fn process_transaction(&self, number: &Transaction<u32>) -> Result<()> {
        self.said_service.0.lock().unwrap().push(format!("process {}", number.payload()));
        Ok(())
    }

    async fn handle_process_exception(
        &self,
        transaction: &Transaction,
        error: &TransactionError,
    ) -> Result<Disposition> {
        let line = format!("exception:{} {}", error.category(), transaction.id());
        self.said_service.0.lock().unwrap().push(line);
        Ok(Disposition::Reject)
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_decoded_goes_the_exception_way_and_is_not_processed() {
    let (world, said) = (World::new(), Said::default());
    world.push(["text"]);
    world.input.queue.push(Transaction::new("number", &7).unwrap());
    let config = Typed::config(TypedWiring { input: world.input.clone(), said: said.clone() });
    let report = ergon::testing::run(config).await.unwrap();
    assert_eq!(*said.0.lock().unwrap(), ["exception:business text", "process 7"]);
    assert_eq!((report.tally.failed.business, report.tally.succeeded, report.tally.retries), (1, 1, 0));
    assert_eq!(world.input.queue.inspect().dead_letters[0].id(), "text");
}
