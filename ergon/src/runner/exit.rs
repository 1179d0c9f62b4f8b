//! What a process says when it ends: its exit code.

use std::process::ExitCode;

use super::Signal;
use crate::error::{Error, ErrorKind};

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is settled: 0.
    Success,
    /// A run or a transaction failed: 1.
    Failure,
    /// The settings or the command line are wrong, or lead to what is refused for good: 2.
    Usage,
    /// It was told to stop: 128 and the number of the signal, which is 129 for SIGHUP, 130 for SIGINT, 143 for SIGTERM.
    Stopped(Signal),
}

impl Exit {
    /// The exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Stopped(signal) => 128 + signal.number(),
        }
    }

    /// How a process ends that could not do what it was told.
    pub(crate) fn of_error(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Settings | ErrorKind::Usage | ErrorKind::Policy | ErrorKind::Refused => Self::Usage,
            ErrorKind::Connector | ErrorKind::Service | ErrorKind::Task | ErrorKind::LoopTimeout => {
                Self::Failure
            }
        }
    }

    /// How a process ends that could not begin: what is refused for good comes before what may pass.
    pub(crate) fn of_errors(errors: &[Error]) -> Self {
        let refused = errors.iter().map(Self::of_error).find(|exit| *exit == Self::Usage);
        refused.unwrap_or(Self::Failure)
    }

    /// Ends the process here and now.
    pub(crate) fn now(self) -> ! {
        std::process::exit(i32::from(self.code()))
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
