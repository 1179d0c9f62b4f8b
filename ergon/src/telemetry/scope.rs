//! The transaction, step and attempt that the running code belongs to; read only when a log line is written.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::transaction::TransactionId;

/// A step of a transaction's life that runs the task's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// `process_transaction`, decoding included.
    Process,
    /// `handle_process_success`.
    Success,
    /// `handle_process_exception`.
    Exception,
}

impl Step {
    /// The step in lower case, as it stands in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Success => "success",
            Self::Exception => "exception",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
