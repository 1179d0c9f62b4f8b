//! Lets a task run its own loops: [`Execute`] is the trait of such a task, and [`Run`] starts the loops.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::Stream;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;

use super::attempt::guarded;
use super::blocked::watched;
use super::buffer::{Pump, stream_source};
use super::consume::consume;
use super::exit::{bounded, leave};
use super::produce::{ProducerStream, Pull, produce};
use super::role::Role;
use super::roles::{Blocking, Consumes, Consuming, Produces, Producing, nothing};
use super::run_context::RunContext;
use super::run_state::RunState;
use crate::error::{Error, ErrorKind};
use crate::policy::{ConsumerPolicy, ProducerPolicy};
use crate::task::{BlockingConsumer, BlockingProducer, Consumer, Producer, Runnable, Setup, Stop, Task};
use crate::telemetry::calls::Calls;
use crate::telemetry::{Ended, RunReport, SingleReport, Tally};
use crate::transaction::{Result, Transaction, TransactionError, panic};

/// A task that decides itself which loops run, and when: `#[ergon::task(…, execute)]`.
///
/// ```
/// use ergon::connector::memory::MemoryQueue;
/// use ergon::prelude::*;
///
/// #[ergon::task(connectors(orders, returns: Source), consumer(concurrency = 4), execute)]
/// struct Morning;
///
/// impl Consumer for Morning {
///     type Payload = String;
///     type Output = ();
///
///     async fn process_transaction(&self, paper: &Transaction<String>) -> Result<()> {
///         Ok(())
///     }
/// }
///
/// impl Execute for Morning {
///     async fn execute(&self, run: &Run) -> Result<()> {
///         run.consume(self, &self.consumer_policy).await?;
///         let returns = ConsumerPolicy { from: Some("returns".into()), ..self.consumer_policy.clone() };
///         run.consume(self, &returns).await?;
///         Ok(())
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// MemoryQueue::named("orders").push(Transaction::new("o", "two apples").unwrap());
/// MemoryQueue::named("returns").push(Transaction::new("r", "one apple").unwrap());
/// let config = Morning::config(MorningWiring {
///     orders: MemoryConfig::new("orders"),
///     returns: MemoryConfig::new("returns"),
/// });
/// assert_eq!(ergon::testing::run(config).await.unwrap().tally.succeeded, 2);
/// # });
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is a task with `execute`, but does not implement `Execute`",
    label = "`impl Execute for {Self}` is missing",
    note = "write `impl Execute for {Self}` with `async fn execute(&self, run: &Run) -> Result<()>`, or remove `execute`"
)]
pub trait Execute: Task {
    /// Runs the task. Called once; the run ends when the future ends.
    ///
    /// # Errors
    /// An error makes the run fail.
    ///
    /// # Cancel safety
    /// When the grace of a stop is over, the future is dropped at its current `.await`.
    fn execute(&self, run: &Run) -> impl Future<Output = Result<()>> + Send;

    /// Ends the task. Called once, after [`execute`](Self::execute), and before connectors and services are closed.
    /// Default: does nothing.
    ///
    /// # Errors
    /// An error makes the run fail.
    fn exit(&self) -> impl Future<Output = Result<()>> + Send {
        std::future::ready(Ok(()))
    }
}

/// Runs the loops of an [`Execute`] task.
pub struct Run {
    setup: Setup,
    /// The task as an `Arc` of its own type, so that a loop can share the task that is passed to it by reference.
    task: Box<dyn Any + Send + Sync>,
    /// The deliveries that were given back because a loop stopped.
    given_back: Mutex<u64>,
    /// The loops that were dropped before their end, and whose lanes may still hold deliveries.
    dropped: Mutex<Vec<TaskTracker>>,
}

/// A loop that runs. When it is dropped, the deliveries that its lanes still hold are given back before the next loop
/// starts.
struct RunningLoop<'r> {
    run: &'r Run,
    stop: Stop,
}

impl Drop for RunningLoop<'_> {
    fn drop(&mut self) {
        self.run.dropped().push(self.stop.loops.clone());
    }
}

impl Run {
    /// Consumes from the source that the policy names, until the source is empty, the limit is reached, or the run
    /// stops. `task` is the task itself: pass `self`.
    ///
    /// Two loops that run at the same time are independent: each has its own `concurrency`, and a transaction that the
    /// source delivers twice may be in both.
    ///
    /// # Errors
    /// Returns an error if the policy is invalid, its dead letters would go to its source, the source fails
    /// permanently, or the time limit ends with work left. The deliveries in flight are given back.
    ///
    /// # Cancel safety
    /// When the future is dropped, the transactions in flight are dropped. They are given back before the next loop
    /// starts, or at the end of `execute`.
    pub async fn consume<T: Consumer>(&self, task: &T, policy: &ConsumerPolicy) -> Result<RunReport> {
        let role = Consuming { task: self.shared(task)?, show: nothing };
        self.consume_by(Arc::new(role), policy).await
    }

