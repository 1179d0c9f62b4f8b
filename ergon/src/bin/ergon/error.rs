//! What went wrong, in words, and the exit code that says so.

use std::fmt;
use std::process::ExitCode;

/// Why a command did not do what it was told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CommandError {
    message: String,
    hint: Option<String>,
    /// Whether the command line was wrong (2), or the world (1).
    usage: bool,
}

impl CommandError {
    /// The command line cannot be obeyed: exit code 2.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, usage: true }
    }

    /// Something stands in the way: exit code 1.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, usage: false }
    }

    /// Says what helps.
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
