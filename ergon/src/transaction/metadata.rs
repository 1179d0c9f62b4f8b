//! What is known about a payload besides itself.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

/// Keys of metadata that the framework itself writes.
pub mod key {
    /// Why a dead letter was rejected, in words.
    pub const ERROR: &str = "ergon-error";
    /// The category of that error: `business`, `system` or `timeout`.
    pub const CATEGORY: &str = "ergon-category";
    /// How many attempts the failing step took.
    pub const ATTEMPTS: &str = "ergon-attempts";
    /// The task that rejected the transaction.
    pub const TASK: &str = "ergon-task";
    /// How often the transaction was sent back to its source after it had been rejected.
    pub const REPLAYS: &str = "ergon-replays";
    /// Set on a dead letter whose row could not be read where it was fetched: its payload holds only the cells that
    /// could.
    pub const UNREADABLE: &str = "ergon-unreadable";
}

/// An ordered map from a key to a JSON value; small, so it is searched from the front.
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

    /// Sets the value under `key`; returns the one it replaces. A float that is not finite is `null` as a [`Value`].
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

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Says whether there is no entry.
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
