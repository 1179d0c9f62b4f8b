//! The processing of one transaction: the state that its steps share, and its end.
//!
//! [`run_steps`](super::worker::run_steps) calls the task. The code in this module is compiled once for all tasks.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use serde_json::Value;
use tokio::time::Instant;
use tracing::level_filters::LevelFilter;

use super::attempt::{Attempts, Begun, Code, StepResult, Waits, code, guarded};
use super::clock::{Clock, Nanos};
use super::completed::{Completed, DeadLetter, Failure, StepRun, Unsent};
use super::dead_letters::{APART, DeadLetters, IN_PLACE};
use super::lifecycle::{Action, Event, Lifecycle, Outcome};
use super::run_context::RunContext;
use super::steps::RoleInfo;
use crate::connector::{Disposition, Output, Receipt};
use crate::policy::RetryPolicy;
use crate::telemetry::event::{DeadLetterFailed, DroppedStale};
use crate::telemetry::metrics::{End, Timings};
use crate::telemetry::propagation::Place;
use crate::telemetry::traces::{Ending, Recording};
use crate::telemetry::{Scope, Step};
use crate::transaction::{Result, Transaction, TransactionError, panic};

/// One transaction while its steps run.
pub(super) struct Processing<'a> {
    pub(super) runner: StepRunner<'a>,
    pub(super) runs: StepRuns,
    /// The output of the first step as JSON; set only where `extent` asks for it.
    pub(super) shown: Option<Box<Value>>,
    /// The steps that the transaction goes through, and whether its output is shown.
    pub(super) extent: Extent,
    /// Whether the engine cancelled the first step of a transaction that goes through no other step.
    pub(super) is_aborted: bool,
    /// Receives the outcome at the end.
    completed: &'a mut Completed,
}

/// A transaction to be processed, and the state that its processing needs.
pub(super) struct Given<'a> {
    pub(super) context: &'a RunContext,
    pub(super) transaction: &'a Transaction,
    pub(super) receipt: Option<&'a Receipt>,
    /// Receives the outcome at the end of the processing.
    pub(super) completed: &'a mut Completed,
    /// The time of the lane; its mark is the start of the processing.
    pub(super) clock: &'a mut Clock,
}

/// The steps that a transaction goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// All steps.
    Whole,
    /// All steps; the output of the first step is shown.
    Shown,
    /// The first step only; its output is shown.
    FirstStep,
}

/// The result of each step of a transaction.
#[derive(Debug, Default)]
pub(super) struct StepRuns {
    pub(super) first: StepRun,
    pub(super) success: StepRun,
    pub(super) exception: StepRun,
}

/// Runs the steps of one transaction with their time limits, retries and traces.
pub(super) struct StepRunner<'a> {
    pub(super) context: &'a RunContext,
    pub(super) transaction: &'a Transaction,
    pub(super) receipt: Option<&'a Receipt>,
    role: RoleInfo,
    scope: Option<Scope>,
    /// The spans of the transaction, if it is sampled.
    recording: Option<Box<Recording>>,
    clock: &'a mut Clock,
    /// The time at which process and success must have ended.
    deadline: Option<Instant>,
    began: Instant,
    timings: Timings,
    /// The first attempt of a step that did not end at its first poll.
    begun: Option<Begun>,
}

impl<'a> Processing<'a> {
    /// Starts to process a transaction, at the time of the clock's mark.
    pub(super) fn new(role: RoleInfo, given: Given<'a>) -> Self {
        let Given { context, transaction, receipt, completed, clock } = given;
        let (trace, recording) = match &context.trace {
            Some(trace) => {
                let (place, recording) = trace.transaction(transaction, receipt.and_then(Receipt::batch));
                (Some(place), recording)
            }
            // A transaction keeps the trace that it came with, even where this process records nothing.
            None => (Place::of(transaction.metadata()), None),
        };
        // Without logging and without a trace, nothing reads the scope, so it is not allocated.
        let scope = (trace.is_some() || LevelFilter::current() != LevelFilter::OFF).then(|| Scope {
            task: role.task,
            transaction_id: transaction.shared_id().clone(),
            step: role.first,
            attempt: 0,
            trace,
        });
        let runner = StepRunner {
            context,
            transaction,
            receipt,
            role,
            scope,
            recording,
            deadline: context.policy.transaction_timeout.and_then(|limit| clock.mark.checked_add(limit)),
            began: clock.mark,
            timings: context.meters.begin(clock.mark, transaction),
            clock,
            begun: None,
        };
        Self {
            runner,
            runs: StepRuns::default(),
            shown: None,
            extent: Extent::Whole,
            is_aborted: false,
            completed,
        }
    }

