//! Keeps the checker's state of deliveries and their lives while it reads a log.

use std::collections::BTreeMap;

use ergon::connector::{Disposition, ItemOutcome};
use ergon::policy::{ConsumerPolicy, OnHandlerFailure, RetryPolicy};
use ergon::telemetry::Step;
use ergon::transaction::Category;

use super::event::{How, Life};

/// The state of all deliveries so far.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) deliveries: BTreeMap<u64, Delivery>,
    pub(super) lives: BTreeMap<Life, Lived>,
    /// Handlers that were called and have not ended.
    pub(super) running: usize,
    /// The time at which the run was stopped or its time limit ended. Since then, deliveries may be given back before
    /// their end.
    pub(super) stopped: Option<u64>,
    /// A fetch failed. If this failure ended the run, deliveries that were not started may be given back.
    pub(super) fetch_failed: bool,
    /// A dead letter was not accepted. If this ended the run, its delivery may be given back.
    pub(super) letter_failed: bool,
    /// Settlements that are right only if the run fails.
    pub(super) only_if_failed: Option<&'static str>,
}

/// The state of one delivery.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) transaction: usize,
    pub(super) id: usize,
    pub(super) deliveries: u32,
    pub(super) settled: Option<Settled>,
}

/// The settlement of a delivery.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settled {
    pub(super) disposition: Disposition,
    pub(super) applied: bool,
    pub(super) told: ItemOutcome,
}

/// The state of one life.
#[derive(Debug, Default)]
pub(super) struct Lived {
    /// Process, success, exception.
    pub(super) steps: [Handler; 3],
    /// The running handler, and its start.
    pub(super) open: Option<(Step, u64)>,
    /// The start of its first handler.
    pub(super) began: u64,
    /// The end of its last handler.
    pub(super) ended: u64,
    /// The positions of its first and its last event in the log.
    pub(super) span: (usize, usize),
    /// The dead-letter connector has accepted it.
    pub(super) letter: bool,
    pub(super) letters_tried: bool,
}

/// The attempts of one step.
#[derive(Debug, Default)]
pub(super) struct Handler {
    pub(super) attempts: u32,
    pub(super) last: Option<How>,
}

/// The outcome of a life, as far as the disposition depends on it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Outcome {
    /// No outcome yet, or the life was interrupted.
    Open,
    Succeeded,
    Decided(Disposition),
    /// The exception handler failed finally, or may have failed: it was cancelled in its last attempt.
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

    /// Whether a handler was called.
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

    /// The reason why a handler must not start now, if there is one.
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

    /// The outcome of the life.
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
    /// Records the stop of the run. Only the first stop counts.
    pub(super) fn stop(&mut self, at: u64) {
        self.stopped.get_or_insert(at);
    }

    /// Whether the run was stopped before this millisecond. An event that was due in the same millisecond may still
    /// come before the stop.
    pub(super) fn stopped_before(&self, at: u64) -> bool {
        self.stopped.is_some_and(|stop| stop < at)
    }

    /// The time at which a delivery that was held after its last life may be retried.
    pub(super) fn held_until(&self, life: Life) -> Option<u64> {
        let (_, last) = self.last_life(life.delivery)?;
        match last.decided() {
            Some(Disposition::RetryAfter(wait)) => {
                Some(last.ended.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)))
            }
            _ => None,
        }
    }

    /// Records a settlement that is right only if the run fails.
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

    /// Whether a delivery is settled only after the dead-letter connector has accepted it.
    pub(super) fn is_dead_letter(&self, policy: &ConsumerPolicy, delivery: u64) -> bool {
        policy.dead_letter.is_some() && self.is_refused(policy, delivery)
    }

    /// Whether a delivery must be rejected.
    fn is_refused(&self, policy: &ConsumerPolicy, delivery: u64) -> bool {
        let Some(known) = self.deliveries.get(&delivery) else { return false };
        let last = self.last_life(delivery);
        let round = last.map_or(known.deliveries, |(life, _)| life.round);
        let outcome = last.map_or(Outcome::Open, |(_, life)| life.outcome(policy));
        let poison = known.deliveries > policy.max_deliveries || round > policy.max_deliveries;
        // A held delivery gets another life, in which it may be poison and run no handler.
        let held_too_often =
            matches!(outcome, Outcome::Decided(Disposition::RetryAfter(_))) && round >= policy.max_deliveries;
        poison
            || held_too_often
            || outcome == Outcome::Decided(Disposition::Reject)
            || (outcome == Outcome::HandlerFailed && policy.on_handler_failure == OnHandlerFailure::Reject)
    }

    /// The reason why a delivery must not be settled in this way, if there is one.
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
        // The delivery waits for the dead-letter connector until the run ends.
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
