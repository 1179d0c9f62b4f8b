//! Runs the attempts of a step: the only code that calls a task's handlers. Each call has a time limit, a guard against
//! panics, and retries.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use futures_util::FutureExt;
use tokio::time::{Instant, sleep_until};

use super::clock::Alarm;
use super::drain::Drain;
use crate::policy::RetryPolicy;
use crate::telemetry::Scope;
use crate::telemetry::event::AttemptFailed;
use crate::telemetry::metrics::{End, Meters};
use crate::telemetry::traces::Recording;
use crate::transaction::{Result, TransactionError, panic};

/// Runs `f` under a retry policy, as the engine runs the steps of a task.
///
/// Each attempt has the policy's time limit. Attempts are repeated, with the policy's waits between them, until one
/// succeeds, fails with a business error, or is the last one. A panic in `f` is a system error.
///
/// `name` appears in log lines, and in the error of an attempt that reaches its time limit.
///
/// # Errors
/// Returns the error of the last attempt; an error of category timeout if that attempt reached its time limit.
///
/// # Cancel safety
/// When the future is dropped, the running attempt is dropped at its current `.await`, and no other attempt starts.
///
/// ```
/// use ergon::prelude::*;
/// use std::sync::atomic::{AtomicU32, Ordering};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let calls = AtomicU32::new(0);
/// let policy = RetryPolicy { max_attempts: 3, ..RetryPolicy::DEFAULT };
/// let stock = ergon::run_fn(&policy, "stock", || async {
///     match calls.fetch_add(1, Ordering::Relaxed) {
///         0 => Err(TransactionError::system("warehouse did not answer")),
///         _ => Ok(7),
///     }
/// });
/// assert_eq!(stock.await?, 7);
/// # Ok::<(), TransactionError>(()) }).unwrap();
/// ```
pub async fn run_fn<T, F>(policy: &RetryPolicy, name: &str, f: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    panic::install_hook();
    let (mut running, mut value) = (pin!(None), None);
    let mut code = code(running.as_mut(), f, &mut value);
    let (scope, alarm) = (&mut None, &mut Alarm::default());
    let result = Attempts::new(policy, name, Waits::Always, scope, alarm).run(&mut code).await;
    drop(code);
    result.into_result(name, value)
}

/// Runs blocking code under a retry policy, as [`run_fn`] does for async code. The waits between attempts block the
/// thread.
///
/// The time limit of the policy has no effect, because nothing can stop a thread.
///
/// # Errors
/// Returns the error of the last attempt.
///
/// ```
/// use ergon::prelude::*;
///
/// let policy = RetryPolicy { max_attempts: 3, ..RetryPolicy::DEFAULT };
/// let mut calls = 0;
/// let stock = ergon::run_fn_blocking(&policy, "stock", || {
///     calls += 1;
///     if calls < 3 { Err(TransactionError::system("warehouse did not answer")) } else { Ok(7) }
/// });
/// assert_eq!((stock?, calls), (7, 3));
/// # Ok::<(), TransactionError>(())
/// ```
pub fn run_fn_blocking<T>(policy: &RetryPolicy, name: &str, mut f: impl FnMut() -> Result<T>) -> Result<T> {
    panic::install_hook();
    let policy = RetryPolicy { timeout: None, ..*policy };
    let mut value = None;
    let mut code = |context: Option<&mut Context<'_>>| {
        if context.is_some() { Poll::Ready(f().map(|made| value = Some(made))) } else { Poll::Pending }
    };
    let (scope, alarm) = (&mut None, &mut Alarm::default());
    let mut attempts = Attempts::new(&policy, name, Waits::Blocking, scope, alarm);
    // The future is never pending, because the code has no `.await` and the waits block.
    let result = pin!(attempts.run(&mut code)).now_or_never();
    result.unwrap_or(StepResult::Interrupted).into_result(name, value)
}

