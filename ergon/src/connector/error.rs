//! What goes wrong between a connector and its external system.

use std::fmt;

use crate::error::{Report, impl_report};
use crate::transaction::{Category, HasCategory, TransactionError};

/// The failure of a connector: what, whether trying again can help, and a hint.
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

/// What is known about a transaction or settlement after a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemOutcome {
    /// The other side has it.
    Done,
    /// The other side does not have it.
    NotDone,
    /// The link died before the other side could say; it may have it or not.
    Unknown,
}

impl ConnectorError {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Report::new(kind, message)))
    }

    /// Makes an error that may pass: a lost link, a busy file. The engine tries again.
    pub fn transient(message: impl Into<String>) -> Self {
        Self::new(Kind::Transient, message)
    }

    /// Makes an error that trying again cannot mend: bad credentials, no such file. It ends the run.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::new(Kind::Permanent, message)
    }

    /// Makes the error of a sink that takes nothing any more, whatever is tried: the reader of a pipe has left, the file
    /// of the sink was removed. It says nothing about the transaction: no handler sees it, the delivery is given back,
    /// and the run ends with it.
    ///
    /// That holds for a handler that passes the error on with `?`. One that makes another error of it has it treated
    /// as any other.
    pub fn closed(message: impl Into<String>) -> Self {
        Self::new(Kind::Closed, message)
    }

    /// Makes the error of a call whose fate nobody knows: the link died before the other side could answer.
    pub fn unknown(message: impl Into<String>) -> Self {
        Self::new(Kind::Unknown, message)
    }

    /// Makes the error of a call with many items in which some failed: their indices in the call, and why.
    /// All others are done. The hint is that of the first.
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

    /// Says whether trying again cannot mend it.
    pub fn is_permanent(&self) -> bool {
        match &self.0.detail {
            Kind::Permanent | Kind::Closed => true,
            Kind::Transient | Kind::Unknown => false,
            Kind::Partial(failures) => failures.iter().any(|(_, error)| error.is_permanent()),
        }
    }

    /// Says whether the other side takes nothing any more.
    pub fn is_closed(&self) -> bool {
        match &self.0.detail {
            Kind::Closed => true,
            Kind::Partial(failures) => failures.iter().any(|(_, error)| error.is_closed()),
            Kind::Transient | Kind::Permanent | Kind::Unknown => false,
        }
    }

    /// The error of the item with this index in the failed call; `None` if the item is done.
    pub fn item(&self, index: usize) -> Option<&Self> {
        match &self.0.detail {
            Kind::Partial(failures) => {
                failures.iter().find(|(failed, _)| *failed == index).map(|(_, error)| error)
            }
            Kind::Transient | Kind::Permanent | Kind::Closed | Kind::Unknown => Some(self),
        }
    }

    /// Says what is known about the item with this index in the failed call.
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

/// A connector's failure inside a handler is a system error: retried by the step's policy.
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
