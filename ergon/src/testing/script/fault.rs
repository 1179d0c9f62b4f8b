//! What can go wrong with a call, and which calls it is planned for.

use std::collections::BTreeMap;

use crate::connector::{ConnectorError, ItemOutcome};

/// What goes wrong with one call of a [`Script`](super::Script).
///
/// | | the call reaches the other side | the caller is told |
/// |---|---|---|
/// | `Fails` | no; of a [partial](ConnectorError::partial) error, what it says is done | the error |
/// | `Lost` | no | that nobody knows |
/// | `Unanswered` | yes | that nobody knows |
/// | `Hangs` | no | nothing, ever |
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
    /// The call fails with this error. A settlement or transaction whose [fate](ConnectorError::outcome) it calls done has
    /// arrived, the others have not; a fetch hands nothing out.
    Fails(ConnectorError),
    /// The link dies before the call arrives: nothing is handed out, settled or taken, and the error says
    /// [unknown](ConnectorError::unknown).
    Lost,
    /// The link dies before the answer arrives: the settlements or transactions are there, and the error says
    /// [unknown](ConnectorError::unknown). What a fetch would have brought waits again, counted once more.
    Unanswered,
    /// The call never answers, and does nothing; what was to be settled stays handed out.
    Hangs,
}

impl Fault {
    /// Whether the item with this index arrives at the other side all the same.
    pub(super) fn lets_through(&self, index: usize) -> bool {
        match self {
            Self::Fails(error) => error.outcome(index) == ItemOutcome::Done,
            Self::Unanswered => true,
            Self::Lost | Self::Hangs => false,
        }
    }

    /// What the caller is told.
    pub(super) fn into_error(self) -> ConnectorError {
        match self {
            Self::Fails(error) => error,
            Self::Lost | Self::Unanswered | Self::Hangs => {
                ConnectorError::unknown("the link died before the other side answered")
            }
        }
    }
}

/// The calls of one kind: how many were made, and what goes wrong with those to come.
#[derive(Debug, Default)]
pub(super) struct Calls {
    made: usize,
    faults: BTreeMap<usize, Fault>,
}

impl Calls {
    pub(super) fn made(&self) -> usize {
        self.made
    }

    /// How many faults are still to come.
    pub(super) fn faults_left(&self) -> usize {
        self.faults.len()
    }

    /// Counts a call, and says what goes wrong with it.
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
