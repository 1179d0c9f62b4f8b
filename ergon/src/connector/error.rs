//! The error of a connector. Its kind decides whether the engine retries, ends the run, or counts a settlement as
//! unknown.

use std::fmt;

use crate::error::{Report, impl_report};
use crate::transaction::{Category, HasCategory, TransactionError};

/// The failure of a connector: a message, a kind that decides about retries, and a hint.
///
/// | constructor | meaning | the engine |
/// |---|---|---|
/// | [`transient`](Self::transient) | the failure may pass | retries |
/// | [`permanent`](Self::permanent) | a retry cannot help | ends the run if opening or fetching fails; inside a handler, a system error |
/// | [`closed`](Self::closed) | the sink accepts nothing more | gives the delivery back and ends the run |
/// | [`unknown`](Self::unknown) | the call may or may not have had an effect | retries; counts a settlement as unknown |
/// | [`partial`](Self::partial) | some items of the call failed | treats each item by its own error |
///
/// ```
/// use ergon::connector::ConnectorError;
///
/// let error = ConnectorError::permanent("no queue named `orders`").with_hint("declare it, or name another");
/// assert!(error.is_permanent());
/// assert_eq!(error.hint(), Some("declare it, or name another"));
/// ```
pub struct ConnectorError(Box<Report<Kind>>);

impl_report!(ConnectorError, pub with_hint);

enum Kind {
    Transient,
    Permanent,
    Closed,
    Unknown,
    Partial(Vec<(usize, ConnectorError)>),
}

/// The outcome of one transaction or settlement in a failed call.
///
/// ```
/// use ergon::connector::{ConnectorError, ItemOutcome};
///
/// let error = ConnectorError::partial(vec![(1, ConnectorError::unknown("the link died"))]);
/// assert_eq!((error.outcome(0), error.outcome(1)), (ItemOutcome::Done, ItemOutcome::Unknown));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemOutcome {
    /// The external system has it.
    Done,
    /// The external system does not have it.
    NotDone,
    /// The connection broke before the external system could answer. It may have it or not.
    Unknown,
}

impl ConnectorError {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Report::new(kind, message)))
    }

    /// Makes an error that may pass: a lost connection, a busy file. The engine retries.
    pub fn transient(message: impl Into<String>) -> Self {
        Self::new(Kind::Transient, message)
    }

    /// Makes an error that a retry cannot fix: bad credentials, a missing file. If opening or fetching fails with it,
    /// the run ends.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::new(Kind::Permanent, message)
    }

    /// Makes the error of a sink that accepts nothing more: the reader of a pipe has left, or the sink's file was
    /// removed. The error does not concern the transaction, so no handler sees it. The delivery is given back, and the
    /// run ends with this error.
    ///
    /// This applies if the handler passes the error on with `?`. If it makes another error of it, the engine treats
    /// that error like any other.
    pub fn closed(message: impl Into<String>) -> Self {
        Self::new(Kind::Closed, message)
    }

    /// Makes the error of a call with an unknown outcome: the connection broke before the external system could answer.
    pub fn unknown(message: impl Into<String>) -> Self {
        Self::new(Kind::Unknown, message)
    }

    /// Makes the error of a call in which some items failed, from their indices in the call and their errors. All other
    /// items are done. The hint is that of the first error.
    pub fn partial(failures: Vec<(usize, ConnectorError)>) -> Self {
        let message = match failures.as_slice() {
            [(_, only)] => only.0.message.clone(),
            [(_, first), ..] => {
                format!("{} of the items failed; the first: {}", failures.len(), first.0.message)
            }
            [] => "no item failed".to_owned(),
        };
        let hint = failures.first().and_then(|(_, first)| first.0.hint.clone());
        Self::new(Kind::Partial(failures), message).with_hint_if(hint)
    }

    /// Whether a retry cannot help. Of a partial error: whether it cannot help any of the failed items.
    pub fn is_permanent(&self) -> bool {
        match &self.0.detail {
            Kind::Permanent | Kind::Closed => true,
            Kind::Transient | Kind::Unknown => false,
            Kind::Partial(failures) => failures.iter().any(|(_, error)| error.is_permanent()),
        }
    }

    /// Whether the external system accepts nothing more.
    pub fn is_closed(&self) -> bool {
        match &self.0.detail {
            Kind::Closed => true,
            Kind::Partial(failures) => failures.iter().any(|(_, error)| error.is_closed()),
            Kind::Transient | Kind::Permanent | Kind::Unknown => false,
        }
    }

    /// The error of the item with this index in the failed call. `None` if the item is done.
    pub fn item(&self, index: usize) -> Option<&Self> {
        match &self.0.detail {
            Kind::Partial(failures) => {
                failures.iter().find(|(failed, _)| *failed == index).map(|(_, error)| error)
            }
            Kind::Transient | Kind::Permanent | Kind::Closed | Kind::Unknown => Some(self),
        }
    }

    /// The outcome of the item with this index in the failed call.
    pub fn outcome(&self, index: usize) -> ItemOutcome {
        match &self.0.detail {
            Kind::Transient | Kind::Permanent | Kind::Closed => ItemOutcome::NotDone,
            Kind::Unknown => ItemOutcome::Unknown,
            Kind::Partial(failures) => match failures.iter().find(|(failed, _)| *failed == index) {
                Some((_, error)) => error.outcome(0),
                None => ItemOutcome::Done,
            },
        }
    }
}

impl fmt::Debug for ConnectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.0.detail {
            Kind::Transient => "transient",
            Kind::Permanent => "permanent",
            Kind::Closed => "closed",
            Kind::Unknown => "unknown",
            Kind::Partial(_) => "partial",
        };
        f.debug_struct("ConnectorError")
            .field("kind", &kind)
            .field("message", &self.0.message)
            .field("source", &std::error::Error::source(self))
            .finish_non_exhaustive()
    }
}

/// Makes a connector's failure inside a handler a system error, which the step's policy retries.
impl HasCategory for ConnectorError {
    fn categorize(self) -> TransactionError {
        TransactionError::from_error(Category::System, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_error_knows_each_fate() {
        let error = ConnectorError::partial(vec![
            (1, ConnectorError::transient("full")),
            (3, ConnectorError::unknown("link died")),
        ]);
        let fates: Vec<_> = (0..4).map(|index| error.outcome(index)).collect();
        assert_eq!(fates, [ItemOutcome::Done, ItemOutcome::NotDone, ItemOutcome::Done, ItemOutcome::Unknown]);
    }
}