    /// Returns the lifecycle of the transaction and its first action. A transaction that was delivered too often is
    /// rejected before its payload is decoded, because the payload may be the reason why workers die.
    pub(super) fn begin(&mut self) -> (Lifecycle, Action) {
        let (context, deliveries) = (self.runner.context, self.runner.transaction.deliveries());
        let most = context.policy.max_deliveries;
        let begun = Lifecycle::begin(context.on_handler_failure());
        if deliveries <= most || self.extent == Extent::FirstStep {
            return begun;
        }
        let message = format!("delivered {deliveries} times, more than `max_deliveries` = {most} allows");
        self.runs.first.error = Some(TransactionError::business(message));
        (begun.0, Action::Settle(Outcome::Handled, Disposition::Reject))
    }

    /// Records that the payload could not be decoded.
    pub(super) fn undecodable(&mut self, error: TransactionError) -> Event {
        let StepRunner { context, role, timings, clock, .. } = &mut self.runner;
        timings.ended(role.first, End::Failed(error.category()));
        context.meters.attempted(role.first.as_str(), Some(error.category()));
        self.runs.first = StepRun { attempts: 1, elapsed: Some(clock.lap()), error: Some(error) };
        Event::Failed
    }

    /// Runs the outbound transactions of a hybrid through the steps of its producer, within the time limit of the
    /// inbound transaction.
    pub(super) async fn outbound(&mut self, code: &mut Code<'_>) -> Event {
        let StepRunner { clock, deadline, scope, recording, .. } = &mut self.runner;
        stand_apart(scope, recording.as_deref());
        let all = poll_fn(|context| code(Some(context)));
        let ended = guarded(scope, clock.alarm.within(*deadline, all)).await;
        clock.lap();
        if let Some(recording) = recording {
            recording.resume();
        }
        self.runs.first.error = Some(match ended {
            Ok(Some(Ok(()))) => return Event::Completed,
            Ok(Some(Err(error))) | Err(error) => error,
            Ok(None) => {
                self.runner.context.meters.timed_out(self.runner.role.first.as_str());
                let message = "the transaction's time limit ran out before all of its outbound transactions were processed";
                TransactionError::timeout(message)
            }
        });
        Event::Failed
    }

    /// Ends the processing. A rejected transaction goes to the dead-letter connector first, if the policy names one.
    pub(super) async fn end(&mut self, mut outcome: Outcome, disposition: Disposition) {
        let mut failure = None;
        let mut settled_as = disposition;
        if matches!(outcome, Outcome::Handled | Outcome::HandlerFailed) {
            stand_apart(&mut self.runner.scope, self.runner.recording.as_deref());
            match self.fail(disposition).await {
                Some(failed) => (failure, settled_as) = failed,
                None => (outcome, settled_as) = (Outcome::Aborted, Disposition::Requeue),
            }
        }
        if let Some(recording) = self.runner.recording.take() {
            match failure.as_deref_mut() {
                Some(Failure { dead_letter: DeadLetter::Waiting(unsent), .. }) => unsent.record(recording),
                failure => {
                    let dead_lettered = failure.as_ref().is_some_and(|failure| failure.is_dead_lettered());
                    let disposition = if dead_lettered { "dead_letter" } else { settled_as.as_str() };
                    let error = failure.map(|failure| &failure.error);
                    recording.end(&Ending { outcome: outcome.as_str(), disposition, error });
                }
            }
        }
        let StepRuns { first, success, exception } = &self.runs;
        *self.completed = Completed {
            outcome,
            disposition: settled_as,
            step: self.runner.role.first,
            first: first.elapsed,
            success: success.elapsed,
            retries: [first, success, exception].iter().map(|run| run.attempts.saturating_sub(1)).sum(),
            timings: self.runner.timings.over(self.runner.began, self.runner.clock.mark),
            failure,
        };
    }

