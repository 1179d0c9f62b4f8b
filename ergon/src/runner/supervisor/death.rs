//! Describes the end of a worker process, and decides whether another worker replaces it.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use tokio::time::Instant;

use super::message::Ending;
use crate::error::{Error, ErrorKind};
use crate::runner::restart::MOST;
use crate::runner::{Exit, Signal};
use crate::telemetry::Ended;

/// A worker process that has ended.
#[derive(Debug)]
pub(super) struct Left {
    status: Option<ExitStatus>,
    /// Its last message, if its run reached an end.
    pub(super) ending: Option<Ending>,
    /// The error of a process that could not be started.
    error: Option<io::Error>,
    /// Whether it was stopped before it ended.
    stopped: bool,
    /// Whether it is not replaced, because too many workers have died.
    pub(super) given_up: bool,
    pub(super) at: Instant,
}

impl Left {
    pub(super) fn new(status: ExitStatus, ending: Option<Ending>, stopped: bool) -> Self {
        Self { status: Some(status), ending, error: None, stopped, given_up: false, at: Instant::now() }
    }

    /// A worker whose process could not be started.
    pub(super) fn not_started(error: io::Error) -> Self {
        Self {
            status: None,
            ending: None,
            error: Some(error),
            stopped: false,
            given_up: false,
            at: Instant::now(),
        }
    }

    /// A worker that is not replaced, because too many have died.
    pub(super) fn given_up(self) -> Self {
        Self { given_up: true, ending: None, ..self }
    }

    fn exit_code(&self) -> Option<i32> {
        self.status?.code()
    }

    /// Whether its settings are refused: another worker would fail in the same way.
    fn is_refused(&self) -> bool {
        self.exit_code() == Some(Exit::Usage.code().into())
    }

    /// Whether it ended because of a signal that asks to stop, handled or not.
    fn is_stopped(&self) -> bool {
        let signal = self.status.and_then(|status| status.signal());
        let by_itself = self.exit_code().and_then(|code| Signal::of_number(code - 128));
        by_itself.or(signal.and_then(Signal::of_number)).is_some()
    }

    /// Whether a fault of its own code ended it.
    fn has_crashed(&self) -> bool {
        use rustix::process::Signal;
        let faults = [Signal::ILL, Signal::ABORT, Signal::BUS, Signal::FPE, Signal::SEGV];
        let signal = self.status.and_then(|status| status.signal());
        faults.into_iter().any(|fault| signal == Some(fault.as_raw()))
    }

    /// Whether another worker replaces it: it died, another process stopped it, or it asks for a replacement.
    pub(super) fn is_replaced(&self) -> bool {
        let stopped = self.is_stopped() && self.exit_code().is_some();
        !self.is_refused() && self.ending.as_ref().is_none_or(|ending| ending.again || stopped)
    }

    /// Describes its end, for example `was killed by signal 9`.
    pub(super) fn how(&self) -> String {
        let why = match self.ending.as_ref().map(|ending| Ended::from(&ending.ended)) {
            Some(Ended::Failed(error)) => format!(": {error}"),
            _ => String::new(),
        };
        match (&self.error, self.status) {
            (Some(error), _) => format!("could not be started: {error}"),
            (None, Some(status)) => match (status.signal(), status.code()) {
                (Some(signal), _) => format!("was killed by signal {signal}"),
                (None, Some(code)) => format!("ended with exit code {code}{why}"),
                (None, None) => "ended".to_owned(),
            },
            (None, None) => "ended".to_owned(),
        }
    }

    /// The end of its run: as the worker reported it, or else as the system reports it.
    pub(super) fn ended(&self, name: &str) -> Ended {
        let last = format!("worker {name} {}", self.how());
        if let Some(ending) = &self.ending {
            let ended = Ended::from(&ending.ended);
            return match ended {
                // Everything was closed by then, so a worker that is killed later has lost nothing. A worker that
                // crashes may have damaged its output.
                Ended::SourceEmpty | Ended::LimitReached | Ended::Finished | Ended::TimeLimit
                    if self.has_crashed() =>
                {
                    Ended::Failed(Error::new(ErrorKind::Task, format!("{last} after the end of its run")))
                }
                ended => ended,
            };
        }
        if self.stopped && self.is_stopped() {
            return Ended::Stopped { given_back: 0 };
        }
        if self.given_up {
            let what = format!("workers die too often: one died after {MOST} restarts within a minute");
            let error = Error::new(ErrorKind::Task, what).with_source(format!("the last one to die: {last}"));
            return Ended::Failed(
                error.with_hint("see its last output; its deliveries in flight are delivered again"),
            );
        }
        let kind = if self.is_refused() { ErrorKind::Refused } else { ErrorKind::Task };
        Ended::Failed(Error::new(kind, last))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::runner::supervisor::End;
    use crate::telemetry::Tally;

    /// A worker that ended with this exit code and this last message.
    fn left(code: i32, again: Option<bool>) -> Left {
        let ending = again.map(|again| Ending {
            tally: Tally::default(),
            elapsed: Duration::ZERO,
            ended: End::SourceEmpty,
            close_faults: Vec::new(),
            again,
        });
        Left::new(ExitStatus::from_raw(code << 8), ending, false)
    }

    #[test]
    fn who_died_is_replaced_and_who_is_done_is_not() {
        assert!(!left(0, Some(false)).is_replaced(), "it is done");
        assert!(!left(1, Some(false)).is_replaced(), "it failed, and said so");
        assert!(!left(2, None).is_replaced(), "another would fail alike");
        assert!(left(1, Some(true)).is_replaced(), "it asks for another");
        for code in [129, 130, 143] {
            assert!(left(code, Some(false)).is_replaced(), "somebody else stopped it");
        }
        assert!(left(0, None).is_replaced() && left(1, None).is_replaced(), "it did not say why");
        assert!(Left::new(ExitStatus::from_raw(9), None, false).is_replaced(), "it was killed");
    }

    #[test]
    fn how_it_ended_is_told() {
        let killed = Left::new(ExitStatus::from_raw(9), None, false);
        let Ended::Failed(error) = killed.ended("orders/1") else { panic!("it failed") };
        assert_eq!(error.to_string(), "worker orders/1 was killed by signal 9");
        for signal in [1, 2, 15] {
            let stopped = Left::new(ExitStatus::from_raw(signal), None, true);
            assert!(matches!(stopped.ended("orders/1"), Ended::Stopped { .. }));
        }
    }

    #[test]
    fn one_that_did_not_say_how_its_run_ended_has_failed_whatever_its_exit_code() {
        for (left, kind) in [
            (left(0, None), ErrorKind::Task),
            (left(0, None).given_up(), ErrorKind::Task),
            (left(0, Some(true)).given_up(), ErrorKind::Task),
            (left(2, None), ErrorKind::Refused),
            (Left::not_started(io::Error::other("no more processes")), ErrorKind::Task),
        ] {
            let Ended::Failed(error) = left.ended("orders/1") else { panic!("{left:?} has failed") };
            assert_eq!(error.kind(), kind, "{error}");
        }
    }

    #[test]
    fn one_that_crashed_after_its_run_has_failed() {
        let ended = |signal| {
            Left { status: Some(ExitStatus::from_raw(signal)), ..left(0, Some(false)) }.ended("orders/1")
        };
        assert!(matches!(ended(9), Ended::SourceEmpty), "all was closed when it was killed");
        let Ended::Failed(error) = ended(11) else { panic!("it has failed") };
        assert_eq!(error.to_string(), "worker orders/1 was killed by signal 11 after the end of its run");
    }
}
