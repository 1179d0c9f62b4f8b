//! The config of the SQLite connector.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::{Sqlite, error};
use crate::connector::{ConnectorConfig, ConnectorError, Context};
use crate::policy::duration::Span;
use crate::settings::FilePath;

/// Makes a [`Sqlite`] connector: one queue in a SQLite file.
///
/// ```
/// use ergon::connector::sqlite::SqliteConfig;
///
/// let config: SqliteConfig = serde_json::from_str(r#"{"path": "queue.db", "queue": "orders", "lease": "1m"}"#)?;
/// assert_eq!(config.lease.as_secs(), 60);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqliteConfig {
    /// The file; it is made when it does not exist.
    pub path: FilePath,
    /// The queue's name. A file holds any number of queues.
    pub queue: String,
    /// Source: how long a claim lasts without being extended. The connector extends it at a third of this time, so it
    /// matters only when a process dies: its deliveries are delivered again after the lease. At least 1s. Default: 30s.
    #[serde(default = "lease", deserialize_with = "duration")]
    pub lease: Duration,
    /// Source: where a rejected transaction goes. `true` is the queue `<queue>.dead` of the same file, a text is the
    /// queue of that name, `false` deletes it. Default: true.
    #[serde(default)]
    pub dead_letter: DeadLetterQueue,
    /// When a commit is durable. Default: `full`.
    #[serde(default)]
    pub synchronous: Synchronous,
}

/// Where a queue puts what is rejected.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum DeadLetterQueue {
    /// `true`: the queue `<queue>.dead`; `false`: none, a rejected transaction is deleted.
    Default(bool),
    /// The queue of this name, in the same file.
    Named(String),
}

impl Default for DeadLetterQueue {
    fn default() -> Self {
        Self::Default(true)
    }
}

impl DeadLetterQueue {
    /// The name of the dead-letter queue of a queue.
    pub(super) fn queue(&self, of: &str) -> Option<String> {
        match self {
            Self::Default(false) => None,
            Self::Default(true) => Some(format!("{of}.dead")),
            Self::Named(name) => Some(name.clone()),
        }
    }
}

/// When a commit is durable; `PRAGMA synchronous` of SQLite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Synchronous {
    /// Each commit waits until the disk has it: it survives a loss of power.
    #[default]
    Full,
    /// A commit survives the death of the process, and not always a loss of power; the file stays sound.
    Normal,
}

impl Synchronous {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Normal => "NORMAL",
        }
    }
}

const fn lease() -> Duration {
    Duration::from_secs(30)
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Span::deserialize(deserializer).map(|span| span.0)
}

impl SqliteConfig {
    /// Names the file and the queue; all else is as by default.
    pub fn new(path: impl Into<FilePath>, queue: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            queue: queue.into(),
            lease: lease(),
            dead_letter: DeadLetterQueue::default(),
            synchronous: Synchronous::default(),
        }
    }

    /// Sets the lease.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }
}

impl ConnectorConfig for SqliteConfig {
    type Connector = Sqlite;

    fn build(&self, context: &Context) -> Result<Sqlite, ConnectorError> {
        if self.queue.is_empty() {
            return Err(ConnectorError::permanent("`queue` is empty").with_hint("name the queue"));
        }
        if self.lease < Duration::from_secs(1) {
            return Err(error::short_lease(self.lease));
        }
        if self.dead_letter.queue(&self.queue).as_ref() == Some(&self.queue) {
            let what = format!("`dead_letter` is the queue `{}` itself", self.queue);
            return Err(
                ConnectorError::permanent(what).with_hint("name another queue, or leave `dead_letter` out")
            );
        }
        Ok(Sqlite::new(self.clone(), context))
    }
}