    /// Consumes as [`consume`](Self::consume) does, for a [`BlockingConsumer`].
    ///
    /// # Errors
    /// The same as those of [`consume`](Self::consume).
    pub async fn consume_blocking<T: BlockingConsumer>(
        &self,
        task: &T,
        policy: &ConsumerPolicy,
    ) -> Result<RunReport> {
        let role = Blocking::<T, Consumes>::new(self.shared(task)?, nothing);
        self.consume_by(Arc::new(role), policy).await
    }

    /// Produces the transactions of a stream, pulled as fast as slots free up. `task` is the task itself: pass `self`.
    ///
    /// # Errors
    /// Returns an error if the policy is invalid, the stream yields an error, or the time limit ends with work left.
    ///
    /// # Cancel safety
    /// When the future is dropped, the transactions in flight are dropped.
    pub async fn produce<T: Producer>(
        &self,
        task: &T,
        transactions: impl Stream<Item = Result<Transaction<T::Payload>>> + Send,
        policy: &ProducerPolicy,
    ) -> Result<RunReport> {
        let role = Producing { task: self.shared(task)?, show: nothing };
        let pull = |pump: Pump| Box::pin(pump.pull(|| transactions)) as BoxFuture<'_, ()>;
        self.produce_by(Arc::new(role), pull, policy).await
    }

    /// Produces the transactions of [`BlockingProducer::transactions`]. `task` is the task itself: pass `self`.
    ///
    /// # Errors
    /// The same as those of [`produce`](Self::produce).
    pub async fn produce_blocking<T: BlockingProducer>(
        &self,
        task: &T,
        policy: &ProducerPolicy,
    ) -> Result<RunReport> {
        let role = Arc::new(Blocking::<T, Produces>::new(self.shared(task)?, nothing));
        let pulled = Arc::clone(&role);
        let pull = |pump| Box::pin(pulled.pull(pump)) as BoxFuture<'_, ()>;
        self.produce_by(role, pull, policy).await
    }

    /// Waits until the run stops. A task that loops without `consume` and `produce` ends its loop then.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn stopping(&self) {
        self.setup.stop.drain.cancelled().await;
    }

    /// Returns whether the run stops.
    pub fn is_stopping(&self) -> bool {
        self.setup.stop.drain.is_cancelled()
    }

    async fn consume_by(&self, role: Arc<dyn Role>, policy: &ConsumerPolicy) -> Result<RunReport> {
        policy.check().map_err(|problem| TransactionError::business(problem.to_string()))?;
        let input = self.setup.source(policy).map_err(failed)?;
        if self.setup.goes_round(policy) {
            let message =
                "`dead_letter` names the source itself: a rejected transaction would be fetched again";
            return Err(TransactionError::business(message));
        }
        let mut context = RunContext::of(&self.setup, policy.clone()).map_err(failed)?;
        context.outbound = None;
        let running = self.begin().await;
        let run = RunState::new(role.info().task, context, (input, None), &running.stop);
        self.ended(consume(&role, run, &self.setup.monitor).await)
    }

    async fn produce_by<'p>(
        &self,
        role: Arc<dyn Role>,
        pull: impl FnOnce(Pump) -> BoxFuture<'p, ()>,
        policy: &ProducerPolicy,
    ) -> Result<RunReport> {
        policy.check().map_err(|problem| TransactionError::business(problem.to_string()))?;
        let mut context = RunContext::of(&self.setup, policy.to_loop()).map_err(failed)?;
        context.outbound = None;
        let running = self.begin().await;
        let (input, pulled, pump) = stream_source(role.info().task);
        let stream = ProducerStream { input, pulled, pull: pull(pump) };
        self.ended(produce(&role, stream, context, &running.stop, &self.setup.monitor).await)
    }

    /// Starts a loop, after the deliveries of dropped loops are given back.
    async fn begin(&self) -> RunningLoop<'_> {
        self.give_back_dropped().await;
        RunningLoop { run: self, stop: Stop { loops: TaskTracker::new(), ..self.setup.stop.clone() } }
    }

    /// Gives back the deliveries of the loops that the task dropped.
    async fn give_back_dropped(&self) {
        let dropped = std::mem::take(&mut *self.dropped());
        if dropped.is_empty() {
            return;
        }
        let ended = async {
            for loops in dropped {
                // The runtime drops the lanes of a dropped loop later, when a thread is free for them, and only then
                // their deliveries are back. The wait has no time limit of its own, because a busy machine may exceed
                // any limit: the next loop would start without those deliveries.
                loops.close();
                loops.wait().await;
            }
        };
        self.until_stopped(ended).await;
        for (_, input) in &self.setup.inputs {
            let settled = async { guarded(&mut None, input.settle(Vec::new())).await };
            // A source that does not answer must not hold up the run.
            let _ = self.until_stopped(timeout(SETTLES_WITHIN, settled)).await;
        }
    }

    /// Waits for a future; after a stop, at most [`LAST_CALL`] longer.
    async fn until_stopped<F: Future>(&self, future: F) -> Option<F::Output> {
        let too_late = async {
            self.setup.stop.drain.cancelled().await;
            sleep(LAST_CALL).await;
        };
        tokio::select! {
            biased;
            // The future is polled first: an output that is ready at the moment of the limit counts.
            output = future => Some(output),
            () = too_late => None,
        }
    }

    fn dropped(&self) -> MutexGuard<'_, Vec<TaskTracker>> {
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self, report: RunReport) -> Result<RunReport> {
        match report.ended {
            Ended::Failed(error) => Err(failed(error)),
            Ended::Stopped { given_back } => {
                *self.given_back.lock().unwrap_or_else(PoisonError::into_inner) += given_back;
                Ok(report)
            }
            _ => Ok(report),
        }
    }

    /// The task as an `Arc`.
    fn shared<T: Task>(&self, task: &T) -> Result<Arc<T>> {
        let shared =
            self.task.downcast_ref::<Arc<T>>().filter(|shared| std::ptr::eq(Arc::as_ptr(shared), task));
        shared.cloned().ok_or_else(|| {
            TransactionError::business(format!("`{}` is not the task that runs; pass `self`", T::NAME))
        })
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("task", &self.setup.task).finish_non_exhaustive()
    }
}

