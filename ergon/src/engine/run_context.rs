//! Holds the state that all transactions of one loop share: policy, sinks, drain token and counts.

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

/// The kind that metrics and logs show for a task's own stream.
pub(super) const STREAM: &str = "stream";

/// The state that all transactions of one loop share.
#[derive(Debug)]
pub(super) struct RunContext {
    pub(super) policy: ConsumerPolicy,
    pub(super) dead_letter: Option<Output>,
    /// The quota of the limit, if other workers draw on it too.
    pub(super) quota: Option<Arc<dyn Quota>>,
    /// The sinks of the task that have buffers. The settler flushes them before each settlement.
    pub(super) buffers: Option<Buffers>,
    /// The source of the deliveries; `None` for a transaction that is processed without a loop.
    pub(super) source: Option<Input>,
    /// The dead letters that wait for their next attempt. `None` where dead letters are retried in place.
    pub(super) postponed: Option<Box<DeadLetters>>,
    /// The drain token, which interrupts retry waits.
    pub(super) drain: Drain,
    /// The figures of the transactions so far.
    pub(super) tally: Mutex<Tally>,
    /// The trace of the run, if the process records traces.
    pub(super) trace: Option<RunTrace>,
    /// The meters of the transactions.
    pub(super) meters: Meters,
    /// Counts the retries of calls that the task's own code makes.
    pub(super) calls: Calls,
    /// The context of a hybrid's outbound transactions.
    pub(super) outbound: Option<Box<Self>>,
}

impl RunContext {
    /// Makes the context of a loop under this policy. The outbound transactions of a hybrid have their own context.
    ///
    /// # Errors
    /// Returns an error if the policy names a dead-letter connector that the task does not have.
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
        // A child, because a loop that drains, for example at its time limit, must not stop the others of the process.
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

    /// Starts to trace and measure the transactions as a run of `task`, including the outbound transactions of a
    /// hybrid.
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

    /// Whether the source no longer holds a delivery. If so, the source delivers the transaction again.
    pub(super) fn is_stale(&self, receipt: Option<&Receipt>) -> bool {
        receipt.zip(self.source.as_ref()).is_some_and(|(receipt, source)| !source.holds_receipt(receipt))
    }

    /// The figures of the transactions so far.
    pub(super) fn tally(&self) -> Tally {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The disposition of a delivery whose exception handler failed.
    pub(super) fn on_handler_failure(&self) -> Disposition {
        match self.policy.on_handler_failure {
            OnHandlerFailure::Requeue => Disposition::Requeue,
            OnHandlerFailure::Reject => Disposition::Reject,
        }
    }
}
