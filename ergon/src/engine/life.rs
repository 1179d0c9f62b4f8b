//! The life of one transaction: runs the steps that the [lifecycle](super::lifecycle) asks for.

use tokio::time::Instant;
use tracing::level_filters::LevelFilter;

use super::attempt::{Attempts, Finished, Waits, guarded};
use super::clock::{Clock, Nanos};
use super::dead_letters::{APART, DeadLetters, IN_PLACE, Unsent};
use super::lifecycle::{Action, Event, Lifecycle, Outcome};
use super::lived::{Completed, Failure, Letter, StepRun};
use super::produce::Through;
use super::steps::Steps;
use super::terms::RunContext;
use crate::connector::{Disposition, Output, Receipt};
use crate::telemetry::event::{DeadLetterFailed, DroppedStale};
use crate::telemetry::metrics::{End, Timings};
use crate::telemetry::propagation::Place;
use crate::telemetry::traces::{Ending, Recording};
use crate::telemetry::{Scope, Step};
use crate::transaction::{Transaction, TransactionError, key, panic};

/// One transaction on its way through its steps.
pub(super) struct Processing<'a, S: Steps> {
    steps: &'a S,
    terms: &'a RunContext,
    transaction: &'a Transaction,
    receipt: Option<&'a Receipt>,
    scope: Option<Scope>,
    /// What is recorded of it, if it is sampled.
    recording: Option<Box<Recording>>,
    /// The transaction decoded, and what the first step made of it.
    made: Option<Made<S>>,
    /// Where it is written down what became of the transaction, at the end.
    lived: &'a mut Completed,
    clock: &'a mut Clock,
    /// When process and success have to be over.
    deadline: Option<Instant>,
    began: Instant,
    course: Timings,
    pub(super) process: StepRun,
    pub(super) success: StepRun,
    pub(super) exception: StepRun,
}

type Made<S> =
    (<S as Steps>::Held<Transaction<<S as Steps>::Payload>>, <S as Steps>::Held<<S as Steps>::Output>);

impl<'a, S: Steps> Processing<'a, S> {
    /// Begins a life, at the time that the clock is marked with.
    #[inline]
    pub(super) fn new(
        steps: &'a S,
        terms: &'a RunContext,
        transaction: &'a Transaction,
        receipt: Option<&'a Receipt>,
        (lived, clock): (&'a mut Completed, &'a mut Clock),
    ) -> Self {
        let (trace, recording) = match &terms.trace {
            Some(trace) => {
                let (place, recording) = trace.transaction(transaction, receipt.and_then(Receipt::batch));
                (Some(place), recording)
            }
            // What comes with a trace goes on with it, though nothing is recorded here.
            None => (Place::of(transaction.metadata()), None),
        };
        // Nobody reads it when nothing is logged at all, and nothing traced.
        let scope = (trace.is_some() || LevelFilter::current() != LevelFilter::OFF).then(|| Scope {
            task: S::NAME,
            transaction_id: transaction.shared_id().clone(),
            step: S::FIRST,
            attempt: 0,
            trace,
        });
        Self {
            steps,
            terms,
            transaction,
            receipt,
            scope,
            recording,
            made: None,
            lived,
            deadline: terms.policy.transaction_timeout.and_then(|limit| clock.mark.checked_add(limit)),
            began: clock.mark,
            course: terms.meters.begin(clock.mark, transaction),
            clock,
            process: StepRun::default(),
            success: StepRun::default(),
            exception: StepRun::default(),
        }
    }

    /// What process made, if it ended well.
    pub(super) fn output(&self) -> Option<&S::Output> {
        self.made.as_ref().map(|(_, output)| &**output)
    }

