//! The lifecycle of a delivery as a pure state machine: it maps a state and an event to a state and an action. It has
//! no I/O and no clock, so a test can try every sequence of events.
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

/// The step that a delivery is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lifecycle {
    stage: Stage,
    /// The disposition of the delivery when its exception handler fails.
    on_handler_failure: Disposition,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running(Step),
    Settled,
}

/// The end of a step, after all its attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// The process or success step succeeded.
    Completed,
    /// The exception handler succeeded and decided the disposition.
    Decided(Disposition),
    /// The step failed: its attempts are used up, its error is of the business category, or its time limit ended.
    Failed,
    /// The engine cancelled the step because the run stops or the worker ends.
    Aborted,
}

/// The engine's next action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Run this step, with its retries.
    Run(Step),
    /// The processing is over: settle.
    Settle(Outcome, Disposition),
    /// Do nothing, because the delivery is already settled.
    Nothing,
}

/// The outcome of a transaction; each transaction has exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The success handler succeeded.
    Succeeded,
    /// The exception handler succeeded.
    Handled,
    /// The exception handler failed.
    HandlerFailed,
    /// The processing was cut short. No attempt is counted.
    Aborted,
}

impl Outcome {
    /// The outcome in lower case, as traces and metrics show it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Handled => "handled",
            Self::HandlerFailed => "handler_failed",
            Self::Aborted => "aborted",
        }
    }
}

impl Lifecycle {
    /// Starts to process a delivery. The first action is the process step.
    pub(crate) fn begin(on_handler_failure: Disposition) -> (Self, Action) {
        let lifecycle = Self { stage: Stage::Running(Step::Process), on_handler_failure };
        (lifecycle, Action::Run(Step::Process))
    }

    /// Applies the end of the running step, and returns the next action.
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
    use std::time::Duration;

    use super::*;

    const EVENTS: [Event; 7] = [
        Event::Completed,
        Event::Failed,
        Event::Aborted,
        Event::Decided(Disposition::Ack),
        Event::Decided(Disposition::Reject),
        Event::Decided(Disposition::Requeue),
        Event::Decided(Disposition::RetryAfter(Duration::from_secs(1))),
    ];

    /// The result of one sequence of events: the steps that ran, and the settlements.
    #[derive(Debug, PartialEq)]
    struct Completed {
        steps: [Option<Step>; 4],
        settled: [Option<(Outcome, Disposition)>; 2],
    }

    /// Runs the state machine over a sequence of events.
    fn run(events: &[Event], on_failure: Disposition) -> Completed {
        let (mut life, first) = Lifecycle::begin(on_failure);
        let mut completed = Completed { steps: [None; 4], settled: [None; 2] };
        let (mut steps, mut settled) = (0, 0);
        for action in std::iter::once(first).chain(events.iter().map(|event| life.on(*event))) {
            match action {
                Action::Run(step) => {
                    completed.steps[steps] = Some(step);
                    steps += 1;
                }
                Action::Settle(outcome, disposition) => {
                    completed.settled[settled] = Some((outcome, disposition));
                    settled += 1;
                }
                Action::Nothing => (),
            }
        }
        completed
    }

    /// The expected result of a sequence of events, written as rules instead of a state machine.
    fn expected(events: &[Event], on_failure: Disposition) -> Completed {
        let given_back = (Outcome::Aborted, Disposition::Requeue);
        let decided = |event: Option<&Event>| match event? {
            Event::Decided(disposition) => Some((Outcome::Handled, *disposition)),
            Event::Aborted => Some(given_back),
            Event::Failed | Event::Completed => Some((Outcome::HandlerFailed, on_failure)),
        };
        let (success, exception, settled) = match events {
            [] => (false, false, None),
            [Event::Aborted, ..] => (false, false, Some(given_back)),
            [Event::Completed] => (true, false, None),
            [Event::Completed, Event::Completed, ..] => {
                (true, false, Some((Outcome::Succeeded, Disposition::Ack)))
            }
            [Event::Completed, Event::Aborted, ..] => (true, false, Some(given_back)),
            [Event::Completed, _, rest @ ..] => (true, true, decided(rest.first())),
            [_, rest @ ..] => (false, true, decided(rest.first())),
        };
        let mut steps = [Some(Step::Process), None, None, None];
        if success {
            steps[1] = Some(Step::Success);
        }
        if exception {
            steps[if success { 2 } else { 1 }] = Some(Step::Exception);
        }
        Completed { steps, settled: [settled, None] }
    }

    #[test]
    fn every_sequence_of_events_comes_to_what_is_told_of_it() {
        let mut lives = 0_u32;
        for length in 0..=7_u32 {
            for mut number in 0..7_usize.pow(length) {
                let mut events = [Event::Completed; 7];
                for event in &mut events[..length as usize] {
                    *event = EVENTS[number % 7];
                    number /= 7;
                }
                let events = &events[..length as usize];
                for on_failure in [Disposition::Requeue, Disposition::Reject] {
                    assert_eq!(run(events, on_failure), expected(events, on_failure), "{events:?}");
                    lives += 1;
                }
            }
        }
        assert!(lives > 1_000_000, "only {lives}");
    }

    #[test]
    fn what_succeeded_never_saw_its_exception_handler() {
        for second in EVENTS {
            for third in EVENTS {
                let completed = run(&[Event::Completed, second, third], Disposition::Requeue);
                let succeeded = matches!(completed.settled[0], Some((Outcome::Succeeded, _)));
                assert!(!succeeded || !completed.steps.contains(&Some(Step::Exception)));
            }
        }
    }
}
