//! The life of a delivery as a pure state machine: state and event in, state and action out. No I/O, no clock.
//!
//! ```text
//! process ──ok──→ success ──ok──→ ACK
//!    │ failed        │ failed
//!    └───────────────┴→ exception ──ok(disposition)──→ that disposition
//!                          │ failed
//!                          └→ handler failure ──→ the policy's disposition
//! aborted, anywhere ──→ requeue
//! ```

use crate::connector::Disposition;
use crate::telemetry::Step;

/// Where a delivery stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lifecycle {
    stage: Stage,
    /// What becomes of the delivery when its exception handler fails.
    on_handler_failure: Disposition,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running(Step),
    Settled,
}

/// How a step ended, all its attempts counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// Process or success ended well.
    Completed,
    /// The exception handler ended well and decided.
    Decided(Disposition),
    /// The step's attempts are used up, its error is of the business category, or its time is over.
    Failed,
    /// The engine gave the step up: shutdown, or the worker dies.
    Aborted,
}

/// What the engine is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Run this step, with its retries.
    Run(Step),
    /// The life is over: settle.
    Settle(Outcome, Disposition),
    /// Nothing: the life was over before.
    Nothing,
}

/// What a transaction came to; exactly one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The success handler ended well.
    Succeeded,
    /// The exception handler ended well.
    Handled,
    /// The exception handler failed.
    HandlerFailed,
    /// Given up; it counts as if it had not been begun.
    Aborted,
}

impl Lifecycle {
    /// Begins a life: the first action is to process.
    pub(crate) fn begin(on_handler_failure: Disposition) -> (Self, Action) {
        let life = Self { stage: Stage::Running(Step::Process), on_handler_failure };
        (life, Action::Run(Step::Process))
    }

    /// Takes in how the running step ended.
    pub(crate) fn on(&mut self, event: Event) -> Action {
        let Stage::Running(step) = self.stage else { return Action::Nothing };
        let action = match (step, event) {
            (_, Event::Aborted) => Action::Settle(Outcome::Aborted, Disposition::Requeue),
            (Step::Process | Step::Prepare, Event::Completed) => Action::Run(Step::Success),
            (Step::Success, Event::Completed) => Action::Settle(Outcome::Succeeded, Disposition::Ack),
            (Step::Exception, Event::Decided(disposition)) => Action::Settle(Outcome::Handled, disposition),
            (Step::Process | Step::Prepare | Step::Success, Event::Failed | Event::Decided(_)) => {
                Action::Run(Step::Exception)
            }
            (Step::Exception, Event::Failed | Event::Completed) => {
                Action::Settle(Outcome::HandlerFailed, self.on_handler_failure)
            }
        };
        self.stage = match action {
            Action::Run(step) => Stage::Running(step),
            Action::Settle(..) | Action::Nothing => Stage::Settled,
        };
        action
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event() -> impl Strategy<Value = Event> {
        let disposition = prop_oneof![
            Just(Disposition::Ack),
            Just(Disposition::Reject),
            Just(Disposition::Requeue),
            Just(Disposition::RetryAfter(std::time::Duration::from_secs(1))),
        ];
        prop_oneof![
            Just(Event::Completed),
            Just(Event::Failed),
            Just(Event::Aborted),
            disposition.prop_map(Event::Decided),
        ]
    }

    /// The steps that ran and the settlements that came out of a sequence of events.
    fn live(events: &[Event]) -> (Vec<Step>, Vec<(Outcome, Disposition)>) {
        let (mut life, first) = Lifecycle::begin(Disposition::Requeue);
        let (mut steps, mut settled) = (Vec::new(), Vec::new());
        for action in std::iter::once(first).chain(events.iter().map(|event| life.on(*event))) {
            match action {
                Action::Run(step) => steps.push(step),
                Action::Settle(outcome, disposition) => settled.push((outcome, disposition)),
                Action::Nothing => (),
            }
        }
        (steps, settled)
    }

    #[test]
    fn success_acks() {
        let (steps, settled) = live(&[Event::Completed, Event::Completed]);
        assert_eq!(steps, [Step::Process, Step::Success]);
        assert_eq!(settled, [(Outcome::Succeeded, Disposition::Ack)]);
    }

    #[test]
    fn a_failed_success_handler_goes_the_exception_way() {
        let (steps, settled) = live(&[Event::Completed, Event::Failed, Event::Decided(Disposition::Reject)]);
        assert_eq!(steps, [Step::Process, Step::Success, Step::Exception]);
        assert_eq!(settled, [(Outcome::Handled, Disposition::Reject)]);
    }

    #[test]
    fn a_failed_exception_handler_is_a_handler_failure() {
        let (_, settled) = live(&[Event::Failed, Event::Failed]);
        assert_eq!(settled, [(Outcome::HandlerFailed, Disposition::Requeue)]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn every_life_settles_at_most_once_and_runs_no_step_twice(
            events in proptest::collection::vec(event(), 0..8)
        ) {
            let (steps, settled) = live(&events);
            prop_assert!(settled.len() <= 1);
            let mut once = steps.clone();
            once.dedup();
            prop_assert_eq!(&once, &steps);
            prop_assert!(steps.iter().filter(|step| **step == Step::Exception).count() <= 1);
            if events.contains(&Event::Aborted) || events.len() >= 3 {
                prop_assert_eq!(settled.len(), 1);
            }
            if let Some((Outcome::Succeeded, disposition)) = settled.first() {
                prop_assert!(!steps.contains(&Step::Exception));
                prop_assert_eq!(*disposition, Disposition::Ack);
            }
        }
    }
}