    /// Returns the failure and the disposition of the delivery: `ack` if the dead-letter connector accepted the
    /// transaction. Returns `None` if the source no longer holds the delivery, because the source delivers it again.
    async fn fail(&mut self, disposition: Disposition) -> Option<(Option<Box<Failure>>, Disposition)> {
        let (attempts, runner) = (self.runs.attempts(), &mut self.runner);
        let (step, run) = match &mut self.runs.success {
            run @ StepRun { error: Some(_), .. } => (Step::Success, run),
            _ => (runner.role.first, &mut self.runs.first),
        };
        let Some(error) = run.error.take() else { return Some((None, disposition)) };
        let scope = runner.scope.clone().map(|scope| Scope { step, attempt: run.attempts, ..scope });
        let exception = &mut self.runs.exception;
        let exception = StepRun { error: exception.error.take(), ..*exception };
        let mut failure =
            Box::new(Failure { error, attempts, scope, exception, dead_letter: DeadLetter::None });
        let (Disposition::Reject, Some(dead_letter)) = (disposition, &runner.context.dead_letter) else {
            return Some((Some(failure), disposition));
        };
        failure.dead_letter = runner.dispatch_dead_letter(dead_letter, &failure).await;
        runner.clock.lap();
        if !failure.is_dead_lettered() && runner.is_stale() {
            runner.drop_stale();
            return None;
        }
        let disposition = if failure.is_dead_lettered() { Disposition::Ack } else { Disposition::Requeue };
        Some((Some(failure), disposition))
    }

    /// Drops the errors that the steps have left. The `Drop` of a task's error may panic; the panic must not change the
    /// outcome.
    #[inline]
    pub(super) fn close(&mut self) {
        let StepRuns { first, success, exception } = &mut self.runs;
        if [&first, &success, &exception].iter().any(|run| run.error.is_some()) {
            let errors = [first.error.take(), success.error.take(), exception.error.take()];
            let _ = panic::guard(|| drop(errors));
        }
    }
}

impl StepRuns {
    /// The error that the exception step handles.
    pub(super) fn split_error(&mut self) -> (Option<&TransactionError>, &mut StepRun) {
        (self.success.error.as_ref().or(self.first.error.as_ref()), &mut self.exception)
    }

    /// The attempts of the last step before the exception step.
    fn attempts(&self) -> u32 {
        if self.success.attempts > 0 { self.success.attempts } else { self.first.attempts }
    }
}

impl<'a> StepRunner<'a> {
    /// Polls the first attempt of a step. Returns `None` if the step has not ended; then [`run`](Self::run) continues
    /// it.
    #[inline]
    pub(super) fn first_poll(
        &mut self,
        step: Step,
        run: &mut StepRun,
        code: impl FnOnce() -> Poll<Result<()>>,
    ) -> Option<Event> {
        if self.recording.is_some() {
            return None;
        }
        let (policy, deadline) = self.limits(step);
        self.enter(step);
        self.begun = Begun::poll(policy, deadline, &mut self.scope, code);
        if self.begun.is_some() {
            return None;
        }
        run.attempts = 1;
        run.elapsed = Some(self.lap(step));
        self.timings.ended(step, End::Succeeded);
        Some(Event::Completed)
    }

    /// Runs the attempts of a step, and records their result.
    pub(super) async fn run(&mut self, step: Step, run: &mut StepRun, code: &mut Code<'_>) -> Event {
        let (policy, deadline) = self.limits(step);
        if self.begun.is_none() {
            self.enter(step);
        }
        let waits = Waits::Unless(&self.context.drain);
        let (scope, alarm) = (&mut self.scope, &mut self.clock.alarm);
        let mut attempts = Attempts {
            recording: self.recording.as_deref_mut(),
            deadline,
            meters: &self.context.meters,
            begun: self.begun.take(),
            ..Attempts::new(policy, step.as_str(), waits, scope, alarm)
        };
        let result = attempts.run(code).await;
        run.attempts = attempts.made;
        run.elapsed = Some(self.lap(step));
        self.timings.ended(step, result.end());
        match result {
            StepResult::Done => Event::Completed,
            StepResult::Failed(error) => {
                run.error = Some(error);
                Event::Failed
            }
            StepResult::Interrupted => Event::Aborted,
        }
    }

