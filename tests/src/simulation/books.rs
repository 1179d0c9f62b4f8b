//! Keeps the checker's state of deliveries and their lives while it reads a log.

use std::collections::BTreeMap;

use ergon::connector::{Disposition, ItemOutcome};
use ergon::policy::{ConsumerPolicy, OnHandlerFailure, RetryPolicy};
use ergon::telemetry::Step;
use ergon::transaction::Category;

use super::event::{How, Life};

/// What is known of all deliveries so far.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) deliveries: BTreeMap<u64, Delivery>,
    pub(super) lives: BTreeMap<Life, Lived>,
    /// Handlers that were entered and not left.
    pub(super) running: usize,
    /// When the run was told to stop, or its time was over: since then, deliveries may be given back on their way.
    pub(super) stopped: Option<u64>,
    /// A fetch failed: if that ended the run, deliveries that were not begun may be given back.
    pub(super) fetch_failed: bool,
    /// A dead letter was not taken: if that ended the run, its delivery may be given back.
    pub(super) letter_failed: bool,
    /// What is right only if the run ends as failed.
    pub(super) only_if_failed: Option<&'static str>,
}

/// What is known of one delivery.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) transaction: usize,
    pub(super) id: usize,
    pub(super) deliveries: u32,
    pub(super) settled: Option<Settled>,
}

/// How a delivery was settled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settled {
    pub(super) disposition: Disposition,
    pub(super) applied: bool,
    pub(super) told: ItemOutcome,
}

/// What is known of one life.
#[derive(Debug, Default)]
pub(super) struct Lived {
    /// Process, success, exception.
    pub(super) steps: [Handler; 3],
    /// The handler that runs, since when.
    pub(super) open: Option<(Step, u64)>,
    /// When its first handler began.
    pub(super) began: u64,
    /// When its last handler ended.
    pub(super) ended: u64,
    /// Where in the log its first and its last event stand.
    pub(super) span: (usize, usize),
    /// The dead-letter connector has it.
    pub(super) letter: bool,
    pub(super) letters_tried: bool,
}

/// What is known of the attempts of one step.
#[derive(Debug, Default)]
pub(super) struct Handler {
    pub(super) attempts: u32,
    pub(super) last: Option<How>,
}

/// What a life came to, as far as the disposition depends on it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Outcome {
    /// Nothing yet, or it was interrupted.
    Open,
    Succeeded,
    Decided(Disposition),
    /// The exception handler failed for good, or may have: it was cancelled in its last attempt.
    HandlerFailed,
}

impl Lived {
    pub(super) fn step(&self, step: Step) -> &Handler {
        let [process, success, exception] = &self.steps;
        match step {
            Step::Process | Step::Prepare => process,
            Step::Success => success,
            Step::Exception => exception,
        }
    }

    pub(super) fn step_mut(&mut self, step: Step) -> &mut Handler {
        let [process, success, exception] = &mut self.steps;
        match step {
            Step::Process | Step::Prepare => process,
            Step::Success => success,
            Step::Exception => exception,
        }
    }

    /// Whether a handler was entered.
    pub(super) fn has_handlers(&self) -> bool {
        self.steps.iter().any(|step| step.attempts > 0)
    }

    pub(super) fn succeeded(&self) -> bool {
        self.step(Step::Success).last == Some(How::Completed)
    }

    pub(super) fn decided(&self) -> Option<Disposition> {
        match self.step(Step::Exception).last {
            Some(How::Decided(disposition)) => Some(disposition),
            _ => None,
        }
    }

    /// Says why a handler may not begin now, if so.
    pub(super) fn may_begin(&self, step: Step, decodes: bool) -> Result<(), &'static str> {
        let (process, success) = (self.step(Step::Process), self.step(Step::Success));
        let processed = process.last == Some(How::Completed);
        let holds = |holds: bool, why| if holds { Ok(()) } else { Err(why) };
        let again = self.step(step).last;
        holds(again != Some(How::Completed), "it completed before")?;
        holds(again != Some(How::Failed(Category::Business)), "a business error is not retried")?;
        holds(self.decided().is_none(), "the exception handler completed before")?;
        holds(!self.succeeded(), "the success handler completed before")?;
        holds(!self.letters_tried, "it was on its way to the dead-letter connector")?;
        let failed = self.step(Step::Exception).attempts > 0;
        match step {
            Step::Process | Step::Prepare => {
                holds(decodes, "its payload does not decode")?;
                holds(success.attempts == 0 && !failed, "process was over")
            }
            Step::Success => {
                holds(processed, "process did not complete")?;
                holds(!failed, "the exception handler ran before")
            }
            Step::Exception => {
                holds(!decodes || process.attempts > 0, "nothing failed")?;
                holds(!processed || success.attempts > 0, "process completed")
            }
        }
    }

    /// What it came to.
    pub(super) fn outcome(&self, policy: &ConsumerPolicy) -> Outcome {
        if self.succeeded() {
            return Outcome::Succeeded;
        }
        let exception = self.step(Step::Exception);
        match exception.last {
            Some(How::Decided(disposition)) => Outcome::Decided(disposition),
            Some(_) if exception.is_used_up(&policy.exception) => Outcome::HandlerFailed,
            _ => Outcome::Open,
        }
    }
}

impl Handler {
    fn is_used_up(&self, policy: &RetryPolicy) -> bool {
        self.attempts >= policy.max_attempts || self.last == Some(How::Failed(Category::Business))
    }
}

