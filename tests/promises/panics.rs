//! Tests that a panic in any handler is a system error of its attempt, and that the worker continues.

use std::future::Ready;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use ergon::connector::prelude::*;
use ergon::policy::OnHandlerFailure;
use ergon::prelude::*;
use ergon::telemetry::Ended;
use ergon::testing::{self, Script};
use ergon_tests::crew::Site;
use ergon_tests::{LogConfig, LogService, World};
use tokio::time::sleep;

const MS: Duration = Duration::from_millis(1);

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
    let message = &report.tally.rejections[0].message;
    assert!(
        message.starts_with("panicked at tests/promises/panics.rs:") && message.ends_with(": not 0"),
        "{message}"
    );
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

/// The output of this task panics when it is dropped.
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
    let report = testing::run(MakesBombs::config(wiring)).await.unwrap();
    assert_eq!((report.tally.succeeded, report.tally.handler_failures), (3, 0));
    assert_eq!(world.input.queue.inspect().acked, 3);
}

/// The place where a handler panics.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Moment {
    WhenCalled,
    BeforeTheFirstAwait,
    AfterAnAwait,
    Never,
}

async fn panics<T>(moment: Moment, value: T) -> Result<T> {
    assert!(moment != Moment::BeforeTheFirstAwait, "before");
    sleep(Duration::from_secs(1)).await;
    assert!(moment != Moment::AfterAnAwait, "after");
    Ok(value)
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_error_in_each_handler_before_and_after_its_first_await() {
    use Moment::{AfterAnAwait, BeforeTheFirstAwait, Never, WhenCalled};
    for moment in [WhenCalled, BeforeTheFirstAwait, AfterAnAwait] {
        for handler in ["process", "success", "exception"] {
            let of = move |name| if name == handler { moment } else { Never };
            let called = move |name| assert!(of(name) != WhenCalled, "called");
            let bad = move |transaction: &Transaction| transaction.id() == "bad";
            let world = World::new()
                .process(move |transaction| {
                    let bad = bad(&transaction);
                    if bad {
                        called("process");
                    }
                    async move {
                        panics(if bad { of("process") } else { Never }, ()).await?;
                        let fails = bad && handler == "exception";
                        if fails { Err(TransactionError::business("no")) } else { Ok(()) }
                    }
                })
                .success(move |transaction| {
                    let bad = bad(&transaction);
                    if bad {
                        called("success");
                    }
                    panics(if bad { of("success") } else { Never }, ())
                })
                .exception(move |_| {
                    called("exception");
                    panics(of("exception"), Disposition::Reject)
                })
                .policy(|policy| {
                    (policy.process.max_attempts, policy.success.max_attempts) = (2, 2);
                    policy.exception.max_attempts = 2;
                    policy.on_handler_failure = OnHandlerFailure::Reject;
                });
            world.push(["good", "bad", "fine"]);
            let report = world.run().await;
            let how = format!("{handler} {moment:?}");
            assert_eq!((report.tally.processed, report.tally.succeeded), (3, 2), "{how}");
            let begins = format!("{handler}{}bad", if handler == "exception" { ":business " } else { " " });
            let log = world.log();
            let attempts = log.iter().filter(|line| **line == begins).count();
            assert_eq!(attempts, 2, "{how}: {log:?}");
            let failures = u64::from(handler == "exception");
            assert_eq!(
                (report.tally.handler_failures, report.tally.failed.system),
                (failures, 1 - failures),
                "{how}"
            );
            let queue = world.input.queue.inspect();
            assert_eq!((queue.acked, queue.dead_letters.len(), queue.handed_out), (2, 1, 0), "{how}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_with_any_payload_is_an_error() {
    let payloads: [fn(); 6] = [
        || panic!("literal"),
        || panic!("formatted {}", 1),
        || std::panic::panic_any(7_u64),
        || std::panic::panic_any(Box::new("boxed")),
        || std::panic::panic_any(PanicsWhenDropped),
        || std::panic::resume_unwind(Box::new(())),
    ];
    for (index, panics) in payloads.into_iter().enumerate() {
        let world = World::with(2)
            .process(move |transaction| async move {
                if transaction.id() == "0" {
                    panics();
                }
                Ok(())
            })
            .policy(|policy| policy.process.max_attempts = 2);
        let report = world.run().await;
        assert_eq!(
            (report.tally.failed.system, report.tally.retries, report.tally.succeeded),
            (1, 1, 1),
            "{index}"
        );
        let message = &report.tally.rejections[0].message;
        assert!(message.starts_with("panicked"), "{message}");
    }
}

/// A handler that succeeds, and panics when it is dropped.
struct EndsBadly;

impl Future for EndsBadly {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for EndsBadly {
    fn drop(&mut self) {
        panic!("dropped badly");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_drop_of_a_handler_that_ended_is_that_attempts_error() {
    let world = World::with(2).process(|_| EndsBadly).policy(|policy| policy.process.max_attempts = 3);
    let report = world.run().await;
    assert_eq!((report.tally.failed.system, report.tally.retries), (2, 4));
    let world = World::with(2).success(|_| EndsBadly).policy(|policy| policy.success.max_attempts = 3);
    let report = world.run().await;
    assert_eq!((report.tally.failed.system, report.tally.retries, report.tally.succeeded), (2, 4, 0));
    assert_eq!(world.input.queue.inspect().dead_letters.len(), 2);
}

/// A handler that panics when it is polled, and when it is dropped after that.
struct PanicsTwice(PanicsWhenDropped);

impl Future for PanicsTwice {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        panic!("polled badly")
    }
}

#[ergon::task(connectors(input))]
struct HandlesBadly;

impl Consumer for HandlesBadly {
    type Payload = String;
    type Output = ();

    #[expect(refining_impl_trait, reason = "nothing may stand between the engine and this future")]
    fn process_transaction(&self, _: &Transaction<String>) -> PanicsTwice {
        PanicsTwice(PanicsWhenDropped)
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_drop_of_a_handler_that_panicked_is_survived() {
    let world = World::with(3);
    let wiring = HandlesBadlyWiring { input: world.input.clone() };
    let report = testing::run(HandlesBadly::config(wiring)).await.unwrap();
    assert_eq!((report.tally.processed, report.tally.failed.system), (3, 3), "{:?}", report.ended);
}

/// A payload that panics when it is dropped.
struct BombPayload;

impl<'de> Deserialize<'de> for BombPayload {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        u32::deserialize(deserializer).map(|_| Self)
    }
}

impl Drop for BombPayload {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "payload dropped badly");
    }
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_panics_when_it_is_dropped_changes_no_failure() {
    #[ergon::task(connectors(input), services(log), consumer())]
    struct Drp;
    impl Consumer for Drp {
        type Payload = BombPayload;
        type Output = ();
        async fn process_transaction(&self, _: &Transaction<BombPayload>) -> Result<()> {
            Err(TransactionError::business("bad"))
        }
        async fn handle_process_exception(
            &self,
            n: &Transaction,
            _: &TransactionError,
        ) -> Result<Disposition> {
            self.log_service.say(n.id());
            Ok(Disposition::Reject)
        }
    }
    let input = Script::new();
    input.push_json("a", &1);
    input.push_json("b", &1);
    let log = LogConfig::default();
    let report =
        testing::run(Drp::config(DrpWiring { input: input.clone(), log: log.clone() })).await.unwrap();
    assert!(matches!(report.ended, Ended::SourceEmpty), "{:?}", report.ended);
    assert_eq!(input.rejected(), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_panics_when_it_is_dropped_after_an_await_changes_no_failure() {
    #[ergon::task(connectors(input), services(log), consumer(max_deliveries = 3))]
    struct Drp;
    impl Consumer for Drp {
        type Payload = BombPayload;
        type Output = ();
        async fn process_transaction(&self, _: &Transaction<BombPayload>) -> Result<()> {
            sleep(MS).await;
            Err(TransactionError::business("bad"))
        }
        async fn handle_process_exception(
            &self,
            n: &Transaction,
            _: &TransactionError,
        ) -> Result<Disposition> {
            self.log_service.say(n.id());
            Ok(Disposition::Reject)
        }
    }
    let input = Script::new();
    input.push_json("a", &1);
    let log = LogConfig::default();
    testing::run(Drp::config(DrpWiring { input: input.clone(), log: log.clone() })).await.unwrap();
    assert_eq!(log.all(), ["a"]);
}

/// An error that panics when it is dropped.
#[derive(Debug)]
struct DropsBadly;

impl std::fmt::Display for DropsBadly {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("bad")
    }
}

impl std::error::Error for DropsBadly {}

impl Drop for DropsBadly {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "error dropped badly");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_that_panics_when_it_is_dropped_changes_no_outcome() {
    #[ergon::task(connectors(input), consumer())]
    struct Drp;
    impl Consumer for Drp {
        type Payload = u32;
        type Output = ();
        async fn process_transaction(&self, _: &Transaction<u32>) -> Result<()> {
            Err::<(), _>(DropsBadly).business()
        }
    }
    let input = Script::new();
    input.push_json("a", &1);
    input.push_json("b", &1);
    let report = testing::run(Drp::config(DrpWiring { input: input.clone() })).await.unwrap();
    assert!(matches!(report.ended, Ended::SourceEmpty), "{:?}", report.ended);
    assert_eq!(input.rejected(), ["a", "b"]);
}

/// An error whose cause panics when it is shown.
#[derive(Debug, thiserror::Error)]
#[error("top")]
struct CausedBadly(#[source] ShownBadly);

#[derive(Debug)]
struct ShownBadly;

impl std::fmt::Display for ShownBadly {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("cannot be shown")
    }
}

impl std::error::Error for ShownBadly {}

#[tokio::test(start_paused = true)]
async fn an_error_whose_cause_panics_when_it_is_shown_changes_no_outcome() {
    #[ergon::task(connectors(input), consumer())]
    struct C;
    impl Consumer for C {
        type Payload = u32;
        type Output = ();
        async fn process_transaction(&self, _: &Transaction<u32>) -> Result<()> {
            Err::<(), _>(CausedBadly(ShownBadly)).business()
        }
    }
    let input = Script::new();
    input.push_json("a", &1);
    testing::run(C::config(CWiring { input: input.clone() })).await.unwrap();
    assert_eq!(input.rejected(), ["a"]);
}

/// An output that panics when it is dropped.
struct Loud;

impl Drop for Loud {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "output dropped badly");
    }
}

#[tokio::test]
async fn a_late_output_that_panics_when_it_is_dropped_frees_its_thread() {
    #[ergon::task(connectors(input), consumer(concurrency = 2, process(timeout = "50ms")), blocking)]
    struct B;
    impl BlockingConsumer for B {
        type Payload = u32;
        type Output = Loud;
        fn process_transaction(&self, n: &Transaction<u32>) -> Result<Loud> {
            std::thread::sleep(if n.id() == "a" { 100 * MS } else { 20 * MS });
            if n.id() == "a" { Ok(Loud) } else { Err(TransactionError::business("no")) }
        }
    }
    let input = Script::new();
    input.push_json("a", &1);
    for n in 0..20 {
        input.push_json(&n.to_string(), &1);
    }
    let report = testing::run(B::config(BWiring { input: input.clone() })).await.unwrap();
    assert_eq!(report.tally.abandoned_threads, 0, "the thread has returned long ago");
}

/// A connector that records that it was closed. The output panics when it is closed.
struct Closes {
    slot: String,
    closed: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone, Default)]
struct ClosesConfig(Arc<Mutex<Vec<String>>>);

impl ConnectorConfig for ClosesConfig {
    type Connector = Closes;

    fn build(&self, context: &ergon::connector::Context) -> std::result::Result<Closes, ConnectorError> {
        Ok(Closes { slot: context.slot.clone(), closed: Arc::clone(&self.0) })
    }
}

impl Connector for Closes {
    const KIND: &'static str = "closes";

    async fn close(&self) -> std::result::Result<(), ConnectorError> {
        self.closed.lock().unwrap().push(self.slot.clone());
        assert_eq!(self.slot, "input", "closed badly");
        Ok(())
    }
}

impl Source for Closes {
    async fn fetch(&self, _: &FetchRequest) -> std::result::Result<Vec<Delivery>, ConnectorError> {
        Ok(Vec::new())
    }
}

impl Sink for Closes {
    async fn dispatch(&self, _: Vec<Transaction>) -> std::result::Result<(), ConnectorError> {
        Ok(())
    }
}

#[ergon::task(connectors(input, output))]
struct Closing;

impl Consumer for Closing {
    type Payload = u32;
    type Output = ();

    async fn process_transaction(&self, _: &Transaction<u32>) -> Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_panics_when_it_is_closed_keeps_no_other_open() {
    let closed = ClosesConfig::default();
    let wiring = ClosingWiring { input: closed.clone(), output: closed.clone() };
    let error = testing::run(Closing::config(wiring)).await.unwrap_err();
    assert_eq!(*closed.0.lock().unwrap(), ["output", "input"]);
    let error = error.to_string();
    assert!(
        error.starts_with("connector `output` (closes): panicked at tests/promises/panics.rs:"),
        "{error}"
    );
    assert!(error.contains("closed badly"), "{error}");
}

fn crew(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let site = Site::new(env!("CARGO_BIN_EXE_crew"), Duration::ZERO, "");
    site.lines(["nothing"]);
    let output = site.command(arguments).envs(environment.iter().copied()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_panic_while_all_is_built_opened_or_begun_is_the_error_of_its_slot_beside_the_others() {
    let place = "panicked at tests/src/bin/crew.rs:";
    for stage in ["build", "open", "start"] {
        let environment = [("ERGON_CLAY__PANICS", stage)];
        let (code, shown, said) = crew(&["--format", "json", "run", "brittle"], &environment);
        assert_eq!(code, Some(1), "{said}");
        let errors = serde_json::from_str::<Value>(&shown).unwrap()["errors"].to_string();
        let connector = format!("connector `input` (clay): {place}");
        assert!(errors.contains(&connector) && said.contains(&format!("error: {connector}")), "{said}");
        assert!(errors.contains(&format!("cracked in {stage}")), "{errors}");
        // A service has no start.
        assert_eq!(errors.contains(&format!("service `clay`: {place}")), stage != "start", "{errors}");
        assert!(!said.contains("thread '"), "{said}");
        let (code, shown, said) = crew(&["check", "brittle"], &environment);
        let failed = shown.matches(place).count();
        assert_eq!(
            (code, failed),
            if stage == "start" { (Some(0), 0) } else { (Some(1), 2) },
            "{shown}{said}"
        );
    }
}

#[test]
fn a_panic_in_a_constructor_of_a_task_is_its_error() {
    let environment = [("CREW_BUILDS", "panics")];
    for workers in ["1", "2"] {
        let arguments = ["--format", "json", "run", "builds", "--workers", workers];
        let (code, shown, said) = crew(&arguments, &environment);
        assert_eq!(code, Some(1), "{said}");
        let errors = &serde_json::from_str::<Value>(&shown).unwrap()["errors"];
        let error = errors[0].as_str().unwrap();
        assert!(error.starts_with("task `builds`: panicked at tests/src/bin/crew.rs:"), "{error}");
        assert!(
            error.ends_with(": no bricks") && said.contains(error) && !said.contains("thread '"),
            "{said}"
        );
    }
    let (code, shown, said) = crew(&["check", "builds"], &environment);
    assert_eq!(code, Some(1), "{said}");
    assert!(shown.contains("  failed  builds") && shown.contains(": no bricks"), "{shown}");
    assert!(shown.contains("  ok      input"), "what can be built is tried: {shown}");
}
