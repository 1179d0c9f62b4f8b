//! Ids of transactions.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// The id of a transaction: a text that is the same in every delivery. Clones share the text.
///
/// ```
/// use ergon::transaction::TransactionId;
///
/// let id = TransactionId::from("orders.csv:7");
/// assert_eq!(id.as_str(), "orders.csv:7");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionId(Arc<str>);

impl TransactionId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id in its shared form, for spans and log lines that outlive the transaction.
    #[cfg(feature = "opentelemetry")]
    pub(crate) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// Makes an id that is unique on this machine: nanoseconds since 1970, process id and a counter, in hexadecimal.
    pub(crate) fn generate() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // `Relaxed`, because a count must be unique only.
        let count = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(format!("{:x}-{:x}-{count:x}", now.as_nanos(), std::process::id()).into())
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for TransactionId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for TransactionId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl From<String> for TransactionId {
    fn from(id: String) -> Self {
        Self(id.into())
    }
}

impl From<Arc<str>> for TransactionId {
    fn from(id: Arc<str>) -> Self {
        Self(id)
    }
}
