//! What the lives of one loop have in common.

use std::sync::{Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::connector::{Disposition, Output};
use crate::policy::{ConsumerPolicy, OnHandlerFailure};
use crate::task::Stop;
use crate::telemetry::Tally;
use crate::telemetry::metrics::Meters;

/// What the lives of one loop have in common.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) policy: ConsumerPolicy,
    pub(super) dead_letter: Option<Output>,
    /// Ends waits between attempts: fetch no more, finish what is in flight.
    pub(super) drain: CancellationToken,
    /// What the lives came to.
    pub(super) tally: Mutex<Tally>,
    /// What the lives are measured by.
    pub(super) meters: Meters,
    /// What a hybrid's outbound transactions live by.
    pub(super) outward: Option<Box<Self>>,
}

impl Terms {
    pub(super) fn new(policy: ConsumerPolicy, dead_letter: Option<Output>, stop: &Stop) -> Self {
        let drain = stop.drain.child_token();
        Self { policy, dead_letter, drain, tally: Mutex::default(), meters: Meters::default(), outward: None }
    }

    /// Has the lives measured as those of a loop of `task`.
    pub(super) fn measured(mut self, task: &'static str) -> Self {
        self.meters = Meters::of(task);
        if let Some(outward) = &mut self.outward {
            outward.meters = Meters::outbound(task);
        }
        self
    }

    /// What the lives came to so far.
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
