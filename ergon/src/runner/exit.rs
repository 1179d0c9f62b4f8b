//! Defines the exit codes of a process. No other code knows their numbers.

use std::process::ExitCode;

use super::Signal;
use crate::error::{Error, ErrorKind};

/// The end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything is settled: 0.
    Success,
    /// A run or a transaction failed: 1.
    Failure,
    /// The settings or the command line are refused, or a connector refuses them permanently: 2.
    Usage,
    /// The process was stopped: 128 plus the number of the signal, which is 129 for SIGHUP, 130 for SIGINT and 143 for
    /// SIGTERM.
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

    /// The exit of a process that ended with an error.
    pub(crate) fn of_error(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Settings | ErrorKind::Usage | ErrorKind::Policy | ErrorKind::Refused => Self::Usage,
            ErrorKind::Connector | ErrorKind::Service | ErrorKind::Task | ErrorKind::LoopTimeout => {
                Self::Failure
            }
        }
    }

    /// The exit of a process that could not start. A permanent error comes before one that may pass.
    pub(crate) fn of_errors(errors: &[Error]) -> Self {
        let refused = errors.iter().map(Self::of_error).find(|exit| *exit == Self::Usage);
        refused.unwrap_or(Self::Failure)
    }

    /// Ends the process immediately.
    pub(crate) fn now(self) -> ! {
        std::process::exit(i32::from(self.code()))
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