fn failed(error: Error) -> TransactionError {
    let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
    TransactionError::system(format!("{error}{hint}")).with_source(error)
}

/// Runs a task that implements [`Execute`].
pub(super) struct ExecuteTask<T>(pub(super) Arc<T>);

impl<T: Execute> Runnable for ExecuteTask<T> {
    fn run(&self, setup: Setup) -> BoxFuture<'_, RunReport> {
        Box::pin(execute(&self.0, setup))
    }

    fn process(&self, _: Setup, transaction: Transaction, _: bool) -> BoxFuture<'_, SingleReport> {
        let mut report = SingleReport::new(transaction.id());
        let message =
            format!("`{}` has an `execute` of its own: it has no steps for one transaction", T::NAME);
        report.error = Some(TransactionError::business(message));
        Box::pin(std::future::ready(report))
    }
}

/// Runs `execute`; after a stop, for at most the grace of the task's policies.
async fn execute<T: Execute>(task: &Arc<T>, setup: Setup) -> RunReport {
    panic::install_hook();
    let (stop, monitor, began) = (setup.stop.clone(), setup.monitor.clone(), Instant::now());
    let grace = setup.policies.grace();
    let task_itself = Box::new(Arc::clone(task));
    let run = Run { setup, task: task_itself, given_back: Mutex::new(0), dropped: Mutex::default() };
    let too_late = async {
        stop.drain.cancelled().await;
        sleep(grace.saturating_add(LAST_CALL)).await;
    };
    let (mut outside, calls) = (None, Calls::of(T::NAME));
    let executed = tokio::select! {
        biased;
        executed = watched(T::NAME, "execute", calls.clone().within(guarded(&mut outside, task.execute(&run)))) => {
            executed.and_then(|executed| executed)
        }
        () = too_late => Ok(()),
    };
    run.give_back_dropped().await;
    let given_back = *run.given_back.lock().unwrap_or_else(PoisonError::into_inner);
    let ended = match executed {
        Err(error) => Ended::Failed(Error::new(ErrorKind::Task, format!("execute: {error}"))),
        Ok(()) if stop.drain.is_cancelled() => Ended::Stopped { given_back },
        Ok(()) => Ended::Finished,
    };
    let mut tally: Tally = monitor.snapshot().tally;
    // The tally has the retries of the loops; these are the retries of `execute` itself.
    tally.call_retries += calls.retries();
    let report = RunReport::new(T::NAME, tally, began.elapsed(), ended);
    let exit = async { guarded(&mut None, task.exit()).await.and_then(|left| left) };
    leave(report, bounded(exit).await)
}

/// The time that an `execute` may take after the grace of its loops. The limit is short, because the `exit` hook and
/// the closing of connectors follow, and the process ends less than a second after the grace.
const LAST_CALL: Duration = Duration::from_millis(300);

/// How long a source may take to give back the deliveries of a dropped loop: as long as the settler of a loop waits.
const SETTLES_WITHIN: Duration = Duration::from_secs(2);
