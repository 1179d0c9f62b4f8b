//! The framework's own error: what a program reports before, around and after its transactions.

mod report;

use serde::{Deserialize, Serialize};

pub(crate) use report::{Report, impl_report};

/// What went wrong outside of a transaction: its kind, a message, a cause, and what to do about it.
///
/// `Display` is the message alone; the cause is in `source()`, the advice in [`hint`](Error::hint).
#[derive(Debug)]
pub struct Error(Box<Report<ErrorKind>>);

impl_report!(Error, pub with_hint);

/// What an [`Error`] is about; decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The settings: a file, a key, a value. Exit code 2.
    Settings,
    /// The command line. Exit code 2.
    Usage,
    /// A policy that cannot be obeyed. Exit code 2.
    Policy,
    /// A connector that cannot be opened, fetched from or closed now; trying again may help. Exit code 1.
    Connector,
    /// A connector that can never work as it is set: no such file or queue, credentials that are refused. Exit code 2.
    Refused,
    /// A service that cannot be made, opened or closed. Exit code 1.
    Service,
    /// The task's own `exit` hook. Exit code 1.
    Task,
    /// The run's time limit ran out with work left. Exit code 1.
    LoopTimeout,
}

impl Error {
    /// Makes an error of a kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Report::new(kind, message)))
    }

    /// Says first which task it is of, unless it does already.
    pub(crate) fn of_task(mut self, task: &str) -> Self {
        let name = format!("task `{task}`: ");
        if !self.0.message.starts_with(&name) {
            self.0.message.insert_str(0, &name);
        }
        self
    }

    /// What it is about.
    pub fn kind(&self) -> ErrorKind {
        self.0.detail
    }
}
