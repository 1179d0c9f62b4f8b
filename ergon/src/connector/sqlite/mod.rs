//! A durable queue in a SQLite file: no server, several processes, one file.
//!
//! | file | contents |
//! |---|---|
//! | `config.rs` | the settings, and how they make a connector |
//! | `database.rs` | the thread that owns the file's connection and commits the work of all queues together |
//! | `queue.rs` | the statements of one queue: claim, settle, extend, dispatch, count, find |
//! | `row.rs` | a transaction as a row, and back |
//! | `source.rs`, `sink.rs`, `dead_letters.rs` | the traits of a connector |
//!
//! ```
//! use ergon::connector::prelude::*;
//! use ergon::connector::sqlite::SqliteConfig;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("queue.db");
//! let config = SqliteConfig::new(path, "orders");
//! let queue = config.build(&Context::new("ship-orders", "input"))?;
//! queue.open().await?;
//! queue.dispatch(vec![Transaction::new("order-1", &"two apples").unwrap()]).await?;
//!
//! let deliveries = queue.fetch(&FetchRequest::new(10)).await?;
//! assert_eq!(deliveries[0].transaction().id(), "order-1");
//! queue.close().await?; // the delivery is not settled: the queue delivers it again
//! # Ok::<(), ConnectorError>(()) }).unwrap();
//! ```

mod config;
mod database;
mod dead_letters;
mod error;
mod queue;
mod row;
mod sink;
mod source;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use self::database::{Database, Reply};
use self::queue::{Claimed, Queue, Token};
use super::kit::Leases;
use super::{Capabilities, Connector, ConnectorError, Context, Delivery, Direction, Endpoint, Shard};

pub use config::{DeadLetterQueue, SqliteConfig, Synchronous};

/// A queue in a SQLite file; a source and a sink.
///
/// Deliveries that are not settled when the connector is closed or dropped are delivered again, by any process that has
/// the file open.
#[derive(Debug)]
pub struct Sqlite {
    config: SqliteConfig,
    label: String,
    shard: Shard,
    /// Whether a transaction that the task rejects is deleted, because neither the queue nor the task keeps it.
    deletes_rejected: bool,
    opened: OnceLock<Opened>,
}

/// The open file, and what this connector holds of its queue.
#[derive(Debug)]
struct Opened {
    database: Arc<Database>,
    queue: Queue,
    leases: Leases<Token>,
    claims: tokio::sync::Mutex<Claims>,
}

/// Claims whose fetch was cancelled before it could return them.
#[derive(Debug, Default)]
struct Claims {
    /// The answer to the claim that is under way. It stays here when its fetch is cancelled, so that the next fetch
    /// delivers what was claimed.
    pending: Option<Reply<Claimed>>,
    /// Deliveries beyond the maximum of the fetch that received them.
    surplus: VecDeque<Delivery>,
}

impl Sqlite {
    fn new(config: SqliteConfig, context: &Context) -> Self {
        let keeps = config.dead_letter.queue(&config.queue).is_some() || context.has_dead_letter;
        let deletes_rejected = !keeps && context.direction == Direction::Source;
        Self {
            config,
            label: context.label(),
            shard: context.shard,
            deletes_rejected,
            opened: OnceLock::new(),
        }
    }

    /// The open file.
    fn opened(&self) -> Result<&Opened, ConnectorError> {
        self.opened.get().ok_or_else(|| error::not_open(&self.config.path))
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::new(self.config.queue.clone()).within(self.config.path.to_string())
    }
}

impl Connector for Sqlite {
    const KIND: &'static str = "sqlite";

    async fn open(&self) -> Result<(), ConnectorError> {
        let SqliteConfig { path, lease, queue, .. } = &self.config;
        if self.deletes_rejected {
            tracing::warn!(
                queue,
                "rejected transactions are deleted: `dead_letter` of the queue is false, and the task names no \
                 `dead_letter` connector"
            );
        }
        let database = Database::open(path, self.config.synchronous).await?;
        let (name, dead_letter) =
            (self.config.queue.clone(), self.config.dead_letter.queue(&self.config.queue));
        let queue =
            database.write(move |connection| Queue::find(connection, &name, dead_letter.as_deref())).await?;
        let extend = source::Extender { database: Arc::clone(&database), queue, lease: *lease };
        let leases = Leases::start(self.label.clone(), *lease, extend);
        let opened = Opened { database, queue, leases, claims: tokio::sync::Mutex::default() };
        self.opened.set(opened).map_err(|_| ConnectorError::permanent("the queue is open already"))
    }

    async fn close(&self) -> Result<(), ConnectorError> {
        let Some(opened) = self.opened.get() else { return Ok(()) };
        opened.leases.close();
        let queue = opened.queue;
        opened.database.write(move |connection| queue.release(connection)).await
    }

    fn close_timeout(&self) -> Duration {
        database::BUSY + Duration::from_secs(5)
    }

    fn capabilities(&self) -> Capabilities<'_> {
        Capabilities::none().count(self).fetch_by_id(self).dead_letters(self).redrive(self)
    }
}

impl Drop for Sqlite {
    /// A connector that is dropped without `close` releases its claims in the background, so that no worker has to wait
    /// for the end of their leases.
    fn drop(&mut self) {
        if let Some(Opened { database, queue, .. }) = self.opened.take() {
            database.forget(move |connection| queue.release(connection));
        }
    }
}
