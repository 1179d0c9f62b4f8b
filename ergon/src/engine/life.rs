//! The life of one transaction: runs the steps that the [lifecycle](super::lifecycle) asks for.

use std::time::Duration;

use tokio::time::Instant;
use tracing::level_filters::LevelFilter;

use super::attempt::{Attempts, Finished};
use super::consume::Run;
use super::lifecycle::{Action, Event, Lifecycle, Outcome};
use super::panic;
use crate::connector::{Disposition, Output};
use crate::policy::RetryPolicy;
use crate::task::Consumer;
use crate::telemetry::event::DeadLetterFailed;
use crate::telemetry::{Scope, Step};
use crate::transaction::{Transaction, TransactionError, key};

/// How the dead-letter connector is retried before the delivery is given back.
const DEAD_LETTER: RetryPolicy = RetryPolicy {
    max_attempts: 5,
    timeout: Some(Duration::from_secs(30)),
    backoff: Duration::from_millis(200),
    backoff_cap: Some(Duration::from_secs(5)),
    jitter: 0.2,
    ..RetryPolicy::DEFAULT
};

/// One transaction on its way through its steps.
pub(super) struct Life<'a, T: Consumer> {
    task: &'a T,
    run: &'a Run,
    transaction: &'a Transaction,
    scope: Option<Scope>,
    /// The transaction decoded, and what process made of it.
    made: Option<(Transaction<T::Payload>, T::Output)>,
    /// When the running step began.
    mark: Instant,
    /// When process and success have to be over.
    deadline: Option<Instant>,
    pub(super) process: StepRun,
    pub(super) success: StepRun,
    pub(super) exception: StepRun,
}

/// How one step of a life went.
#[derive(Debug, Default)]
pub(super) struct StepRun {
    /// How many attempts were begun; none if the step did not run.
    pub(super) attempts: u32,
    pub(super) elapsed: Option<Duration>,
    pub(super) error: Option<TransactionError>,
}

/// What became of a transaction.
#[derive(Debug)]
pub(super) struct Lived {
    pub(super) outcome: Outcome,
    pub(super) disposition: Disposition,
    pub(super) process: Option<Duration>,
    pub(super) success: Option<Duration>,
    /// Attempts after the first, of all steps.
    pub(super) retries: u32,
    /// What went wrong, if anything did; apart, because most transactions succeed.
    pub(super) failure: Option<Box<Failure>>,
}

/// What is known of a transaction that went the exception way.
#[derive(Debug)]
pub(super) struct Failure {
    /// The error that ended process or success.
    pub(super) error: TransactionError,
    /// The error that ended the exception handler.
    pub(super) handler: Option<TransactionError>,
    pub(super) exception: Option<Duration>,
    /// The dead-letter connector has it; the source is told that it is done.
    pub(super) dead_lettered: bool,
}

impl Lived {
    /// What becomes of a delivery that was given up, or not begun.
    pub(super) fn aborted() -> Self {
        Self {
            outcome: Outcome::Aborted,
            disposition: Disposition::Requeue,
            process: None,
            success: None,
            retries: 0,
            failure: None,
        }
    }
}

impl<'a, T: Consumer> Life<'a, T> {
    /// Begins a life, at the time `mark`.
    pub(super) fn new(task: &'a T, run: &'a Run, transaction: &'a Transaction, mark: Instant) -> Self {
        // Nobody reads it when nothing is logged at all.
        let scope = (LevelFilter::current() != LevelFilter::OFF).then(|| Scope {
            task: T::NAME,
            transaction_id: transaction.shared_id().clone(),
            step: Step::Process,
            attempt: 0,
        });
        Self {
            task,
            run,
            transaction,
            scope,
            made: None,
            mark,
            deadline: run.policy.transaction_timeout.and_then(|limit| mark.checked_add(limit)),
            process: StepRun::default(),
            success: StepRun::default(),
            exception: StepRun::default(),
        }
    }

    /// When the last step ended.
    pub(super) fn mark(&self) -> Instant {
        self.mark
    }

    /// What process made, if it ended well.
    pub(super) fn output(&self) -> Option<&T::Output> {
        self.made.as_ref().map(|(_, output)| output)
    }

    /// Runs all steps, and the dispatch to the dead-letter connector if the transaction is rejected.
    pub(super) async fn live(&mut self) -> Lived {
        if self.is_poison() {
            return self.end(Outcome::Handled, Disposition::Reject).await;
        }
        let (mut life, mut action) = Lifecycle::begin(self.run.on_handler_failure());
        loop {
            let event = match action {
                Action::Run(Step::Process) => self.process().await,
                Action::Run(Step::Success) => self.success().await,
                Action::Run(Step::Exception) => self.exception().await,
                Action::Settle(outcome, disposition) => return self.end(outcome, disposition).await,
                Action::Nothing => Event::Aborted,
            };
            action = life.on(event);
        }
    }

    /// Runs the process step, decoding included.
    pub(super) async fn process(&mut self) -> Event {
        let transaction = match panic::guard(|| self.transaction.decoded::<T::Payload>()) {
            Ok(Ok(transaction)) => transaction,
            Ok(Err(undecodable)) => return self.undecodable(undecodable.into()),
            Err(panicked) => return self.undecodable(panicked),
        };
        let task = self.task;
        let mut attempts = Attempts {
            policy: &self.run.policy.process,
            name: Step::Process.as_str(),
            scope: &mut self.scope,
            deadline: self.deadline,
            stop: Some(&self.run.drain),
            made: 0,
        };
        let mut step = || {
            transaction.rewind(0);
            task.process_transaction(&transaction)
        };
        let finished = attempts.run(&mut step).await;
        self.process.attempts = attempts.made;
        self.process.elapsed = Some(self.lap());
        match finished {
            Finished::Done(output) => {
                self.made = Some((transaction, output));
                Event::Completed
            }
            Finished::Failed(error) => {
                self.process.error = Some(error);
                Event::Failed
            }
            Finished::Interrupted => Event::Aborted,
        }
    }

