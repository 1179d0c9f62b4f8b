//! The drain of a run: every reason to stop cancels its token.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use crate::connector::ConnectorError;
use crate::error::{Error, ErrorKind};
use crate::transaction::TransactionError;

/// The drain token of a loop. When it is cancelled, the loop fetches nothing more, interrupts retry waits, and finishes
/// its in-flight work.
#[derive(Debug, Clone)]
pub(super) struct Drain {
    order: CancellationToken,
    /// The message of the connector that is closed, if one is.
    closed: Arc<OnceLock<String>>,
}

impl Drain {
    /// Makes a drain that starts when this token is cancelled.
    pub(super) fn by(order: CancellationToken) -> Self {
        Self { order, closed: Arc::default() }
    }

    /// Orders the drain if the error says that a connector is closed. Returns whether it does.
    pub(super) fn is_ordered_by(&self, error: &TransactionError) -> bool {
        let closed = error.downcast_ref::<ConnectorError>().filter(|error| error.is_closed());
        if let Some(closed) = closed {
            self.closed.get_or_init(|| closed.message().to_owned());
            self.order.cancel();
        }
        closed.is_some()
    }

    /// The error of a run that a closed connector ended.
    pub(super) fn closed(&self) -> Option<Error> {
        let message = self.closed.get()?;
        Some(
            Error::new(ErrorKind::Connector, message)
                .with_hint("the deliveries that it had not accepted were given back"),
        )
    }
}

impl Deref for Drain {
    type Target = CancellationToken;

    fn deref(&self) -> &CancellationToken {
        &self.order
    }
}

/// The reason why a run drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    Stop,
    TimeLimit,
}