    /// Runs all steps, and the dispatch to the dead-letter connector if the transaction is rejected. What became of it
    /// is written down at the end.
    pub(super) async fn live(&mut self) {
        if self.is_poison() {
            return self.end(Outcome::Handled, Disposition::Reject).await;
        }
        let (mut life, mut action) = Lifecycle::begin(self.terms.on_handler_failure());
        loop {
            let event = match action {
                Action::Run(Step::Process | Step::Prepare) => match self.process().await {
                    Event::Completed if self.terms.outbound.is_some() => self.outbound().await,
                    event => event,
                },
                Action::Run(Step::Success) => self.success().await,
                // The other side hands it out again: whether it is wrong is found out there.
                Action::Run(Step::Exception) if self.is_stale() => {
                    self.drop_stale();
                    Event::Aborted
                }
                Action::Run(Step::Exception) => self.exception().await,
                Action::Settle(outcome, disposition) => return self.end(outcome, disposition).await,
                Action::Nothing => Event::Aborted,
            };
            action = life.on(event);
        }
    }

    /// Runs the first step, decoding included.
    pub(super) async fn process(&mut self) -> Event {
        let transaction = match panic::guard(|| self.steps.open(self.transaction, self.receipt)) {
            Ok(Ok(transaction)) => transaction,
            Ok(Err(error)) | Err(error) => return self.undecodable(error),
        };
        let steps = self.steps;
        watch::<S>(self.clock);
        let mut attempts = Attempts {
            policy: &self.terms.policy.process,
            name: S::FIRST.as_str(),
            scope: &mut self.scope,
            recording: self.recording.as_deref_mut(),
            deadline: self.deadline,
            waits: Waits::Unless(&self.terms.drain),
            alarm: &mut self.clock.alarm,
            meters: &self.terms.meters,
            made: 0,
        };
        let mut step = || {
            transaction.rewind(0);
            steps.first(&transaction)
        };
        let finished = attempts.run(&mut step).await;
        self.process.attempts = attempts.made;
        self.process.elapsed = Some(self.lap(S::FIRST));
        self.course.ended(S::FIRST, finished.end());
        match finished {
            Finished::Done(output) => {
                self.made = Some((transaction, output.into()));
                Event::Completed
            }
            Finished::Failed(error) => {
                self.process.error = Some(error);
                // What it was given may panic when it is dropped; that changes nothing of what became of it.
                let _ = panic::guard(|| drop(transaction));
                Event::Failed
            }
            Finished::Interrupted => {
                let _ = panic::guard(|| drop(transaction));
                Event::Aborted
            }
        }
    }

    /// Takes a hybrid's outbound transactions through their lives, within the time limit of the inbound one.
    async fn outbound(&mut self) -> Event {
        let (Some((_, output)), Some(outbound)) = (&self.made, &self.terms.outbound) else {
            return Event::Completed;
        };
        stand_apart(&mut self.scope, self.recording.as_deref());
        let steps = self.steps;
        let through =
            async { self.clock.alarm.within(self.deadline, steps.outbound(outbound, output)).await };
        let through = guarded(&mut self.scope, through).await;
        self.clock.lap();
        if let Some(recording) = &mut self.recording {
            recording.resume();
        }
        match through {
            Ok(Some(Ok(Through::Whole))) => Event::Completed,
            Ok(Some(Ok(Through::GivenUp))) => Event::Aborted,
            Ok(Some(Err(error))) | Err(error) => {
                self.process.error = Some(error);
                Event::Failed
            }
            Ok(None) => {
                self.terms.meters.timed_out(S::FIRST.as_str());
                let message = "the transaction's time limit ran out before all it made went through";
                self.process.error = Some(TransactionError::timeout(message));
                Event::Failed
            }
        }
    }

    fn undecodable(&mut self, error: TransactionError) -> Event {
        self.course.ended(S::FIRST, End::Failed(error.category()));
        self.terms.meters.attempted(S::FIRST.as_str(), Some(error.category()));
        self.process = StepRun { attempts: 1, elapsed: Some(self.clock.lap()), error: Some(error) };
        Event::Failed
    }

