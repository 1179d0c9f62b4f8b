//! Defines the error of the framework, for problems outside of transactions.

mod report;

use serde::{Deserialize, Serialize};

pub(crate) use report::{Report, impl_report};

/// An error outside of a transaction: a kind, a message, a cause and a hint.
///
/// `Display` prints the message only. The cause is in `source()`, and the hint in [`hint`](Error::hint).
///
/// ```
/// use ergon::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Connector, "the queue is closed").with_hint("open the queue");
/// assert_eq!(error.to_string(), "the queue is closed");
/// assert_eq!((error.kind(), error.hint()), (ErrorKind::Connector, Some("open the queue")));
/// ```
#[derive(Debug)]
pub struct Error(Box<Report<ErrorKind>>);

impl_report!(Error, pub with_hint);

/// The kind of an [`Error`]. It determines the exit code of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// A problem of the settings: a file, a key or a value. Exit code 2.
    Settings,
    /// A problem of the command line. Exit code 2.
    Usage,
    /// An invalid policy. Exit code 2.
    Policy,
    /// A connector that cannot be opened, fetched from or closed at present. A retry may help. Exit code 1.
    Connector,
    /// A connector that cannot work with its settings: no such file or queue, refused credentials. Exit code 2.
    Refused,
    /// A service that cannot be built, opened or closed. Exit code 1.
    Service,
    /// An error of the task, such as of its `exit` hook. Exit code 1.
    Task,
    /// The time limit of the run ran out with transactions left. Exit code 1.
    LoopTimeout,
}

impl Error {
    /// Creates an error.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Report::new(kind, message)))
    }

    /// Adds the name of the task to the message, unless the message has it already.
    pub(crate) fn of_task(mut self, task: &str) -> Self {
        let name = format!("task `{task}`: ");
        if !self.0.message.starts_with(&name) {
            self.0.message.insert_str(0, &name);
        }
        self
    }

    /// Returns the kind.
    pub fn kind(&self) -> ErrorKind {
        self.0.detail
    }
}
