//! Running a wired task inside a test.

use tokio::task::JoinHandle;

use crate::connector::Shard;
use crate::error::{Error, ErrorKind};
use crate::runner::{Built, Finished, Plan, Reach};
use crate::task::{Monitor, Stop, TaskConfig};
use crate::telemetry::{RunReport, Tally};

/// Runs a task until its source is empty, its limit is reached, or it fails.
///
/// Its policy is that of the attribute and of [`TaskConfig`]; no settings are read, no logs or signals set up.
///
/// A streaming task does not end by itself, so neither does this: start it by [`start`](crate::testing::start), or let
/// it end at the first empty fetch by `config.consumer(|policy| policy.streaming = false)`.
///
/// # Errors
/// What could not be built, opened or closed. A run that began and failed says so in [`RunReport::ended`].
///
/// ```
/// # use ergon::prelude::*;
/// # use ergon::testing::{self, Script};
/// # #[ergon::task(connectors(input), consumer())]
/// # struct Check;
/// # impl Consumer for Check {
/// #     type Payload = u32;
/// #     type Output = ();
/// #     async fn process_transaction(&self, _: &Transaction<u32>) -> Result<()> { Ok(()) }
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let input = Script::new();
/// input.push_json("a", &1);
/// let report = testing::run(Check::config(CheckWiring { input: input.clone() })).await?;
/// assert_eq!((report.tally.succeeded, input.acked().len()), (1, 1));
/// # Ok::<(), ergon::Error>(()) }).unwrap();
/// ```
pub async fn run(config: TaskConfig) -> Result<RunReport, Error> {
    start(config).await?.wait().await
}

/// Starts a task that can be looked at and stopped.
///
/// # Errors
/// A policy that cannot be obeyed; what could not be built or opened.
///
/// ```
/// # use ergon::prelude::*;
/// # use ergon::telemetry::Ended;
/// # use ergon::testing::{self, Script};
/// # #[ergon::task(connectors(input), consumer())]
/// # struct Check;
/// # impl Consumer for Check {
/// #     type Payload = u32;
/// #     type Output = ();
/// #     async fn process_transaction(&self, _: &Transaction<u32>) -> Result<()> { Ok(()) }
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let config = Check::config(CheckWiring { input: Script::new() });
/// let running = testing::start(config.consumer(|policy| policy.streaming = true)).await?;
/// running.stop();
/// assert!(matches!(running.wait().await?.ended, Ended::Stopped { given_back: 0 }));
/// # Ok::<(), ergon::Error>(()) }).unwrap();
/// ```
pub async fn start(config: TaskConfig) -> Result<Running, Error> {
    let opened = build(config)?.open(Reach::Whole).await.map_err(first)?;
    let opened = opened.start().await.map_err(first)?;
    let (stop, monitor) = (Stop::default(), Monitor::default());
    let handle = tokio::spawn(opened.run_apart(stop.clone(), monitor.clone(), None));
    Ok(Running { handle, stop, monitor })
}

/// Builds a task under its own policies.
pub(super) fn build(config: TaskConfig) -> Result<Built, Error> {
    Plan::new(config).build(Shard::default()).map_err(first)
}

/// A task that runs; made by [`start`].
///
/// ```
/// # use ergon::prelude::*;
/// # use ergon::testing::{self, Script};
/// # use std::time::Duration;
/// # #[ergon::task(connectors(input), consumer(streaming, shutdown_grace = "10s"))]
/// # struct Wait;
/// # impl Consumer for Wait {
/// #     type Payload = u32;
/// #     type Output = ();
/// #     async fn process_transaction(&self, _: &Transaction<u32>) -> Result<()> {
/// #         Ok(tokio::time::sleep(Duration::from_secs(30)).await)
/// #     }
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// // `Wait` takes half a minute for a transaction; the clock is paused, so the test does not.
/// let input = Script::new();
/// let running = testing::start(Wait::config(WaitWiring { input: input.clone() })).await?;
/// input.push_json("a", &1);
/// tokio::time::sleep(Duration::from_secs(31)).await;
/// assert_eq!((running.tally().succeeded, running.in_flight()), (1, 0));
///
/// input.push_json("b", &2);
/// tokio::time::sleep(Duration::from_secs(1)).await;
/// assert_eq!((running.in_flight(), input.handed_out().len()), (1, 1));
///
/// running.abort();
/// let report = running.wait().await?;
/// assert_eq!((report.tally.succeeded, report.tally.requeued), (1, 1));
/// assert_eq!(input.waiting(), ["b"]);
/// # Ok::<(), ergon::Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "a task that is not waited for runs on by itself"]
pub struct Running {
    handle: JoinHandle<Finished>,
    stop: Stop,
    monitor: Monitor,
}

impl Running {
    /// Tells it to fetch no more and to finish what is in flight within its `shutdown_grace`.
    pub fn stop(&self) {
        self.stop.drain.cancel();
    }

    /// Tells it to end at once: what is in flight is cancelled and given back. Connectors and services are closed in
    /// good order all the same. A task with an `execute` of its own has its `shutdown_grace` even so.
    pub fn abort(&self) {
        self.stop.drain.cancel();
        self.stop.abort.cancel();
    }

    /// What it has done so far.
    pub fn tally(&self) -> Tally {
        self.monitor.snapshot().tally
    }

    /// How many transactions are in one of their steps right now.
    pub fn in_flight(&self) -> usize {
        self.monitor.snapshot().in_flight
    }

    /// Waits for its end; its connectors and services are closed then.
    ///
    /// # Errors
    /// What could not be closed.
    pub async fn wait(self) -> Result<RunReport, Error> {
        let finished = self.handle.await.map_err(|error| Error::new(ErrorKind::Task, error.to_string()))?;
        if finished.close_errors.is_empty() { Ok(finished.report) } else { Err(first(finished.close_errors)) }
    }
}

/// The first of some problems, which are never none.
pub(super) fn first(problems: Vec<Error>) -> Error {
    let first = problems.into_iter().next();
    first.unwrap_or_else(|| Error::new(ErrorKind::Connector, "the task could not be opened"))
}