    async fn success(&mut self) -> Event {
        // The lifecycle asks for this step only when process has made something.
        let Some((transaction, output)) = &self.made else { return Event::Aborted };
        enter(&mut self.scope, Step::Success);
        let (steps, children) = (self.steps, transaction.children());
        watch::<S>(self.clock);
        let mut attempts = Attempts {
            policy: &self.terms.policy.success,
            name: Step::Success.as_str(),
            scope: &mut self.scope,
            recording: self.recording.as_deref_mut(),
            deadline: self.deadline,
            waits: Waits::Unless(&self.terms.drain),
            alarm: &mut self.clock.alarm,
            meters: &self.terms.meters,
            made: 0,
        };
        let mut step = || {
            transaction.rewind(children);
            steps.success(transaction, output)
        };
        let finished = attempts.run(&mut step).await;
        self.success.attempts = attempts.made;
        self.success.elapsed = Some(self.lap(Step::Success));
        self.course.ended(Step::Success, finished.end());
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
        let (steps, transaction) = (self.steps, self.transaction);
        watch::<S>(self.clock);
        let mut attempts = Attempts {
            policy: &self.terms.policy.exception,
            name: Step::Exception.as_str(),
            scope: &mut self.scope,
            recording: self.recording.as_deref_mut(),
            deadline: None,
            waits: Waits::Unless(&self.terms.drain),
            alarm: &mut self.clock.alarm,
            meters: &self.terms.meters,
            made: 0,
        };
        let mut step = || steps.exception(transaction, error);
        let finished = attempts.run(&mut step).await;
        self.exception.attempts = attempts.made;
        self.exception.elapsed = Some(self.lap(Step::Exception));
        self.course.ended(Step::Exception, finished.end());
        match finished {
            Finished::Done(disposition) => Event::Decided(disposition),
            Finished::Failed(error) => {
                self.exception.error = Some(error);
                Event::Failed
            }
            Finished::Interrupted => Event::Aborted,
        }
    }

    /// Takes the time of a step that is over, and looks whether it blocked its thread.
    #[inline]
    fn lap(&mut self, step: Step) -> Nanos {
        let elapsed = self.clock.lap();
        if !S::BLOCKING {
            self.clock.alarm.polls.ended((S::NAME, step), (elapsed, self.clock.mark));
        }
        elapsed
    }

