//! What the transactions of one loop have in common.

use std::sync::{Arc, Mutex, PoisonError};

use super::dead_letters::DeadLetters;
use super::drain::Drain;
use crate::connector::{Buffers, Disposition, Input, Output, Receipt};
use crate::error::Error;
use crate::policy::{ConsumerPolicy, OnHandlerFailure};
use crate::task::{Quota, Setup, Stop};
use crate::telemetry::Tally;
use crate::telemetry::calls::Calls;
use crate::telemetry::metrics::Meters;
use crate::telemetry::traces::RunTrace;

/// The kind of source that a task's own stream is.
pub(super) const STREAM: &str = "stream";

/// What the transactions of one loop have in common.
#[derive(Debug)]
pub(super) struct RunContext {
    pub(super) policy: ConsumerPolicy,
    pub(super) dead_letter: Option<Output>,
    /// Hands out the limit, if other workers draw on it too.
    pub(super) quota: Option<Arc<dyn Quota>>,
    /// The sinks of the task that have buffers, to be flushed before each settlement.
    pub(super) buffers: Option<Buffers>,
    /// What the deliveries come from; none outside of a loop.
    pub(super) source: Option<Input>,
    /// Dead letters that wait for their next attempt, if a loop tries them apart from their transactions.
    pub(super) postponed: Option<Box<DeadLetters>>,
    /// Ends waits between attempts: fetch no more, finish what is in flight.
    pub(super) drain: Drain,
    /// What the transactions came to.
    pub(super) tally: Mutex<Tally>,
    /// How the transactions are traced, if they are.
    pub(super) trace: Option<RunTrace>,
    /// What the transactions are measured by.
    pub(super) meters: Meters,
    /// Counts the retries of calls that the task's code makes.
    pub(super) calls: Calls,
    /// What a hybrid's outbound transactions have in common.
    pub(super) outbound: Option<Box<Self>>,
}

impl RunContext {
    /// The context of a loop under this policy; a hybrid's outbound transactions have a context of their own.
    ///
    /// # Errors
    /// A dead-letter connector that the task does not have.
    pub(super) fn of(setup: &Setup, policy: ConsumerPolicy) -> Result<Self, Error> {
        let dead_letter = setup.dead_letter(&policy)?;
        let mut context = Self::new(policy, dead_letter, &setup.stop);
        context.quota.clone_from(&setup.quota);
        context.buffers = Output::buffers(setup.outputs.iter().map(|(_, output)| output));
        if let (Some(_), Some(producer)) = (&setup.policies.consumer, &setup.policies.producer) {
            let policy = producer.to_loop();
            let dead_letter = setup.dead_letter(&policy)?;
            let mut outbound = Self::new(policy, dead_letter, &setup.stop);
            outbound.drain = context.drain.clone();
            context.outbound = Some(Box::new(outbound));
        }
        Ok(context)
    }

    pub(super) fn new(policy: ConsumerPolicy, dead_letter: Option<Output>, stop: &Stop) -> Self {
        let drain = Drain::by(stop.drain.child_token());
        Self {
            policy,
            dead_letter,
            quota: None,
            buffers: None,
            source: None,
            postponed: None,
            drain,
            tally: Mutex::default(),
            trace: None,
            meters: Meters::default(),
            calls: Calls::of(""),
            outbound: None,
        }
    }

    /// Traces and measures the transactions as those of a run of `task`, if the process does, and the outbound ones of a
    /// hybrid with them.
    pub(super) fn watched(mut self, task: &'static str, source: &'static str, streaming: bool) -> Self {
        self.trace = RunTrace::begin(task, source, streaming);
        self.meters = Meters::of(task);
        self.calls = Calls::of(task);
        if let Some(outbound) = &mut self.outbound {
            outbound.trace = RunTrace::begin(task, STREAM, true);
            outbound.meters = Meters::outbound(task);
        }
        self
    }

    /// Whether the source has lost hold of a delivery: the other side hands it out again.
    pub(super) fn is_stale(&self, receipt: Option<&Receipt>) -> bool {
        receipt.zip(self.source.as_ref()).is_some_and(|(receipt, source)| !source.holds_receipt(receipt))
    }

    /// What the transactions came to so far.
    pub(super) fn tally(&self) -> Tally {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What becomes of a delivery whose exception handler failed.
    pub(super) fn on_handler_failure(&self) -> Disposition {
        match self.policy.on_handler_failure {
            OnHandlerFailure::Requeue => Disposition::Requeue,
            OnHandlerFailure::Reject => Disposition::Reject,
        }
    }
}