impl Books {
    /// Takes in that the run is to stop; the first time counts.
    pub(super) fn stop(&mut self, at: u64) {
        self.stopped.get_or_insert(at);
    }

    /// Whether the run was told to stop before this millisecond. Within it, what was due at the same time as the stop
    /// may still come first.
    pub(super) fn stopped_before(&self, at: u64) -> bool {
        self.stopped.is_some_and(|stop| stop < at)
    }

    /// When a delivery may be tried again that was held back after its last life.
    pub(super) fn held_until(&self, life: Life) -> Option<u64> {
        let (_, last) = self.last_life(life.delivery)?;
        match last.decided() {
            Some(Disposition::RetryAfter(wait)) => {
                Some(last.ended.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)))
            }
            _ => None,
        }
    }

    /// Remembers a settlement that is right only because the run is failing.
    pub(super) fn note_failure(&mut self, policy: &ConsumerPolicy, delivery: u64, disposition: Disposition) {
        let fetch_failed = std::mem::replace(&mut self.fetch_failed, false);
        let letter_failed = std::mem::replace(&mut self.letter_failed, false);
        let without = self.unjustified(policy, delivery, disposition);
        (self.fetch_failed, self.letter_failed) = (fetch_failed, letter_failed);
        self.only_if_failed = self.only_if_failed.or(without);
    }

    /// The latest life of a delivery.
    pub(super) fn last_life(&self, delivery: u64) -> Option<(&Life, &Lived)> {
        let all = Life { delivery, round: 0 }..=Life { delivery, round: u32::MAX };
        self.lives.range(all).next_back()
    }

    /// Whether a delivery is settled only after the dead-letter connector has taken it.
    pub(super) fn is_dead_letter(&self, policy: &ConsumerPolicy, delivery: u64) -> bool {
        policy.dead_letter.is_some() && self.is_refused(policy, delivery)
    }

    /// Whether a delivery is to be rejected.
    fn is_refused(&self, policy: &ConsumerPolicy, delivery: u64) -> bool {
        let Some(known) = self.deliveries.get(&delivery) else { return false };
        let last = self.last_life(delivery);
        let round = last.map_or(known.deliveries, |(life, _)| life.round);
        let outcome = last.map_or(Outcome::Open, |(_, life)| life.outcome(policy));
        let poison = known.deliveries > policy.max_deliveries || round > policy.max_deliveries;
        // One that was held comes back for another round, in which it may be poison without any handler running.
        let held_too_often =
            matches!(outcome, Outcome::Decided(Disposition::RetryAfter(_))) && round >= policy.max_deliveries;
        poison
            || held_too_often
            || outcome == Outcome::Decided(Disposition::Reject)
            || (outcome == Outcome::HandlerFailed && policy.on_handler_failure == OnHandlerFailure::Reject)
    }

    /// Says why a delivery may not be settled like this, if so.
    pub(super) fn unjustified(
        &self,
        policy: &ConsumerPolicy,
        delivery: u64,
        disposition: Disposition,
    ) -> Option<&'static str> {
        let nothing = Lived::default();
        let last = self.last_life(delivery);
        let life = last.map_or(&nothing, |(_, life)| life);
        let outcome = life.outcome(policy);
        let refused = self.is_refused(policy, delivery);
        let asked_for = outcome == Outcome::Decided(disposition);
        match disposition {
            Disposition::Ack if asked_for || outcome == Outcome::Succeeded || (refused && life.letter) => {
                None
            }
            Disposition::Ack => Some("acked before success, a decision to ack, or a confirmed dead letter"),
            Disposition::Reject if policy.dead_letter.is_some() => {
                Some("rejected by the source, although a dead-letter connector is named")
            }
            Disposition::Reject if refused => None,
            Disposition::Reject => Some("rejected without a reason"),
            Disposition::RetryAfter(_) if asked_for && self.stopped.is_some() => None,
            Disposition::RetryAfter(_) => Some("put off by the source, although no stop asked for it"),
            Disposition::Requeue => self.unjustified_requeue(policy, last.map(|(_, life)| life), refused),
        }
    }

    fn unjustified_requeue(
        &self,
        policy: &ConsumerPolicy,
        life: Option<&Lived>,
        refused: bool,
    ) -> Option<&'static str> {
        let stopping = self.stopped.is_some();
        let closing = stopping || self.fetch_failed;
        // It waits for the dead-letter connector, until the run ends.
        let letter_waits = refused && policy.dead_letter.is_some() && (closing || self.letter_failed);
        let Some(life) = life else {
            return (!closing && !letter_waits).then_some("given back without having been begun");
        };
        if life.letter {
            return Some("given back, although the dead-letter connector has it");
        }
        match life.outcome(policy) {
            Outcome::Succeeded => Some("given back after it had succeeded"),
            Outcome::Decided(Disposition::Ack) => Some("given back, although its handler decided to ack"),
            Outcome::Decided(Disposition::Reject) | Outcome::HandlerFailed if refused => {
                let cut_off = stopping && life.decided().is_none();
                (!letter_waits && !cut_off).then_some("given back, although it was rejected")
            }
            Outcome::Decided(Disposition::RetryAfter(_)) => {
                (!closing && !letter_waits).then_some("given back before its time to be tried again")
            }
            Outcome::Decided(_) | Outcome::HandlerFailed => None,
            Outcome::Open => (!stopping && !letter_waits).then_some("given up on its way without a stop"),
        }
    }
}