    /// Ends the life; a rejected transaction goes to the dead-letter connector first, if one is named.
    async fn end(&mut self, mut outcome: Outcome, disposition: Disposition) {
        let mut failure = None;
        let mut settled_as = disposition;
        if matches!(outcome, Outcome::Handled | Outcome::HandlerFailed) {
            stand_apart(&mut self.scope, self.recording.as_deref());
            match self.fail(disposition).await {
                Some(failed) => (failure, settled_as) = failed,
                None => (outcome, settled_as) = (Outcome::Aborted, Disposition::Requeue),
            }
        }
        if let Some(recording) = self.recording.take() {
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
        *self.lived = Completed {
            outcome,
            disposition: settled_as,
            step: S::FIRST,
            first: self.process.elapsed,
            success: self.success.elapsed,
            retries: [&self.process, &self.success, &self.exception]
                .iter()
                .map(|step| step.attempts.saturating_sub(1))
                .sum(),
            course: self.course.over(self.began, self.clock.mark),
            failure,
        };
    }

    /// What went wrong, and what becomes of the delivery: it is done if the dead-letter connector has it. Nothing if it
    /// was to become a dead letter, and is not held any more.
    async fn fail(&mut self, disposition: Disposition) -> Option<(Option<Box<Failure>>, Disposition)> {
        let (step, run) = match &mut self.success {
            run @ StepRun { error: Some(_), .. } => (Step::Success, run),
            _ => (S::FIRST, &mut self.process),
        };
        let Some(error) = run.error.take() else { return Some((None, disposition)) };
        let scope = self.scope.clone().map(|scope| Scope { step, attempt: run.attempts, ..scope });
        let exception = StepRun { error: self.exception.error.take(), ..self.exception };
        let mut failure = Box::new(Failure { error, scope, exception, letter: Letter::None });
        let (Disposition::Reject, Some(dead_letter)) = (disposition, &self.terms.dead_letter) else {
            return Some((Some(failure), disposition));
        };
        failure.letter = self.dead_letter(dead_letter, &failure.error).await;
        self.clock.lap();
        if !failure.is_dead_lettered() && self.is_stale() {
            self.drop_stale();
            return None;
        }
        let disposition = if failure.is_dead_lettered() { Disposition::Ack } else { Disposition::Requeue };
        Some((Some(failure), disposition))
    }

    /// Whether the source has lost hold of the delivery: the other side hands it out again.
    fn is_stale(&self) -> bool {
        is_stale(self.terms, self.receipt)
    }

    fn drop_stale(&mut self) {
        let (task, transaction_id) = (S::NAME, self.transaction.id());
        Scope::enter(&mut self.scope, || DroppedStale { task, transaction_id }.emit());
    }

    /// Hands a rejected transaction to the dead-letter connector, with the reason. In a loop that is tried once here;
    /// a letter that is not taken, or that others wait before, waits apart from the lane.
    async fn dead_letter(&mut self, dead_letter: &Output, error: &TransactionError) -> Letter {
        let attempts = if self.success.attempts > 0 { self.success.attempts } else { self.process.attempts };
        let unreadable = self.transaction.payload().is_broken().then_some((key::UNREADABLE, true.into()));
        let reason = [
            (key::ERROR, serde_json::Value::from(error.message())),
            (key::CATEGORY, error.category().as_str().into()),
            (key::ATTEMPTS, attempts.into()),
            (key::TASK, S::NAME.into()),
        ];
        let letter = self.transaction.annotate(reason.into_iter().chain(unreadable));
        let apart = self.terms.postponed.as_deref();
        if apart.is_some_and(DeadLetters::any) && !self.terms.drain.is_cancelled() {
            return Letter::Waits(Box::new(Unsent::new(letter)));
        }
        self.clock.alarm.polls.rest();
        let mut dispatch = Attempts {
            policy: if apart.is_some() { &APART } else { &IN_PLACE },
            name: "dead_letter",
            scope: &mut self.scope,
            recording: self.recording.as_deref_mut(),
            deadline: None,
            waits: Waits::Unless(&self.terms.drain),
            alarm: &mut self.clock.alarm,
            meters: &self.terms.meters,
            made: 0,
        };
        let (terms, receipt) = (self.terms, self.receipt);
        let mut step = || {
            let letter = (!is_stale(terms, receipt)).then(|| letter.clone());
            async move {
                match letter {
                    Some(letter) => dead_letter.dispatch(letter).await,
                    // Of this category, because no other attempt is to be made.
                    None => Err(TransactionError::business("the source hands it out again")),
                }
            }
        };
        match dispatch.run(&mut step).await {
            Finished::Done(()) => {
                self.terms.meters.attempted("dead_letter", None);
                Letter::Taken
            }
            Finished::Interrupted => Letter::Refused,
            Finished::Failed(_) if is_stale(terms, receipt) => Letter::Refused,
            Finished::Failed(error) if apart.is_some() => {
                Letter::Waits(Box::new(Unsent::failed(letter, error)))
            }
            Finished::Failed(error) => {
                let (task, transaction_id) = (S::NAME, self.transaction.id());
                let told = || DeadLetterFailed { task, transaction_id, error: &error }.emit();
                Scope::enter(&mut self.scope, told);
                Letter::Refused
            }
        }
    }

    /// A transaction that was delivered too often is rejected without being looked at: it may be what kills workers.
    fn is_poison(&mut self) -> bool {
        let (deliveries, most) = (self.transaction.deliveries(), self.terms.policy.max_deliveries);
        if deliveries > most {
            let message = format!("delivered {deliveries} times, more than `max_deliveries` = {most} allows");
            self.process.error = Some(TransactionError::business(message));
        }
        deliveries > most
    }
}

pub(super) fn is_stale(terms: &RunContext, receipt: Option<&Receipt>) -> bool {
    receipt.zip(terms.source.as_ref()).is_some_and(|(receipt, source)| !source.holds_receipt(receipt))
}

/// Watches the polls of a step that begins now; those of a blocking step are none of its own.
#[inline]
fn watch<S: Steps>(clock: &mut Clock) {
    if !S::BLOCKING {
        clock.alarm.polls.watch(clock.mark);
    }
}

/// What is done beside the steps stands at the transaction itself.
fn stand_apart(scope: &mut Option<Scope>, recording: Option<&Recording>) {
    if let (Some(scope), Some(recording)) = (scope, recording) {
        scope.stand_at(recording.context());
    }
}

fn enter(scope: &mut Option<Scope>, step: Step) {
    if let Some(scope) = scope {
        scope.step = step;
    }
}