/// The code of one step behind a type that names no task. `Some` starts an attempt, or polls the running attempt.
/// `None` drops the running attempt. The output of an attempt stays with the caller that made the code.
///
/// Because loops call a step through this type, they are compiled once for all tasks.
pub(super) type Code<'a> = dyn FnMut(Option<&mut Context<'_>>) -> Poll<Result<()>> + Send + 'a;

/// Makes the [`Code`] of a step. `make` makes the future of each attempt, which is kept in `running`. The value of a
/// successful attempt is put into `output`.
#[inline]
pub(super) fn code<'a, T, F>(
    mut running: Pin<&'a mut Option<F>>,
    mut make: impl FnMut() -> F + 'a,
    output: &'a mut Option<T>,
) -> impl FnMut(Option<&mut Context<'_>>) -> Poll<Result<()>> + 'a
where
    F: Future<Output = Result<T>>,
{
    move |context| {
        let Some(context) = context else {
            running.set(None);
            return Poll::Pending;
        };
        if running.is_none() {
            running.set(Some(make()));
        }
        let polled = running.as_mut().as_pin_mut().map_or(Poll::Pending, |attempt| attempt.poll(context));
        let Poll::Ready(result) = polled else { return Poll::Pending };
        running.set(None);
        Poll::Ready(result.map(|made| *output = Some(made)))
    }
}

/// The attempts of one step.
pub(super) struct Attempts<'a> {
    pub(super) policy: &'a RetryPolicy,
    pub(super) name: &'a str,
    /// The scope of the attempts' log lines.
    pub(super) scope: &'a mut Option<Scope>,
    /// The spans of the attempts, if the transaction is sampled.
    pub(super) recording: Option<&'a mut Recording>,
    /// The time at which all attempts, and the waits between them, must have ended.
    pub(super) deadline: Option<Instant>,
    pub(super) waits: Waits<'a>,
    pub(super) alarm: &'a mut Alarm,
    pub(super) meters: &'a Meters,
    /// The number of attempts that were started.
    pub(super) made: u32,
    /// The first attempt, if it was already polled once.
    pub(super) begun: Option<Begun>,
}

/// An attempt that was polled once and did not succeed at that poll.
#[derive(Debug)]
pub(super) struct Begun {
    polled: Result<Poll<Result<()>>>,
    limit: Limit,
}

/// The time at which an attempt must have ended, and whether this time is the deadline of all attempts together.
type Limit = (Option<Instant>, bool);

impl Begun {
    /// Polls the first attempt of a step. Returns `None` if it succeeds. Most steps end at their first poll, so that
    /// this function is all that runs for them.
    #[inline]
    pub(super) fn poll(
        policy: &RetryPolicy,
        deadline: Option<Instant>,
        scope: &mut Option<Scope>,
        code: impl FnOnce() -> Poll<Result<()>>,
    ) -> Option<Self> {
        if let Some(scope) = scope.as_mut() {
            scope.attempt = 1;
        }
        let limit = limit(policy, deadline);
        match inside(scope, code) {
            Ok(Poll::Ready(Ok(()))) => None,
            polled => Some(Self { polled, limit }),
        }
    }
}

/// The way to wait for the next attempt.
#[derive(Debug, Clone, Copy)]
pub(super) enum Waits<'a> {
    Always,
    /// A stop ends the wait. The error of a closed connector starts the stop.
    Unless(&'a Drain),
    /// Blocks the thread, because nothing else runs on it.
    Blocking,
}

/// The result of a step's attempts.
#[derive(Debug)]
pub(super) enum StepResult {
    Done,
    Failed(TransactionError),
    /// A stop ended the wait between two attempts, or the attempt's error ends the run.
    Interrupted,
}

impl StepResult {
    /// The result as metrics count it.
    pub(super) fn end(&self) -> End {
        match self {
            Self::Done => End::Succeeded,
            Self::Failed(error) => End::Failed(error.category()),
            Self::Interrupted => End::Interrupted,
        }
    }