    fn undecodable(&mut self, error: TransactionError) -> Event {
        self.process = StepRun { attempts: 1, elapsed: Some(self.lap()), error: Some(error) };
        Event::Failed
    }

    async fn success(&mut self) -> Event {
        // The lifecycle asks for this step only when process has made something.
        let Some((transaction, output)) = &self.made else { return Event::Aborted };
        enter(&mut self.scope, Step::Success);
        let (task, children) = (self.task, transaction.children());
        let mut attempts = Attempts {
            policy: &self.run.policy.success,
            name: Step::Success.as_str(),
            scope: &mut self.scope,
            deadline: self.deadline,
            stop: Some(&self.run.drain),
            made: 0,
        };
        let mut step = || {
            transaction.rewind(children);
            task.handle_process_success(transaction, output)
        };
        let finished = attempts.run(&mut step).await;
        self.success.attempts = attempts.made;
        self.success.elapsed = Some(self.lap());
        match finished {
            Finished::Done(()) => Event::Completed,
            Finished::Failed(error) => {
                self.success.error = Some(error);
                Event::Failed
            }
            Finished::Interrupted => Event::Aborted,
        }
    }

    async fn exception(&mut self) -> Event {
        let Some(error) = self.success.error.as_ref().or(self.process.error.as_ref()) else {
            return Event::Aborted;
        };
        enter(&mut self.scope, Step::Exception);
        let (task, transaction) = (self.task, self.transaction);
        let mut attempts = Attempts {
            policy: &self.run.policy.exception,
            name: Step::Exception.as_str(),
            scope: &mut self.scope,
            deadline: None,
            stop: Some(&self.run.drain),
            made: 0,
        };
        let mut step = || task.handle_process_exception(transaction, error);
        let finished = attempts.run(&mut step).await;
        self.exception.attempts = attempts.made;
        self.exception.elapsed = Some(self.lap());
        match finished {
            Finished::Done(disposition) => Event::Decided(disposition),
            Finished::Failed(error) => {
                self.exception.error = Some(error);
                Event::Failed
            }
            Finished::Interrupted => Event::Aborted,
        }
    }

    /// Ends the life; a rejected transaction goes to the dead-letter connector first, if one is named.
    async fn end(&mut self, outcome: Outcome, disposition: Disposition) -> Lived {
        let mut lived = Lived {
            outcome,
            disposition,
            process: self.process.elapsed,
            success: self.success.elapsed,
            retries: [&self.process, &self.success, &self.exception]
                .iter()
                .map(|step| step.attempts.saturating_sub(1))
                .sum(),
            failure: None,
        };
        if matches!(outcome, Outcome::Succeeded | Outcome::Aborted) {
            return lived;
        }
        let Some(error) = self.success.error.take().or(self.process.error.take()) else { return lived };
        let mut failure = Failure {
            error,
            handler: self.exception.error.take(),
            exception: self.exception.elapsed,
            dead_lettered: false,
        };
        if let (Disposition::Reject, Some(dead_letter)) = (disposition, &self.run.dead_letter) {
            failure.dead_lettered = self.dead_letter(dead_letter, &failure.error).await;
            lived.disposition = if failure.dead_lettered { Disposition::Ack } else { Disposition::Requeue };
        }
        lived.failure = Some(Box::new(failure));
        lived
    }

    /// Hands a rejected transaction to the dead-letter connector, with the reason; says whether it has it.
    async fn dead_letter(&mut self, dead_letter: &Output, error: &TransactionError) -> bool {
        let attempts = if self.success.attempts > 0 { self.success.attempts } else { self.process.attempts };
        let letter = self.transaction.annotate([
            (key::ERROR, serde_json::Value::from(error.message())),
            (key::CATEGORY, error.category().as_str().into()),
            (key::ATTEMPTS, attempts.into()),
            (key::TASK, T::NAME.into()),
        ]);
        let mut dispatch = Attempts {
            policy: &DEAD_LETTER,
            name: "dead_letter",
            scope: &mut self.scope,
            deadline: None,
            stop: Some(&self.run.drain),
            made: 0,
        };
        let mut step = || dead_letter.dispatch(letter.clone());
        match dispatch.run(&mut step).await {
            Finished::Done(()) => true,
            Finished::Interrupted => false,
            Finished::Failed(error) => {
                DeadLetterFailed { task: T::NAME, transaction_id: self.transaction.id(), error: &error }
                    .emit();
                false
            }
        }
    }

    /// A transaction that was delivered too often is rejected without being looked at: it may be what kills workers.
    fn is_poison(&mut self) -> bool {
        let (deliveries, most) = (self.transaction.deliveries(), self.run.policy.max_deliveries);
        if deliveries > most {
            let message = format!("delivered {deliveries} times, more than `max_deliveries` = {most} allows");
            self.process.error = Some(TransactionError::business(message));
        }
        deliveries > most
    }

    /// The time since the running step began; the next one begins now.
    fn lap(&mut self) -> Duration {
        let now = Instant::now();
        let elapsed = now.saturating_duration_since(self.mark);
        self.mark = now;
        elapsed
    }
}

fn enter(scope: &mut Option<Scope>, step: Step) {
    if let Some(scope) = scope {
        scope.step = step;
    }
}
