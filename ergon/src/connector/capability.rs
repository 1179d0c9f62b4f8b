//! Capabilities that some connectors have in addition to their roles, each a small trait of its own.

use std::fmt;
use std::future::Future;

use futures_util::future::BoxFuture;

use super::dead_letters::{DeadLetters, DynDeadLetters, DynRedrive, Redrive};
use super::{ConnectorError, Delivery};
use crate::transaction::Payload;

/// Knows how many transactions are pending; makes progress show "done / total".
pub trait Count: Send + Sync {
    /// Counts what a fetch could still hand out; what is handed out and not settled does not count. Where several
    /// workers fetch from one place, each counts its [share](super::Shard::share).
    ///
    /// # Errors
    /// Why the other side did not say.
    fn count(&self) -> impl Future<Output = Result<u64, ConnectorError>> + Send;
}

/// Finds one transaction by its id.
pub trait FetchById: Send + Sync {
    /// Fetches the transaction with this id, if there is one. It is handed out like any other delivery: no fetch hands
    /// it out as well, and it comes again if it is given back.
    ///
    /// # Errors
    /// Why the other side did not say.
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
    /// No capability.
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

    /// Says how a payload that went through JSON becomes a row again as this source hands it out.
    #[cfg(any(feature = "csv", feature = "excel"))]
    #[must_use]
    pub(crate) fn rows(mut self, again: fn(Payload) -> Payload) -> Self {
        self.rows = Some(again);
        self
    }

    /// Counts what is pending; `None` if the connector cannot.
    pub(crate) async fn pending(self) -> Option<Result<u64, ConnectorError>> {
        match self.count {
            Some(connector) => Some(connector.count().await),
            None => None,
        }
    }

    /// Fetches one by its id; `None` if the connector cannot.
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