    fn into_result<T>(self, name: &str, value: Option<T>) -> Result<T> {
        match (self, value) {
            (Self::Done, Some(value)) => Ok(value),
            (Self::Failed(error), _) => Err(error),
            (Self::Done | Self::Interrupted, _) => {
                Err(TransactionError::system(format!("{name} was interrupted")))
            }
        }
    }
}

impl<'a> Attempts<'a> {
    /// Makes attempts without spans, metrics and deadline.
    pub(super) fn new(
        policy: &'a RetryPolicy,
        name: &'a str,
        waits: Waits<'a>,
        scope: &'a mut Option<Scope>,
        alarm: &'a mut Alarm,
    ) -> Self {
        let (recording, deadline, meters, made, begun) = (None, None, Meters::OFF, 0, None);
        Self { policy, name, scope, recording, deadline, waits, alarm, meters, made, begun }
    }
}

impl Attempts<'_> {
    /// Runs attempts until one succeeds or no other is allowed.
    pub(super) async fn run<C>(&mut self, code: &mut C) -> StepResult
    where
        C: FnMut(Option<&mut Context<'_>>) -> Poll<Result<()>> + ?Sized,
    {
        if let Some(recording) = &mut self.recording {
            recording.begin_step(self.name);
        }
        loop {
            self.begin();
            let error = match self.once(code).await {
                Ok(()) => return self.end(StepResult::Done),
                Err(error) => error,
            };
            if let Waits::Unless(drain) = self.waits
                && drain.is_ordered_by(&error)
            {
                return self.end(StepResult::Interrupted);
            }
            let Some(due) = self.next_attempt(&error) else { return self.end(StepResult::Failed(error)) };
            self.end_attempt(Some(&error));
            if let Some(interrupted) = self.wait_until(due).await {
                return self.end(interrupted);
            }
            self.meters.retried(self.name, error.category());
        }
    }

    /// Starts the next attempt.
    fn begin(&mut self) {
        self.made = self.made.saturating_add(1);
        let context = self.recording.as_mut().map(|recording| recording.begin_attempt(self.made));
        if let Some(scope) = self.scope.as_mut() {
            scope.attempt = self.made;
            if let Some(context) = context {
                scope.stand_at(context);
            }
        }
    }

    /// Ends the span of one of several attempts.
    fn end_attempt(&mut self, error: Option<&TransactionError>) {
        if let Some(recording) = &mut self.recording {
            recording.end_attempt(self.made, self.policy.max_attempts, error);
        }
    }

    /// Ends the span of the step.
    fn end(&mut self, result: StepResult) -> StepResult {
        let error = if let StepResult::Failed(error) = &result { Some(error) } else { None };
        if self.made > 1 {
            self.end_attempt(error);
        }
        if let Some(recording) = &mut self.recording {
            recording.end_step(self.policy.max_attempts, error);
        }
        result
    }

    /// Runs one attempt.
    async fn once<C>(&mut self, code: &mut C) -> Result<()>
    where
        C: FnMut(Option<&mut Context<'_>>) -> Poll<Result<()>> + ?Sized,
    {
        let mut begun = self.begun.take();
        let own = |begun: &Begun| begun.limit;
        let (limit, whole) = begun.as_ref().map_or_else(|| limit(self.policy, self.deadline), own);
        let Self { scope, alarm, policy, name, .. } = self;
        let ended = poll_fn(|context| {
            let polled = match begun.take() {
                Some(begun) => begun.polled,
                None => {
                    alarm.polls.begin();
                    // The attempt is made, polled and dropped inside the guard, so that a panic of any of the three is
                    // caught.
                    inside(scope, || code(Some(context)))
                }
            };
            let error = match (polled, limit) {
                (Ok(Poll::Ready(result)), _) => return Poll::Ready(result),
                (Ok(Poll::Pending), limit) => {
                    alarm.polls.waits();
                    let Some(limit) = limit else { return Poll::Pending };
                    ready!(alarm.poll_until(limit, context));
                    timed_out(name, policy, whole)
                }
                (Err(panicked), _) => panicked,
            };
            let dropped = inside(scope, || code(None).is_ready());
            Poll::Ready(Err(dropped.err().unwrap_or(error)))
        });
        ended.await
    }

    /// The time of the next attempt; `None` if there is none.
    fn next_attempt(&self, error: &TransactionError) -> Option<Instant> {
        let expired = self.deadline.is_some_and(|deadline| deadline <= Instant::now());
        let last = !error.category().is_retried() || self.made >= self.policy.max_attempts || expired;
        let wait = self.policy.jittered_wait_after(self.made, error.retry_after(), fastrand::f64());
        AttemptFailed {
            name: self.name,
            scope: self.scope.as_ref(),
            attempt: self.made,
            max_attempts: self.policy.max_attempts,
            error,
            wait: (!last).then_some(wait),
            is_step: matches!(self.waits, Waits::Unless(_)),
            meters: self.meters,
        }
        .emit();
        if last { None } else { Some(Instant::now().checked_add(wait).unwrap_or_else(far_future)) }
    }

    /// Waits for the next attempt. Returns a result if the next attempt must not start.
    async fn wait_until(&self, due: Instant) -> Option<StepResult> {
        let over = self.deadline.filter(|deadline| *deadline < due);
        let sleep = async { sleep_until(over.unwrap_or(due)).await };
        let interrupted = match self.waits {
            Waits::Unless(stop) => stop.run_until_cancelled(sleep).await.is_none(),
            Waits::Always => {
                sleep.await;
                false
            }
            Waits::Blocking => {
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                false
            }
        };
        match (interrupted, over) {
            (true, _) => Some(StepResult::Interrupted),
            (false, Some(_)) => {
                self.meters.timed_out(self.name);
                Some(StepResult::Failed(timed_out(self.name, self.policy, true)))
            }
            (false, None) => None,
        }
    }
}

/// The time at which an attempt that starts now must have ended.
#[inline]
fn limit(policy: &RetryPolicy, deadline: Option<Instant>) -> Limit {
    let Some(timeout) = policy.timeout else { return (deadline, true) };
    let own = Instant::now().checked_add(timeout);
    match (own, deadline) {
        (Some(own), Some(whole)) if own <= whole => (Some(own), false),
        (own, None) => (own, false),
        (_, whole) => (whole, true),
    }
}

/// The error of an attempt that reached its own time limit, or the time limit of all attempts together.
#[cold]
fn timed_out(name: &str, policy: &RetryPolicy, whole: bool) -> TransactionError {
    if whole {
        return TransactionError::timeout(format!("the transaction's time limit ran out in {name}"));
    }
    let limit = crate::policy::duration::display(policy.timeout.unwrap_or_default());
    TransactionError::timeout(format!("{name} took longer than its limit of {limit}"))
}

/// Runs a future of the task in a scope. A panic of the future, or of its drop, is returned as a system error.
pub(super) async fn guarded<F: Future>(scope: &mut Option<Scope>, future: F) -> Result<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| match inside(scope, || future.as_mut().poll(context)) {
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(panicked) => Poll::Ready(Err(panicked)),
    })
    .await
}

/// Runs code of the task in a scope. A panic is returned as a system error.
#[inline]
fn inside<R>(scope: &mut Option<Scope>, code: impl FnOnce() -> R) -> Result<R> {
    panic::guard(|| Scope::enter(scope, code))
}

/// Polls a future once; `None` if it is not ready.
pub(super) async fn at_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Thirty years from now: longer than any run, and within the range of tokio's timer.
pub(super) fn far_future() -> Instant {
    Instant::now() + std::time::Duration::from_secs(30 * 365 * 24 * 3600)
}
