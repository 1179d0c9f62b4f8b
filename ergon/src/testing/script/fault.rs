//! Faults of calls, and the calls they are planned for.

use std::collections::BTreeMap;

use crate::connector::{ConnectorError, ItemOutcome};

/// A fault of one call of a [`Script`](super::Script).
///
/// | | the call reaches the external system | the caller gets |
/// |---|---|---|
/// | `Fails` | no; for a [partial](ConnectorError::partial) error, the items that it calls done | the error |
/// | `Lost` | no | an [unknown](ConnectorError::unknown) error |
/// | `Unanswered` | yes | an [unknown](ConnectorError::unknown) error |
/// | `Hangs` | no | no answer, ever |
///
/// ```
/// use ergon::prelude::*;
/// use ergon::testing::{Fault, Script};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let output = Script::new();
/// output.on_dispatch(1, Fault::Unanswered);
/// let error = output.dispatch(vec![Transaction::new("a", &1)?]).await.unwrap_err();
/// assert_eq!(error.outcome(0), ergon::connector::ItemOutcome::Unknown);
/// assert_eq!(output.dispatched_as::<u32>(), [1]);
/// # Ok::<(), TransactionError>(()) }).unwrap();
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The call fails with this error. Items whose [outcome](ConnectorError::outcome) is done have arrived, the others
    /// have not. A fetch delivers nothing.
    Fails(ConnectorError),
    /// The connection breaks before the call arrives: nothing is delivered, settled or dispatched. The error is
    /// [unknown](ConnectorError::unknown).
    Lost,
    /// The connection breaks before the answer arrives: the settlements or transactions have arrived. The error is
    /// [unknown](ConnectorError::unknown). The transactions of a lost fetch wait again, with one more delivery.
    Unanswered,
    /// The call never answers and has no effect. Its deliveries stay unacknowledged.
    Hangs,
}

impl Fault {
    /// Whether the item with this index arrives in spite of the fault.
    pub(super) fn lets_through(&self, index: usize) -> bool {
        match self {
            Self::Fails(error) => error.outcome(index) == ItemOutcome::Done,
            Self::Unanswered => true,
            Self::Lost | Self::Hangs => false,
        }
    }

    /// The error that the caller gets.
    pub(super) fn into_error(self) -> ConnectorError {
        match self {
            Self::Fails(error) => error,
            Self::Lost | Self::Unanswered | Self::Hangs => {
                ConnectorError::unknown("the link died before the other side answered")
            }
        }
    }
}

/// The calls of one kind: their number so far, and the faults of calls to come.
#[derive(Debug, Default)]
pub(super) struct Calls {
    made: usize,
    faults: BTreeMap<usize, Fault>,
}

impl Calls {
    pub(super) fn made(&self) -> usize {
        self.made
    }

    /// The number of faults to come.
    pub(super) fn faults_left(&self) -> usize {
        self.faults.len()
    }

    /// Counts a call, and returns its fault.
    pub(super) fn begin(&mut self) -> Option<Fault> {
        self.made += 1;
        self.faults.remove(&self.made)
    }

    #[track_caller]
    pub(super) fn plan(&mut self, call: &str, n: usize, fault: Fault) {
        assert!(n > 0, "calls are counted from 1, so there is no {call} 0");
        assert!(n > self.made, "{call} {n} was made already, {} of them by now", self.made);
        self.faults.insert(n, fault);
    }
}
