//! Runs a wired task inside a test: to its end, or as a running task that the test observes and stops.

use tokio::task::JoinHandle;

use crate::connector::Shard;
use crate::error::{Error, ErrorKind};
use crate::runner::{Built, Finished, Plan, Reach};
use crate::task::{Monitor, Stop, TaskConfig};
use crate::telemetry::{RunReport, Tally};

/// Runs a task until its source is empty, its limit is reached, or it fails.
///
/// The policy is that of the attribute and of [`TaskConfig`]. No settings are read, and no logs or signal handlers are
/// set up.
///
/// A streaming task does not end by itself, and neither does this function. Start such a task with
/// [`start`](crate::testing::start), or let it end at the first empty fetch with
/// `config.consumer(|policy| policy.streaming = false)`.
///
/// # Errors
/// A part that cannot be built, opened or closed. A run that started and failed reports that in [`RunReport::ended`].
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

/// Starts a task that the test can observe and stop.
///
/// # Errors
/// An impossible policy, or a part that cannot be built or opened.
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

/// A running task. [`start`] makes it.
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
/// // `Wait` takes half a minute for a transaction; the paused clock lets the test pass immediately.
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
/// assert_eq!((report.tally.succeeded, report.tally.given_back), (1, 1));
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
    /// Drains the task: it fetches no more, and in-flight transactions may finish within its `shutdown_grace`.
    pub fn stop(&self) {
        self.stop.drain.cancel();
    }

    /// Ends the task immediately: in-flight transactions are cancelled and given back. Connectors and services are
    /// still closed. A task with its own `execute` keeps its `shutdown_grace`.
    pub fn abort(&self) {
        self.stop.drain.cancel();
        self.stop.abort.cancel();
    }

    /// The counts so far.
    pub fn tally(&self) -> Tally {
        self.monitor.snapshot().tally
    }

    /// The number of transactions that are in one of their steps now.
    pub fn in_flight(&self) -> usize {
        self.monitor.snapshot().in_flight
    }

    /// Waits for the end of the task and of its connectors and services.
    ///
    /// # Errors
    /// A connector or service that cannot be closed.
    pub async fn wait(self) -> Result<RunReport, Error> {
        let finished = self.handle.await.map_err(|error| Error::new(ErrorKind::Task, error.to_string()))?;
        if finished.close_errors.is_empty() { Ok(finished.report) } else { Err(first(finished.close_errors)) }
    }
}

/// The first problem of a list that is not empty.
pub(super) fn first(problems: Vec<Error>) -> Error {
    let first = problems.into_iter().next();
    first.unwrap_or_else(|| Error::new(ErrorKind::Connector, "the task could not be opened"))
}
