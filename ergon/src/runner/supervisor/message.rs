//! Defines the protocol between a worker and its supervisor: one JSON object in each line.
//!
//! A worker sends [`Message`]s. The supervisor sends [`Order`]s, and only to workers whose loops draw on a limit.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};
use crate::runner::watch::Vitals;
use crate::task::{Claim, Grant};
use crate::telemetry::{Ended, Tally};

/// A message from a worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Message {
    /// Connectors and services are open. `total` is the number of transactions to process, if the source knows it.
    Begun { total: Option<u64> },
    /// The figures of the run so far, and the metrics, if the process serves them.
    Progress { tally: Box<Tally>, in_flight: usize, vitals: Vitals, metrics: Option<String> },
    /// The loop with this number starts to draw on the limit that all workers of the task share.
    Draws { draw: u64, limit: u64 },
    /// The claim of that loop: what it has fetched, returns, and asks for.
    Claims { draw: u64, claim: Claim },
    /// That loop draws no more.
    Leaves { draw: u64 },
    /// The worker could not start.
    Refused { faults: Vec<Fault> },
    /// The run is over, and everything is closed.
    Ended(Box<Ending>),
}

/// A message from the supervisor: a grant for the loop with this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) draw: u64,
    pub(crate) grant: Grant,
}

/// The end of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ending {
    pub(crate) tally: Tally,
    pub(crate) elapsed: Duration,
    pub(crate) ended: End,
    pub(crate) close_faults: Vec<Fault>,
    /// Whether the work is not done, and another worker is to continue it.
    pub(crate) again: bool,
}

/// The reason why a run ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    SourceEmpty,
    LimitReached,
    Stopped { given_back: u64 },
    TimeLimit,
    Finished,
    Failed(Fault),
}

/// An [`Error`] as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fault {
    kind: ErrorKind,
    message: String,
    cause: Option<String>,
    hint: Option<String>,
}

impl From<&Error> for Fault {
    fn from(error: &Error) -> Self {
        let cause = std::error::Error::source(error);
        let causes: Vec<String> =
            std::iter::successors(cause, |cause| cause.source()).map(ToString::to_string).collect();
        Self {
            kind: error.kind(),
            message: error.to_string(),
            cause: (!causes.is_empty()).then(|| causes.join(": ")),
            hint: error.hint().map(str::to_owned),
        }
    }
}

impl From<&Fault> for Error {
    fn from(fault: &Fault) -> Self {
        let Fault { kind, message, cause, hint } = fault;
        let error = Self::new(*kind, message.clone()).with_hint_if(hint.clone());
        cause.iter().cloned().fold(error, Self::with_source)
    }
}

impl From<&Ended> for End {
    fn from(ended: &Ended) -> Self {
        match ended {
            Ended::SourceEmpty => Self::SourceEmpty,
            Ended::LimitReached => Self::LimitReached,
            Ended::Stopped { given_back } => Self::Stopped { given_back: *given_back },
            Ended::TimeLimit => Self::TimeLimit,
            Ended::Finished => Self::Finished,
            Ended::Failed(error) => Self::Failed(error.into()),
        }
    }
}

impl From<&End> for Ended {
    fn from(end: &End) -> Self {
        match end {
            End::SourceEmpty => Self::SourceEmpty,
            End::LimitReached => Self::LimitReached,
            End::Stopped { given_back } => Self::Stopped { given_back: *given_back },
            End::TimeLimit => Self::TimeLimit,
            End::Finished => Self::Finished,
            End::Failed(fault) => Self::Failed(fault.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_comes_over_with_its_causes_and_hint() {
        let error = Error::new(ErrorKind::Refused, "no such file").with_source("errno 2").with_hint("look");
        let line = serde_json::to_string(&Fault::from(&error)).unwrap();
        let again = Error::from(&serde_json::from_str::<Fault>(&line).unwrap());
        assert_eq!(
            (again.kind(), again.to_string(), again.hint()),
            (error.kind(), error.to_string(), error.hint())
        );
        assert_eq!(std::error::Error::source(&again).unwrap().to_string(), "errno 2");
    }
}
