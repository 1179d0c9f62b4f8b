//! A panic in any handler is that attempt's system error; the worker lives.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use std::future::Ready;
use std::time::Duration;

use ergon::prelude::*;
use ergon_tests::World;
use tokio::time::sleep;

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "dropped badly");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_process_is_a_system_error_with_message_and_place_and_is_retried() {
    let world = World::with(2)
        .process(|transaction| async move {
            assert!(transaction.id() != "0", "not {}", transaction.id());
            Ok(())
        })
        .policy(|policy| policy.process.max_attempts = 2);
    let report = world.run().await;
    assert_eq!(world.log()[..3], ["process 0", "process 0", "exception:system 0"]);
    assert_eq!(report.tally.succeeded, 1);
    let message = &report.tally.refusals[0].message;
    assert!(message.starts_with("panicked at tests/panics.rs:") && message.ends_with(": not 0"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_panic_before_the_first_await_and_in_the_other_handlers_is_an_error_too() {
    let world = World::with(1)
        .success(|_| -> Ready<Result<()>> { panic!("in success") })
        .exception(|_| -> Ready<Result<Disposition>> { panic!("in exception") })
        .policy(|policy| policy.limit = Some(1));
    let report = world.run().await;
    assert_eq!(world.log(), ["process 0", "success 0", "exception:system 0"]);
    assert_eq!((report.tally.handler_failures, report.tally.requeued), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_panic_with_a_payload_that_is_no_text_is_an_error_too() {
    let world = World::with(1).process(|_| async { std::panic::panic_any(PanicsWhenDropped) });
    let report = world.run().await;
    assert_eq!(report.tally.failed.system, 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_drop_of_a_handler_that_ran_out_of_time_is_survived() {
    let world = World::with(3)
        .process(|_| async {
            let _bad = PanicsWhenDropped;
            sleep(Duration::from_secs(9)).await;
            Ok(())
        })
        .policy(|policy| policy.process.timeout = Some(Duration::from_secs(1)));
    let report = world.run().await;
    assert_eq!((report.tally.processed, report.tally.failed.system), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_drop_of_a_cancelled_handler_gives_the_delivery_back() {
    let world = World::with(1)
        .process(|_| async {
            let _bad = PanicsWhenDropped;
            sleep(Duration::from_secs(900)).await;
            Ok(())
        })
        .policy(|policy| {
            policy.transaction_timeout = None;
            policy.shutdown_grace = Duration::from_secs(1);
        });
    let running = world.start().await;
    sleep(Duration::from_millis(1)).await;
    running.stop();
    let report = running.wait().await.unwrap();
    assert_eq!(report.tally.processed, 0);
    assert_eq!(world.input.queue.inspect().waiting, 1);
}

#[tokio::test(start_paused = true)]
async fn a_business_error_beside_a_panic_stays_one() {
    let world = World::with(2).process(|transaction| async move {
        if transaction.id() == "0" { panic!("boom") } else { Err(TransactionError::business("no")) }
    });
    let report = world.run().await;
    assert_eq!((report.tally.failed.system, report.tally.failed.business), (1, 1));
}

/// What it makes panics when it is dropped.
#[ergon::task(connectors(input))]
struct MakesBombs;

impl Consumer for MakesBombs {
    type Payload = String;
    type Output = PanicsWhenDropped;

    async fn process_transaction(&self, _: &Transaction<String>) -> Result<PanicsWhenDropped> {
        Ok(PanicsWhenDropped)
    }
}

#[tokio::test]
async fn a_panic_in_the_drop_of_what_was_made_changes_no_outcome() {
    let world = World::with(3);
    let wiring = MakesBombsWiring { input: world.input.clone() };
    let report = ergon::testing::run(MakesBombs::config(wiring)).await.unwrap();
    assert_eq!((report.tally.succeeded, report.tally.handler_failures), (3, 0));
    assert_eq!(world.input.queue.inspect().acked, 3);
}
