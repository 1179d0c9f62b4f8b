//! Defines the errors of commands, with their exit codes.

use std::fmt;
use std::process::ExitCode;

/// The error of a command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CommandError {
    message: String,
    hint: Option<String>,
    /// Whether the command line is wrong (exit code 2), or something else (exit code 1).
    usage: bool,
}

impl CommandError {
    /// Creates an error of the command line: exit code 2.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, usage: true }
    }

    /// Creates any other error: exit code 1.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, usage: false }
    }

    /// Adds a hint.
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(if self.usage { 2 } else { 1 })
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", self.message)?;
        match &self.hint {
            Some(hint) => writeln!(f, " = hint: {hint}"),
            None => Ok(()),
        }
    }
}
