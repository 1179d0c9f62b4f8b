//! Tasks that say themselves what is consumed and produced, and when.

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

/// A task that says itself what is consumed and produced, and when: `#[ergon::task(…, execute)]`.
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
    /// Runs the task, once; the run ends when it returns.
    ///
    /// # Errors
    /// Make the run fail.
    ///
    /// # Cancel safety
    /// Dropped at its current `.await` when a stop's grace is over.
    fn execute(&self, run: &Run) -> impl Future<Output = Result<()>> + Send;

    /// Ends the task: called once, after `execute`, before connectors and services are closed.
    ///
    /// # Errors
    /// Makes the run fail.
    fn exit(&self) -> impl Future<Output = Result<()>> + Send {
        std::future::ready(Ok(()))
    }
}

/// What an [`Execute`] task consumes and produces with.
pub struct Run {
    setup: Setup,
    /// The task itself, as an `Arc` of its own type.
    task: Box<dyn Any + Send + Sync>,
    /// Deliveries that were given back because a loop was to end.
    given_back: Mutex<u64>,
    /// Loops that were dropped, and may hold something yet.
    dropped: Mutex<Vec<TaskTracker>>,
}

/// A loop that is dropped before its end, unless it says otherwise.
struct Going<'r> {
    run: &'r Run,
    stop: Stop,
}

impl Drop for Going<'_> {
    fn drop(&mut self) {
        self.run.dropped().push(self.stop.loops.clone());
    }
}

impl Run {
    /// Consumes from the source that the policy names, until it is empty, the limit is reached, or the run is stopped.
    /// `task` is the task itself: `self`.
    ///
    /// Two loops that run at once know nothing of each other: each has a `concurrency` of its own, and a transaction
    /// that the source hands out twice may be in both.
    ///
    /// # Errors
    /// A policy that cannot be obeyed, dead letters that would go to the source itself, a source that fails for good,
    /// or a time limit with work left. What was in flight is given back.
    ///
    /// # Cancel safety
    /// When dropped, what is in flight is dropped. It is given back before the next loop begins, or at the end of
    /// `execute`.
    pub async fn consume<T: Consumer>(&self, task: &T, policy: &ConsumerPolicy) -> Result<RunReport> {
        let role = Consuming { task: self.shared(task)?, show: nothing };
        self.consume_by(Arc::new(role), policy).await
    }

    /// The same for a [`BlockingConsumer`].
    ///
    /// # Errors
    /// As of [`consume`](Self::consume).
    pub async fn consume_blocking<T: BlockingConsumer>(
        &self,
        task: &T,
        policy: &ConsumerPolicy,
    ) -> Result<RunReport> {
        let role = Blocking::<T, Consumes>::new(self.shared(task)?, nothing);
        self.consume_by(Arc::new(role), policy).await
    }

    /// Produces what `transactions` yields, pulled as fast as slots free up. `task` is the task itself: `self`.
    ///
    /// # Errors
    /// A policy that cannot be obeyed, an error of the stream, or a time limit with work left.
    ///
    /// # Cancel safety
    /// When dropped, what is in flight is dropped.
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

    /// Produces what [`BlockingProducer::transactions`] yields.
    ///
    /// # Errors
    /// As of [`produce`](Self::produce).
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

    /// Waits until the run is told to stop; a loop of the task's own ends then.
    pub async fn stopping(&self) {
        self.setup.stop.drain.cancelled().await;
    }

    /// Says whether the run is told to stop.
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
        let going = self.begin().await;
        let run = RunState::new(role.info().task, context, (input, None), &going.stop);
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
        let going = self.begin().await;
        let (input, pulled, pump) = stream_source(role.info().task);
        let stream = ProducerStream { input, pulled, pull: pull(pump) };
        self.ended(produce(&role, stream, context, &going.stop, &self.setup.monitor).await)
    }

    /// Begins a loop, when what was dropped before it is given back.
    async fn begin(&self) -> Going<'_> {
        self.give_back_dropped().await;
        Going { run: self, stop: Stop { loops: TaskTracker::new(), ..self.setup.stop.clone() } }
    }

    /// Gives back what loops held that the task dropped.
    async fn give_back_dropped(&self) {
        let dropped = std::mem::take(&mut *self.dropped());
        if dropped.is_empty() {
            return;
        }
        let ended = async {
            for loops in dropped {
                // The runtime drops the lanes of a dropped loop later, when a thread is free for them: only then are
                // their deliveries back. No time is enough for that on a busy machine, so the wait has no limit of its
                // own.
                loops.close();
                loops.wait().await;
            }
        };
        self.until_stopped(ended).await;
        for (_, input) in &self.setup.inputs {
            let settled = async { guarded(&mut None, input.settle(Vec::new())).await };
            // A source that does not answer does not hold up the run.
            let _ = self.until_stopped(timeout(SETTLES_WITHIN, settled)).await;
        }
    }

    /// Waits for a future, but after a stop only for [`LAST_CALL`] more.
    async fn until_stopped<F: Future>(&self, future: F) -> Option<F::Output> {
        let too_late = async {
            self.setup.stop.drain.cancelled().await;
            sleep(LAST_CALL).await;
        };
        tokio::select! {
            biased;
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

    /// The task as the engine holds it.
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

/// A task with an `execute` of its own.
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

/// Runs a task's own `execute`; after a stop it has the grace of its policies to end.
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
    // Those of its loops are in it already.
    tally.call_retries += calls.retries();
    let report = RunReport::new(T::NAME, tally, began.elapsed(), ended);
    let exit = async { guarded(&mut None, task.exit()).await.and_then(|left| left) };
    leave(report, bounded(exit).await)
}

/// How much longer than the grace of its loops an `execute` may take to end. Its `exit` and the closing of connectors
/// come after it, and the process ends in less than a second beyond the grace.
const LAST_CALL: Duration = Duration::from_millis(300);

/// How long a source may take to take back what a dropped loop held: as long as the settler of a loop waits.
const SETTLES_WITHIN: Duration = Duration::from_secs(2);
