//! The metadata of a transaction: values that travel with its payload, such as headers, row numbers, and the reason of
//! a dead letter.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

/// Keys of metadata that the framework writes.
pub mod key {
    /// The message of the error for which a dead letter was rejected.
    pub const ERROR: &str = "ergon-error";
    /// The category of that error: `business`, `system` or `timeout`.
    pub const CATEGORY: &str = "ergon-category";
    /// The number of attempts of the failed step.
    pub const ATTEMPTS: &str = "ergon-attempts";
    /// The task that rejected the transaction.
    pub const TASK: &str = "ergon-task";
    /// The number of times that the transaction was sent back to its source, or run again, after a rejection.
    pub const REPLAYS: &str = "ergon-replays";
    /// Set on a dead letter whose row could not be read from its source. Its payload holds only the readable cells.
    pub const UNREADABLE: &str = "ergon-unreadable";
}

/// An ordered map from keys to JSON values. Searches are linear, because metadata has few entries.
///
/// ```
/// use ergon::transaction::Metadata;
///
/// let metadata = Metadata::from_iter([("sheet", "Orders"), ("row", "7")]);
/// assert_eq!(metadata.text("sheet"), Some("Orders"));
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata(Vec<(Cow<'static, str>, Value)>);

impl Metadata {
    /// The value under `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, value)| value)
    }

    /// The value under `key`, if it is text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str)
    }

    /// Sets the value under `key`, and returns the replaced value. A float that is not finite becomes `null`, because a
    /// [`Value`] cannot hold it.
    pub fn insert(&mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Option<Value> {
        let (key, value) = (key.into(), value.into());
        if let Some(entry) = self.0.iter_mut().find(|(k, _)| *k == key) {
            return Some(std::mem::replace(&mut entry.1, value));
        }
        self.0.push((key, value));
        None
    }

    /// The entries, in the order of their insertion.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_ref(), value))
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K: Into<Cow<'static, str>>, V: Into<Value>> FromIterator<(K, V)> for Metadata {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut metadata = Self::default();
        for (key, value) in entries {
            metadata.insert(key, value);
        }
        metadata
    }
}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}