    /// The retry policy of a step, and the time at which the step must have ended.
    #[inline]
    fn limits(&self, step: Step) -> (&'a RetryPolicy, Option<Instant>) {
        let policy = &self.context.policy;
        match step {
            Step::Process | Step::Prepare => (&policy.process, self.deadline),
            Step::Success => (&policy.success, self.deadline),
            Step::Exception => (&policy.exception, None),
        }
    }

    #[inline]
    fn enter(&mut self, step: Step) {
        if let (Some(scope), Step::Success | Step::Exception) = (&mut self.scope, step) {
            scope.step = step;
        }
        // A blocking step runs on its own thread, so its polls block nothing.
        if !self.role.blocking {
            self.clock.alarm.polls.watch(self.clock.mark);
        }
    }

    /// Reads the time at the end of a step, and checks whether the step blocked its thread.
    #[inline]
    fn lap(&mut self, step: Step) -> Nanos {
        let elapsed = self.clock.lap();
        if !self.role.blocking {
            self.clock.alarm.polls.ended((self.role.task, step), (elapsed.get(), self.clock.mark));
        }
        elapsed
    }

    /// Whether the source no longer holds the delivery. If so, the source delivers the transaction again.
    pub(super) fn is_stale(&self) -> bool {
        self.context.is_stale(self.receipt)
    }

    pub(super) fn drop_stale(&mut self) {
        let (task, transaction_id) = (self.role.task, self.transaction.id());
        Scope::enter(&mut self.scope, || DroppedStale { task, transaction_id }.emit());
    }

    /// Dispatches a rejected transaction to the dead-letter connector, together with the reason. A loop tries once
    /// here. A dead letter that the connector does not accept waits separately from the lane, as does a dead letter
    /// that arrives while others wait.
    async fn dispatch_dead_letter(&mut self, output: &Output, failure: &Failure) -> DeadLetter {
        let dead_letter = failure.annotate(self.transaction, self.role.task);
        let apart = self.context.postponed.as_deref();
        if apart.is_some_and(DeadLetters::any) && !self.context.drain.is_cancelled() {
            return DeadLetter::Waiting(Box::new(Unsent::new(dead_letter)));
        }
        self.clock.alarm.polls.rest();
        let (context, receipt) = (self.context, self.receipt);
        let dispatch = || {
            let dead_letter = (!context.is_stale(receipt)).then(|| dead_letter.clone());
            async move {
                match dead_letter {
                    Some(dead_letter) => output.dispatch_past_buffer(dead_letter).await,
                    // A business error, because it is not retried.
                    None => Err(TransactionError::business("the source delivers it again")),
                }
            }
        };
        let policy = if apart.is_some() { &APART } else { &IN_PLACE };
        let (scope, alarm) = (&mut self.scope, &mut self.clock.alarm);
        let mut attempts = Attempts {
            recording: self.recording.as_deref_mut(),
            meters: &context.meters,
            ..Attempts::new(policy, "dead_letter", Waits::Unless(&context.drain), scope, alarm)
        };
        let result = {
            let mut running = pin!(None);
            attempts.run(&mut code(running.as_mut(), dispatch, &mut None)).await
        };
        match result {
            StepResult::Done => {
                context.meters.attempted("dead_letter", None);
                DeadLetter::Accepted
            }
            StepResult::Interrupted => DeadLetter::Undelivered,
            StepResult::Failed(_) if context.is_stale(receipt) => DeadLetter::Undelivered,
            StepResult::Failed(error) if apart.is_some() => {
                DeadLetter::Waiting(Box::new(Unsent::failed(dead_letter, error)))
            }
            StepResult::Failed(error) => {
                let (task, transaction_id) = (self.role.task, self.transaction.id());
                let refused = || DeadLetterFailed { task, transaction_id, error: &error }.emit();
                Scope::enter(&mut self.scope, refused);
                DeadLetter::Undelivered
            }
        }
    }
}

/// Moves the trace from the last attempt back to the transaction itself, because work between the steps belongs to no
/// attempt.
fn stand_apart(scope: &mut Option<Scope>, recording: Option<&Recording>) {
    if let (Some(scope), Some(recording)) = (scope, recording) {
        scope.stand_at(recording.context());
    }
}
