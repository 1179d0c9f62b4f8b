//! The order to drain: what makes a run stop, and whom it reaches.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use crate::connector::ConnectorError;
use crate::error::{Error, ErrorKind};
use crate::transaction::TransactionError;

/// Tells all that belongs to a loop to fetch no more, to wait for no further attempt, and to finish what is in flight.
#[derive(Debug, Clone)]
pub(super) struct Drain {
    order: CancellationToken,
    /// Why the run cannot go on, if a connector is gone.
    gone: Arc<OnceLock<String>>,
}

impl Drain {
    /// One that is ordered by this token.
    pub(super) fn by(order: CancellationToken) -> Self {
        Self { order, gone: Arc::default() }
    }

    /// Orders it if the error says that a connector is gone; says whether it does.
    pub(super) fn is_ordered_by(&self, error: &TransactionError) -> bool {
        let gone = error.downcast_ref::<ConnectorError>().filter(|error| error.is_closed());
        if let Some(gone) = gone {
            self.gone.get_or_init(|| gone.message().to_owned());
            self.order.cancel();
        }
        gone.is_some()
    }

    /// Why the run cannot go on, if a connector is gone.
    pub(super) fn gone(&self) -> Option<Error> {
        let message = self.gone.get()?;
        Some(Error::new(ErrorKind::Connector, message).with_hint("what was not taken by then was given back"))
    }
}

impl Deref for Drain {
    type Target = CancellationToken;

    fn deref(&self) -> &CancellationToken {
        &self.order
    }
}

/// What made a run drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    Stop,
    TimeLimit,
}
