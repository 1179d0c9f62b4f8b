//! Optional capabilities of connectors, such as counting or listing dead letters. Each capability is a small trait, so
//! that a connector implements only those that its external system supports.

use std::fmt;
use std::future::Future;

use futures_util::future::BoxFuture;

use super::dead_letters::{DeadLetters, DynDeadLetters, DynRedrive, Redrive};
use super::{ConnectorError, Delivery};
use crate::transaction::Payload;

/// A source that knows its number of waiting transactions, so that progress shows "done / total".
pub trait Count: Send + Sync {
    /// Counts the transactions that fetches can still deliver. Unacknowledged deliveries do not count. If several
    /// workers fetch from the same endpoint, each counts its [share](super::Shard::share).
    ///
    /// # Errors
    /// The reason why the external system did not answer.
    fn count(&self) -> impl Future<Output = Result<u64, ConnectorError>> + Send;
}

/// A source that finds a transaction by its id, for the command `process-transaction-by-id`.
pub trait FetchById: Send + Sync {
    /// Fetches the transaction with this id, if there is one. No other fetch may return the same delivery. If the
    /// delivery is given back, the source delivers it again.
    ///
    /// # Errors
    /// The reason why the external system did not answer.
    fn fetch_by_id(&self, id: &str) -> impl Future<Output = Result<Option<Delivery>, ConnectorError>> + Send;
}

/// The capabilities of one connector; see [`Connector::capabilities`](super::Connector::capabilities).
///
/// ```
/// use ergon::connector::{Capabilities, ConnectorError, Count};
/// use ergon::Connector;
///
/// struct Shelf;
/// impl Count for Shelf {
///     async fn count(&self) -> Result<u64, ConnectorError> { Ok(3) }
/// }
/// impl Connector for Shelf {
///     const KIND: &'static str = "shelf";
///     fn capabilities(&self) -> Capabilities<'_> { Capabilities::none().count(self) }
/// }
/// ```
#[derive(Clone, Copy, Default)]
pub struct Capabilities<'a> {
    count: Option<&'a dyn DynCount>,
    pub(crate) fetch_by_id: Option<&'a dyn DynFetchById>,
    pub(crate) dead_letters: Option<&'a dyn DynDeadLetters>,
    pub(crate) redrive: Option<&'a dyn DynRedrive>,
    pub(crate) rows: Option<fn(Payload) -> Payload>,
}

impl<'a> Capabilities<'a> {
    /// Makes a list without capabilities.
    pub const fn none() -> Self {
        Self { count: None, fetch_by_id: None, dead_letters: None, redrive: None, rows: None }
    }

    /// Adds [`Count`].
    #[must_use]
    pub fn count<C: Count>(mut self, connector: &'a C) -> Self {
        self.count = Some(connector);
        self
    }

    /// Adds [`FetchById`].
    #[must_use]
    pub fn fetch_by_id<C: FetchById>(mut self, connector: &'a C) -> Self {
        self.fetch_by_id = Some(connector);
        self
    }

    /// Adds [`DeadLetters`].
    #[must_use]
    pub fn dead_letters<C: DeadLetters>(mut self, connector: &'a C) -> Self {
        self.dead_letters = Some(connector);
        self
    }

    /// Adds [`Redrive`].
    #[must_use]
    pub fn redrive<C: Redrive>(mut self, connector: &'a C) -> Self {
        self.redrive = Some(connector);
        self
    }

    /// Sets the function that restores a row of this source from a payload that went through JSON.
    #[cfg(any(feature = "csv", feature = "excel"))]
    #[must_use]
    pub(crate) fn rows(mut self, again: fn(Payload) -> Payload) -> Self {
        self.rows = Some(again);
        self
    }

    /// Counts the waiting transactions. `None` if the connector cannot.
    pub(crate) async fn pending(self) -> Option<Result<u64, ConnectorError>> {
        match self.count {
            Some(connector) => Some(connector.count().await),
            None => None,
        }
    }

    /// Fetches a transaction by its id. `None` if the connector cannot.
    pub(crate) async fn find(self, id: &str) -> Option<Result<Option<Delivery>, ConnectorError>> {
        match self.fetch_by_id {
            Some(connector) => Some(connector.fetch_by_id(id).await),
            None => None,
        }
    }
}

impl fmt::Debug for Capabilities<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capabilities")
            .field("count", &self.count.is_some())
            .field("fetch_by_id", &self.fetch_by_id.is_some())
            .field("dead_letters", &self.dead_letters.is_some())
            .field("redrive", &self.redrive.is_some())
            .finish()
    }
}

trait DynCount: Send + Sync {
    fn count(&self) -> BoxFuture<'_, Result<u64, ConnectorError>>;
}

impl<C: Count> DynCount for C {
    fn count(&self) -> BoxFuture<'_, Result<u64, ConnectorError>> {
        Box::pin(Count::count(self))
    }
}

pub(crate) trait DynFetchById: Send + Sync {
    fn fetch_by_id<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Delivery>, ConnectorError>>;
}

impl<C: FetchById> DynFetchById for C {
    fn fetch_by_id<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Delivery>, ConnectorError>> {
        Box::pin(FetchById::fetch_by_id(self, id))
    }
}
