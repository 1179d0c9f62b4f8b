//! Tests tasks that run their own loops: a loop that `execute` drops or repeats leaves nothing behind.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ergon::connector::memory::{MemoryConfig, MemoryQueue};
use ergon::prelude::*;
use ergon::telemetry::Ended;
use ergon::testing::{self, Script};
use ergon_tests::{LogConfig, LogService};
use tokio::sync::Notify;
use tokio::time::sleep;

const MS: Duration = Duration::from_millis(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_loop_that_is_dropped_last_gives_back_what_it_held() {
    #[ergon::task(connectors(input), consumer(concurrency = 2, batch_size = 4, prefetch = 2), execute)]
    struct Exe {
        begun: Notify,
    }
    impl Consumer for Exe {
        type Payload = u32;
        type Output = ();
        async fn process_transaction(&self, _: &Transaction<u32>) -> Result<()> {
            self.begun.notify_one();
            std::future::pending().await
        }
    }
    impl Execute for Exe {
        async fn execute(&self, run: &Run) -> Result<()> {
            tokio::select! {
                report = run.consume(self, &self.consumer_policy) => report.map(drop),
                () = self.begun.notified() => Ok(()),
            }
        }
    }
    let input = Script::new();
    for n in 0..6 {
        input.push_json(&format!("a{n}"), &1);
    }
    testing::run(Exe::config(ExeWiring { input: input.clone() })).await.unwrap();
    assert_eq!((input.handed_out().len(), input.waiting().len()), (0, 6));
}

/// On a machine of any speed, the second loop fetches the deliveries that the first loop held.
async fn what_was_dropped_comes_again() {
    #[ergon::task(connectors(input), services(log), consumer(concurrency = 2, prefetch = 2), execute)]
    struct Again {
        hangs: AtomicBool,
        begun: Notify,
    }
    impl Consumer for Again {
        type Payload = u32;
        type Output = ();
        async fn process_transaction(&self, n: &Transaction<u32>) -> Result<()> {
            if self.hangs.load(Ordering::SeqCst) {
                self.begun.notify_one();
                std::future::pending::<()>().await;
            }
            self.log_service.say(n.id().to_owned());
            Ok(())
        }
    }
    impl Execute for Again {
        async fn execute(&self, run: &Run) -> Result<()> {
            self.hangs.store(true, Ordering::SeqCst);
            tokio::select! {
                report = run.consume(self, &self.consumer_policy) => drop(report?),
                () = self.begun.notified() => (),
            }
            self.hangs.store(false, Ordering::SeqCst);
            run.consume(self, &self.consumer_policy).await.map(drop)
        }
    }
    let (log, input) = (LogConfig::default(), Script::new());
    for n in 0..6 {
        input.push_json(&format!("a{n}"), &1);
    }
    testing::run(Again::config(AgainWiring { input: input.clone(), log: log.clone() })).await.unwrap();
    let mut done = log.all();
    done.sort();
    assert_eq!(done, ["a0", "a1", "a2", "a3", "a4", "a5"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_dropped_loop_held_comes_again_in_the_next() {
    what_was_dropped_comes_again().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_dropped_loop_held_comes_again_in_the_next_on_several_threads() {
    what_was_dropped_comes_again().await;
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_is_over_leaves_no_memory_behind() {
    static STATM: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    fn rss() -> usize {
        std::fs::read_to_string("/proc/self/statm")
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse::<usize>()
            .unwrap()
            * 4
    }
    #[ergon::task(connectors(input), consumer(concurrency = 4), execute)]
    struct Many;
    impl Consumer for Many {
        type Payload = u32;
        type Output = ();
        async fn process_transaction(&self, _: &Transaction<u32>) -> Result<()> {
            Ok(())
        }
    }
    impl Execute for Many {
        async fn execute(&self, run: &Run) -> Result<()> {
            for n in 0..3000 {
                MemoryQueue::named("own-loops-memory").push(Transaction::new("x", &1)?);
                run.consume(self, &self.consumer_policy).await?;
                if n % 1000 == 0 {
                    STATM.lock().unwrap().push(rss());
                }
            }
            STATM.lock().unwrap().push(rss());
            Ok(())
        }
    }
    if !ergon_tests::alone("own_loops::a_loop_that_is_over_leaves_no_memory_behind") {
        return;
    }
    testing::run(Many::config(ManyWiring { input: MemoryConfig::new("own-loops-memory") })).await.unwrap();
    let seen = STATM.lock().unwrap().clone();
    assert!(seen[3].saturating_sub(seen[1]) < 50_000, "each loop would leave 150 KiB: {seen:?} KiB");
}

#[tokio::test(start_paused = true)]
async fn dead_letters_to_the_source_itself_are_refused() {
    #[ergon::task(connectors(input: Duplex), consumer(), execute)]
    struct E;
    impl Consumer for E {
        type Payload = u32;
        type Output = ();
        async fn process_transaction(&self, _: &Transaction<u32>) -> Result<()> {
            sleep(MS).await;
            Err(TransactionError::business("no"))
        }
    }
    impl Execute for E {
        async fn execute(&self, run: &Run) -> Result<()> {
            let policy = ConsumerPolicy {
                dead_letter: Some("input".into()),
                limit: Some(500),
                ..self.consumer_policy.clone()
            };
            run.consume(self, &policy).await.map(drop)
        }
    }
    MemoryQueue::named("own-loops-round").push(Transaction::new("a", &1).unwrap());
    let report =
        testing::run(E::config(EWiring { input: MemoryConfig::new("own-loops-round") })).await.unwrap();
    assert!(matches!(report.ended, Ended::Failed(_)));
}

#[tokio::test(start_paused = true)]
async fn a_grace_without_end_is_one() {
    #[ergon::task(connectors(input), services(log), consumer(), execute)]
    struct E;
    impl Consumer for E {
        type Payload = u32;
        type Output = ();
        async fn process_transaction(&self, _: &Transaction<u32>) -> Result<()> {
            sleep(1000 * MS).await;
            self.log_service.say("done");
            Ok(())
        }
    }
    impl Execute for E {
        async fn execute(&self, run: &Run) -> Result<()> {
            run.consume(self, &self.consumer_policy).await.map(drop)
        }
        async fn exit(&self) -> Result<()> {
            self.log_service.say("exit");
            Ok(())
        }
    }
    let log = LogConfig::default();
    let input = Script::new();
    input.push_json("a", &1);
    let config = E::config(EWiring { input: input.clone(), log: log.clone() })
        .consumer(|policy| policy.shutdown_grace = Duration::MAX);
    let running = testing::start(config).await.unwrap();
    sleep(100 * MS).await;
    running.stop();
    let report = running.wait().await.unwrap();
    assert_eq!(log.all(), ["done", "exit"]);
    assert!(matches!(report.ended, Ended::Stopped { .. }));
}
