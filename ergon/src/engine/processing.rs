//! The processing of one transaction: what its steps share, and how it ends.
//!
//! [`run_steps`](super::worker::run_steps) calls the task; the code here is compiled once for all tasks.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use serde_json::Value;
use tokio::time::Instant;
use tracing::level_filters::LevelFilter;

use super::attempt::{Attempts, Begun, Code, StepResult, Waits, code, guarded};
use super::clock::{Clock, Nanos};
use super::completed::{Completed, Failure, Letter, StepRun, Unsent};
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
use crate::transaction::{Result, Transaction, TransactionError, key, panic};

/// One transaction on its way through its steps.
pub(super) struct Processing<'a> {
    pub(super) runner: StepRunner<'a>,
    pub(super) runs: StepRuns,
    /// What is to be seen of the output of the first step, if somebody wants to see it.
    pub(super) shown: Option<Box<Value>>,
    /// How far the transaction goes, and whether its output is shown.
    pub(super) extent: Extent,
    /// Whether the first step was given up, of a transaction that goes through no other.
    pub(super) is_aborted: bool,
    /// Where it is written down what became of the transaction, at the end.
    completed: &'a mut Completed,
}

/// A transaction to be processed, and what that needs.
pub(super) struct Given<'a> {
    pub(super) context: &'a RunContext,
    pub(super) transaction: &'a Transaction,
    pub(super) receipt: Option<&'a Receipt>,
    /// Where it is written down what became of the transaction.
    pub(super) completed: &'a mut Completed,
    /// Its mark says when the processing begins.
    pub(super) clock: &'a mut Clock,
}

/// How far a transaction goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Through all its steps.
    Whole,
    /// Through all its steps, and the output of the first step is shown.
    Shown,
    /// Through the first step only, and its output is shown.
    FirstStep,
}

/// How each step of a transaction went.
#[derive(Debug, Default)]
pub(super) struct StepRuns {
    pub(super) first: StepRun,
    pub(super) success: StepRun,
    pub(super) exception: StepRun,
}

/// What the steps of one transaction run with.
pub(super) struct StepRunner<'a> {
    pub(super) context: &'a RunContext,
    pub(super) transaction: &'a Transaction,
    pub(super) receipt: Option<&'a Receipt>,
    role: RoleInfo,
    scope: Option<Scope>,
    /// What is recorded of the transaction, if it is sampled.
    recording: Option<Box<Recording>>,
    clock: &'a mut Clock,
    /// When process and success have to be over.
    deadline: Option<Instant>,
    began: Instant,
    timings: Timings,
    /// The first attempt of a step that was not over at its first poll.
    begun: Option<Begun>,
}

impl<'a> Processing<'a> {
    /// Begins to process a transaction, at the time that the clock is marked with.
    pub(super) fn new(role: RoleInfo, given: Given<'a>) -> Self {
        let Given { context, transaction, receipt, completed, clock } = given;
        let (trace, recording) = match &context.trace {
            Some(trace) => {
                let (place, recording) = trace.transaction(transaction, receipt.and_then(Receipt::batch));
                (Some(place), recording)
            }
            // What comes with a trace goes on with it, though nothing is recorded here.
            None => (Place::of(transaction.metadata()), None),
        };
        // Nobody reads it when nothing is logged at all, and nothing traced.
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

    /// The lifecycle of the transaction, and its first action. A transaction that was delivered too often is rejected
    /// without being looked at: it may be what kills workers.
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

    /// Takes in that the transaction could not be decoded.
    pub(super) fn undecodable(&mut self, error: TransactionError) -> Event {
        let StepRunner { context, role, timings, clock, .. } = &mut self.runner;
        timings.ended(role.first, End::Failed(error.category()));
        context.meters.attempted(role.first.as_str(), Some(error.category()));
        self.runs.first = StepRun { attempts: 1, elapsed: Some(clock.lap()), error: Some(error) };
        Event::Failed
    }

    /// Takes a hybrid's outbound transactions through their steps, within the time limit of the inbound transaction.
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
                let message = "the transaction's time limit ran out before all it made went through";
                TransactionError::timeout(message)
            }
        });
        Event::Failed
    }

    /// Ends the processing; a rejected transaction goes to the dead-letter connector first, if one is named.
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
                Some(Failure { letter: Letter::Waits(unsent), .. }) => unsent.record(recording),
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

    /// What went wrong, and what becomes of the delivery: it is done if the dead-letter connector has it. Nothing if it
    /// was to become a dead letter, and is not held any more.
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
        let mut failure = Box::new(Failure { error, scope, exception, letter: Letter::None });
        let (Disposition::Reject, Some(dead_letter)) = (disposition, &runner.context.dead_letter) else {
            return Some((Some(failure), disposition));
        };
        failure.letter = runner.dead_letter(dead_letter, &failure.error, attempts).await;
        runner.clock.lap();
        if !failure.is_dead_lettered() && runner.is_stale() {
            runner.drop_stale();
            return None;
        }
        let disposition = if failure.is_dead_lettered() { Disposition::Ack } else { Disposition::Requeue };
        Some((Some(failure), disposition))
    }

    /// Drops what the steps have left. An error of the task's may panic when it is dropped; that changes nothing of what
    /// became of the transaction.
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
    /// The error that the exception step is about.
    pub(super) fn split_error(&mut self) -> (Option<&TransactionError>, &mut StepRun) {
        (self.success.error.as_ref().or(self.first.error.as_ref()), &mut self.exception)
    }

    /// How many attempts the step took that came last before the exception step.
    fn attempts(&self) -> u32 {
        if self.success.attempts > 0 { self.success.attempts } else { self.first.attempts }
    }
}

