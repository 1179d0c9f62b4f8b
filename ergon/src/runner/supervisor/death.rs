//! How a worker left, and whether another takes its place.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use tokio::time::Instant;

use super::message::Ending;
use crate::error::{Error, ErrorKind};
use crate::runner::restart::MOST;
use crate::telemetry::Ended;

/// A worker that is gone.
#[derive(Debug)]
pub(super) struct Left {
    status: Option<ExitStatus>,
    /// What it said last, if it came to its end.
    pub(super) ending: Option<Ending>,
    /// Why it could not be started.
    error: Option<io::Error>,
    /// Whether it was told to stop before it left.
    told: bool,
    /// Whether so many had died that no other takes its place.
    pub(super) given_up: bool,
    pub(super) at: Instant,
}

/// Exit code of settings that cannot work: another worker would fail alike.
const USAGE: i32 = 2;
/// Exit codes of a stop that was asked for.
const STOPPED: [i32; 2] = [130, 143];

impl Left {
    pub(super) fn new(status: ExitStatus, ending: Option<Ending>, told: bool) -> Self {
        Self { status: Some(status), ending, error: None, told, given_up: false, at: Instant::now() }
    }

    /// It was never there.
    pub(super) fn not_started(error: io::Error) -> Self {
        Self {
            status: None,
            ending: None,
            error: Some(error),
            told: false,
            given_up: false,
            at: Instant::now(),
        }
    }

    /// It died, and no other takes its place: too many have died.
    pub(super) fn given_up(self) -> Self {
        Self { given_up: true, ending: None, ..self }
    }

    fn exit_code(&self) -> Option<i32> {
        self.status?.code()
    }

    /// Says whether its work is left undone: it died, or somebody else stopped it, or it asks for another.
    pub(super) fn is_replaced(&self) -> bool {
        if self.exit_code() == Some(USAGE) {
            return false;
        }
        self.ending
            .as_ref()
            .is_none_or(|ending| ending.again || self.exit_code().is_some_and(|code| STOPPED.contains(&code)))
    }

    /// The exit code it stands for.
    pub(super) fn code(&self) -> i32 {
        self.exit_code().unwrap_or(1)
    }

    /// How it ended: `was killed by signal 9`.
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

    /// Why its run ended, as it said, else as it was seen.
    pub(super) fn ended(&self, name: &str) -> Ended {
        if let Some(ending) = &self.ending {
            return Ended::from(&ending.ended);
        }
        let by_request = self.exit_code().is_some_and(|code| STOPPED.contains(&code))
            || self
                .status
                .and_then(|status| status.signal())
                .is_some_and(|signal| signal == 15 || signal == 2);
        if self.told && by_request {
            return Ended::Stopped { given_back: 0 };
        }
        let last = format!("worker {name} {}", self.how());
        if self.given_up {
            let what = format!("workers die too often: one died after {MOST} restarts within a minute");
            let error = Error::new(ErrorKind::Task, what).with_source(format!("the last one to die: {last}"));
            return Ended::Failed(
                error.with_hint("see what it wrote last; what was in flight is handed out again"),
            );
        }
        Ended::Failed(Error::new(ErrorKind::Task, last))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::runner::supervisor::End;
    use crate::telemetry::Tally;

    /// A worker that ended with this exit code and these last words.
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
        assert!(left(143, Some(false)).is_replaced(), "somebody else stopped it");
        assert!(left(0, None).is_replaced() && left(1, None).is_replaced(), "it did not say why");
        assert!(Left::new(ExitStatus::from_raw(9), None, false).is_replaced(), "it was killed");
    }

    #[test]
    fn how_it_ended_is_told() {
        let killed = Left::new(ExitStatus::from_raw(9), None, false);
        let Ended::Failed(error) = killed.ended("orders/1") else { panic!("it failed") };
        assert_eq!(error.to_string(), "worker orders/1 was killed by signal 9");
        let stopped = Left::new(ExitStatus::from_raw(15), None, true);
        assert!(matches!(stopped.ended("orders/1"), Ended::Stopped { .. }));
    }
}