impl<'a> StepRunner<'a> {
    /// Polls the first attempt of a step; none if the step is not over by that: then [`run`](Self::run) goes on with it.
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

    /// Runs the attempts of a step, and writes down how they went.
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

    /// The retry policy of a step, and when the step has to be over.
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
        // The polls of a blocking step are none of its own.
        if !self.role.blocking {
            self.clock.alarm.polls.watch(self.clock.mark);
        }
    }

    /// Takes the time of a step that is over, and looks whether it blocked its thread.
    #[inline]
    fn lap(&mut self, step: Step) -> Nanos {
        let elapsed = self.clock.lap();
        if !self.role.blocking {
            self.clock.alarm.polls.ended((self.role.task, step), (elapsed.get(), self.clock.mark));
        }
        elapsed
    }

    /// Whether the source has lost hold of the delivery: the other side hands it out again.
    pub(super) fn is_stale(&self) -> bool {
        self.context.is_stale(self.receipt)
    }

    pub(super) fn drop_stale(&mut self) {
        let (task, transaction_id) = (self.role.task, self.transaction.id());
        Scope::enter(&mut self.scope, || DroppedStale { task, transaction_id }.emit());
    }

    /// Hands a rejected transaction to the dead-letter connector, with the reason. In a loop that is tried once here;
    /// a letter that is not taken, or that others wait before, waits apart from the lane.
    async fn dead_letter(&mut self, output: &Output, error: &TransactionError, attempts: u32) -> Letter {
        let letter = self.letter(error, attempts);
        let apart = self.context.postponed.as_deref();
        if apart.is_some_and(DeadLetters::any) && !self.context.drain.is_cancelled() {
            return Letter::Waits(Box::new(Unsent::new(letter)));
        }
        self.clock.alarm.polls.rest();
        let (context, receipt) = (self.context, self.receipt);
        let dispatch = || {
            let letter = (!context.is_stale(receipt)).then(|| letter.clone());
            async move {
                match letter {
                    Some(letter) => output.dispatch_past_buffer(letter).await,
                    // Of this category, because no other attempt is to be made.
                    None => Err(TransactionError::business("the source hands it out again")),
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
                Letter::Taken
            }
            StepResult::Interrupted => Letter::Refused,
            StepResult::Failed(_) if context.is_stale(receipt) => Letter::Refused,
            StepResult::Failed(error) if apart.is_some() => {
                Letter::Waits(Box::new(Unsent::failed(letter, error)))
            }
            StepResult::Failed(error) => {
                let (task, transaction_id) = (self.role.task, self.transaction.id());
                let refused = || DeadLetterFailed { task, transaction_id, error: &error }.emit();
                Scope::enter(&mut self.scope, refused);
                Letter::Refused
            }
        }
    }

    /// The transaction with the reason why it is rejected.
    fn letter(&self, error: &TransactionError, attempts: u32) -> Transaction {
        let unreadable = self.transaction.payload().is_broken().then_some((key::UNREADABLE, true.into()));
        let reason = [
            (key::ERROR, Value::from(error.message())),
            (key::CATEGORY, error.category().as_str().into()),
            (key::ATTEMPTS, attempts.into()),
            (key::TASK, self.role.task.into()),
        ];
        self.transaction.annotate(reason.into_iter().chain(unreadable))
    }
}

/// What is done next to the steps belongs to the transaction itself.
fn stand_apart(scope: &mut Option<Scope>, recording: Option<&Recording>) {
    if let (Some(scope), Some(recording)) = (scope, recording) {
        scope.stand_at(recording.context());
    }
}
