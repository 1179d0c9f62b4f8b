//! What moves: a [`Transaction`] is an id, a payload and metadata, indivisible and read-only once made.
//!
//! A source makes transactions whose payload is a [`Payload`] (bytes or a value); the engine decodes that once,
//! straight into the task's own type, and hands `Transaction<Order>` to the task.

mod body;
mod cancel;
mod category;
mod cell;
mod error;
mod id;
pub(crate) mod json;
mod metadata;
pub(crate) mod panic;
mod payload;
mod record;
mod text;
pub(crate) mod time;

use std::any::{Any, TypeId};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use bytes::Bytes;
pub(crate) use cancel::cancellable;
pub use category::HasCategory;
pub use error::{Category, Result, ResultExt, TransactionError};
pub use id::TransactionId;
pub use metadata::{Metadata, key};
pub use payload::{Content, ContentType, Decode, DecodeError, Payload};
pub use record::Record;
pub use serde_json::Value;
pub(crate) use text::Text;

/// A unit of work: an id, a payload and metadata.
///
/// `P` is the payload's type: [`Payload`] as fetched, or the task's own type once decoded. A transaction cannot be
/// changed; cloning one shares everything but a decoded payload, so cloning a `Transaction` (undecoded) is cheap.
///
/// ```
/// use ergon::prelude::*;
///
/// let order = Transaction::new("order-1", &serde_json::json!({"sku": "A-1", "quantity": 2}))?;
/// assert_eq!(order.id(), "order-1");
///
/// let line = order.derive(&"picked")?;
/// assert_eq!(line.parent_id(), Some("order-1"));
/// assert_eq!(line.correlation_id(), "order-1");
/// # Ok::<(), TransactionError>(())
/// ```
#[derive(Clone)]
pub struct Transaction<P = Payload> {
    shared: Arc<Shared>,
    /// How often the source has handed this transaction out, this time included; 1 at first.
    deliveries: u32,
    /// None as long as it is undecoded: `P` is [`Payload`] then, and the shared one is meant.
    payload: Option<P>,
}

/// What every clone, decoded form and forwarded copy of one transaction has in common.
struct Shared {
    id: TransactionId,
    raw: Payload,
    key: Option<Arc<str>>,
    metadata: Metadata,
    source: Option<Arc<str>>,
    created_at: SystemTime,
    parent_id: Option<TransactionId>,
    correlation_id: Option<TransactionId>,
    /// When a sink makes it visible; `None` is immediately.
    due: Option<SystemTime>,
    /// How many children were derived so far; numbers their ids.
    children: AtomicU32,
}

impl Transaction {
    /// Makes a transaction with `value`, serialized as JSON, for its payload.
    ///
    /// # Errors
    /// A business error if `value` cannot be serialized as JSON: it holds a number that is not finite, or a map with
    /// keys that are no strings, for example.
    pub fn new<T: Serialize + ?Sized>(id: impl Into<TransactionId>, value: &T) -> Result<Self> {
        Ok(Self::builder().id(id).payload(Payload::json(value)?).build())
    }

    /// Starts a transaction made part by part; used by sources.
    ///
    /// ```
    /// use ergon::prelude::*;
    /// use ergon::transaction::Payload;
    ///
    /// let line = Transaction::builder()
    ///     .id("orders.csv:7")
    ///     .payload(Payload::text("A-1;2"))
    ///     .metadata("row", 7)
    ///     .build();
    /// assert_eq!(line.metadata().get("row"), Some(&Value::from(7)));
    /// ```
    pub fn builder() -> TransactionBuilder {
        TransactionBuilder::default()
    }

    /// Replaces how often the source has handed this transaction out (1 is the first time).
    ///
    /// For sources that count deliveries; see [`deliveries`](Transaction::deliveries).
    #[must_use]
    pub fn with_deliveries(mut self, deliveries: u32) -> Self {
        self.deliveries = deliveries;
        self
    }

    /// Returns the same transaction with a payload of the task's type.
    ///
    /// # Errors
    /// A [`DecodeError`] that names the field and the position; the transaction itself is left as it is.
    pub fn decoded<T: Decode>(&self) -> Result<Transaction<T>, DecodeError> {
        let stays = TypeId::of::<T>() == TypeId::of::<Payload>();
        let payload = if stays { None } else { Some(T::decode(&self.shared.raw)?) };
        Ok(Transaction { shared: Arc::clone(&self.shared), deliveries: self.deliveries, payload })
    }

    /// Returns a copy that carries `extra` beside its own metadata; id, parent and correlation stay.
    ///
    /// Later keys replace earlier ones. This is how a dead letter gets its `ergon-error`.
    #[must_use]
    pub fn annotate<K, V>(&self, extra: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<Cow<'static, str>>,
        V: Into<Value>,
    {
        let mut metadata = self.shared.metadata.clone();
        for (key, value) in extra {
            metadata.insert(key, value);
        }
        let shared = Shared {
            id: self.shared.id.clone(),
            raw: self.shared.raw.clone(),
            key: self.shared.key.clone(),
            metadata,
            source: self.shared.source.clone(),
            created_at: self.shared.created_at,
            parent_id: self.shared.parent_id.clone(),
            correlation_id: self.shared.correlation_id.clone(),
            due: self.shared.due,
            children: AtomicU32::new(0),
        };
        Self { shared: Arc::new(shared), deliveries: self.deliveries, payload: None }
    }
}

impl Transaction {
    /// Delays the transaction: a sink with the capability of a delay makes it visible after this time.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use ergon::prelude::*;
    ///
    /// let order = Transaction::new("order-1", &2)?;
    /// let reminder = order.derive(&"unpaid")?.after(Duration::from_secs(3600));
    /// assert!(reminder.due() > Some(std::time::SystemTime::now()));
    /// # Ok::<(), TransactionError>(())
    /// ```
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        let now = SystemTime::now();
        self.at(now.checked_add(delay).unwrap_or(now))
    }

    /// Delays the transaction until a time, by the clock of this machine; see [`after`](Self::after).
    #[must_use]
    pub fn at(mut self, time: SystemTime) -> Self {
        if Arc::get_mut(&mut self.shared).is_none() {
            self = self.annotate(std::iter::empty::<(&str, Value)>());
        }
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.due = Some(time);
        }
        self
    }

    /// When the transaction is to become visible; `None` is immediately.
    pub fn due(&self) -> Option<SystemTime> {
        self.shared.due
    }

    /// Adds to the metadata; a transaction that somebody else holds too is copied for that.
    pub(crate) fn carry(&mut self, extra: impl IntoIterator<Item = (&'static str, String)>) {
        match Arc::get_mut(&mut self.shared) {
            Some(shared) => {
                for (key, value) in extra {
                    shared.metadata.insert(key, value);
                }
            }
            None => *self = self.annotate(extra),
        }
    }
}

impl<P: Serialize> Transaction<P> {
    /// Makes a transaction of a value that the task's own code takes as it is; for
    /// [`Producer::transactions`](crate::Producer::transactions).
    ///
    /// The value is also serialized as JSON once: that is what a dead-letter connector is given, and what
    /// [`forward`](Self::forward) returns.
    ///
    /// # Errors
    /// A business error if `payload` cannot be serialized as JSON, for example because it holds a number that is not
    /// finite.
    ///
    /// ```
    /// use ergon::prelude::*;
    ///
    /// let number = Transaction::typed("n-1", 41)?;
    /// assert_eq!((number.id(), *number.payload()), ("n-1", 41));
    /// # Ok::<(), TransactionError>(())
    /// ```
    pub fn typed(id: impl Into<TransactionId>, payload: P) -> Result<Self> {
        let Transaction { shared, deliveries, .. } = Transaction::new(id, &payload)?;
        Ok(Self { shared, deliveries, payload: Some(payload) })
    }
}

impl<P> Transaction<P> {
    /// The id: stable, the same whenever the source hands out the same message, row or line again.
    pub fn id(&self) -> &str {
        self.shared.id.as_str()
    }

    /// The payload.
    pub fn payload(&self) -> &P
    where
        P: 'static,
    {
        self.payload.as_ref().unwrap_or_else(|| undecoded(&self.shared.raw))
    }

    /// The key: transactions of one key belong together, such as all orders of one customer. `None` if the source names
    /// no key.
    pub fn key(&self) -> Option<&str> {
        self.shared.key.as_deref()
    }

    /// What the source (or the sender) said about the payload: row, sheet, headers, and the like.
    pub fn metadata(&self) -> &Metadata {
        &self.shared.metadata
    }

    /// The name of the source this transaction was fetched from; `None` if it was made in the program.
    pub fn source(&self) -> Option<&str> {
        self.shared.source.as_deref()
    }

    /// When the transaction was made, by the clock of the machine that made it.
    pub fn created_at(&self) -> SystemTime {
        self.shared.created_at
    }

    /// The id of the transaction this one was derived from.
    pub fn parent_id(&self) -> Option<&str> {
        self.shared.parent_id.as_ref().map(TransactionId::as_str)
    }

    /// The id that a chain of derived transactions has in common: that of the first one.
    pub fn correlation_id(&self) -> &str {
        self.shared.correlation_id.as_ref().unwrap_or(&self.shared.id).as_str()
    }

    /// How often the source has handed this transaction out, this time included; 1 at first.
    pub fn deliveries(&self) -> u32 {
        self.deliveries
    }

    /// Makes a child with `value`, serialized as JSON, for its payload: an id of its own (`parent/1`, `parent/2`, …
    /// in the order of derivation, the same again when the parent is processed again), `parent_id`, and the
    /// parent's correlation id.
    ///
    /// # Errors
    /// A business error if `value` cannot be serialized as JSON. A number that is not finite (NaN, the infinities) is
    /// refused by the name of its field, because JSON has no form for it.
    pub fn derive<T: Serialize + ?Sized>(&self, value: &T) -> Result<Transaction> {
        let payload = Payload::json(value)?;
        let number = self.shared.children.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let id = format!("{}/{number}", self.shared.id);
        let correlation = self.shared.correlation_id.as_ref().unwrap_or(&self.shared.id).clone();
        let mut builder = Transaction::builder().id(id).payload(payload).parent_id(self.shared.id.clone());
        builder.key.clone_from(&self.shared.key);
        Ok(builder.correlation_id(correlation).build())
    }

    /// Decodes the payload, as it was fetched, into another type.
    ///
    /// # Errors
    /// A business error that names the field and the position.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        Ok(self.shared.raw.decode::<T>()?)
    }

    /// Returns the same transaction with its payload as it was fetched, untouched: id and metadata stay.
    pub fn forward(&self) -> Transaction {
        Transaction { shared: Arc::clone(&self.shared), deliveries: self.deliveries, payload: None }
    }

    /// Says whether the attempt that asks was given up: its time is over, or the run is to end at once. What it does
    /// from then on is in vain.
    ///
    /// For blocking handlers, on the thread they were called on; an async handler is dropped instead of being told.
    pub fn is_cancelled(&self) -> bool {
        cancel::is_cancelled()
    }

    /// How many children have been derived; with [`rewind`](Self::rewind), lets a repeated attempt name them alike.
    pub(crate) fn children(&self) -> u32 {
        self.shared.children.load(Ordering::Relaxed)
    }

    /// Numbers the next child `children + 1` again.
    pub(crate) fn rewind(&self, children: u32) {
        self.shared.children.store(children, Ordering::Relaxed);
    }

    /// The source's name in its shared form.
    #[cfg(feature = "opentelemetry")]
    pub(crate) fn shared_source(&self) -> Option<&Arc<str>> {
        self.shared.source.as_ref()
    }

    /// The id in its shared form.
    pub(crate) fn shared_id(&self) -> &TransactionId {
        &self.shared.id
    }
}

/// A payload as it was fetched, where that is the type that is asked for.
#[expect(clippy::expect_used, reason = "only a transaction of undecoded payload has none of its own")]
fn undecoded<P: 'static>(raw: &Payload) -> &P {
    (raw as &dyn Any).downcast_ref().expect("the payload is undecoded")
}

impl<P: fmt::Debug + 'static> fmt::Debug for Transaction<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared {
            id,
            raw: _,
            key,
            metadata,
            source,
            created_at,
            parent_id,
            correlation_id,
            due,
            children: _,
        } = &*self.shared;
        f.debug_struct("Transaction")
            .field("id", id)
            .field("payload", self.payload())
            .field("key", key)
            .field("metadata", metadata)
            .field("deliveries", &self.deliveries)
            .field("source", source)
            .field("created_at", created_at)
            .field("parent_id", parent_id)
            .field("correlation_id", correlation_id)
            .field("due", due)
            .finish()
    }
}

/// Makes a [`Transaction`] part by part; see [`Transaction::builder`].
#[derive(Debug, Default)]
#[must_use = "a builder makes nothing until `build` is called"]
pub struct TransactionBuilder {
    id: Option<TransactionId>,
    payload: Option<Payload>,
    key: Option<Arc<str>>,
    metadata: Metadata,
    source: Option<Arc<str>>,
    created_at: Option<SystemTime>,
    parent_id: Option<TransactionId>,
    correlation_id: Option<TransactionId>,
    deliveries: Option<u32>,
}

impl TransactionBuilder {
    /// Sets the id. Default: a new id, unique in this process and on this machine.
    pub fn id(mut self, id: impl Into<TransactionId>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets the payload. Default: an empty body.
    pub fn payload(mut self, payload: Payload) -> Self {
        self.payload = Some(payload);
        self
    }

    /// Sets the key; see [`Transaction::key`]. Default: none.
    pub fn key(mut self, key: impl Into<Arc<str>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Adds one entry to the metadata; a later one of the same key replaces it.
    pub fn metadata(mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Self {
        self.metadata.insert(key, value);
        self
    }

    /// Replaces all metadata.
    pub fn all_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// Names the source that hands the transaction out.
    pub fn source(mut self, source: impl Into<Arc<str>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Sets when the transaction was made. Default: now.
    pub fn created_at(mut self, time: SystemTime) -> Self {
        self.created_at = Some(time);
        self
    }

    /// Names the transaction this one was derived from.
    pub fn parent_id(mut self, id: impl Into<TransactionId>) -> Self {
        self.parent_id = Some(id.into());
        self
    }

    /// Sets the id that the chain has in common. Default: the transaction's own id.
    pub fn correlation_id(mut self, id: impl Into<TransactionId>) -> Self {
        self.correlation_id = Some(id.into());
        self
    }

    /// Sets how often the source has handed the transaction out, this time included. Default: 1.
    pub fn deliveries(mut self, deliveries: u32) -> Self {
        self.deliveries = Some(deliveries);
        self
    }

    /// Makes the transaction.
    pub fn build(self) -> Transaction {
        let shared = Shared {
            id: self.id.unwrap_or_else(TransactionId::generate),
            raw: self.payload.unwrap_or_default(),
            key: self.key,
            metadata: self.metadata,
            source: self.source,
            created_at: self.created_at.unwrap_or_else(SystemTime::now),
            parent_id: self.parent_id,
            correlation_id: self.correlation_id,
            due: None,
            children: AtomicU32::new(0),
        };
        Transaction { shared: Arc::new(shared), deliveries: self.deliveries.unwrap_or(1), payload: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_numbered_in_order_and_alike_after_a_rewind() {
        let parent = Transaction::new("p", &1).unwrap();
        let before = parent.children();
        assert_eq!(parent.derive(&1).unwrap().id(), "p/1");
        assert_eq!(parent.derive(&1).unwrap().id(), "p/2");
        parent.rewind(before);
        assert_eq!(parent.derive(&1).unwrap().id(), "p/1");
    }

    #[test]
    fn correlation_is_that_of_the_first() {
        let first = Transaction::new("a", &1).unwrap();
        let third = first.derive(&2).unwrap().derive(&3).unwrap();
        assert_eq!((third.parent_id(), third.correlation_id()), (Some("a/1"), "a"));
    }

    #[test]
    fn annotate_keeps_the_identity() {
        let letter = Transaction::new("a", &1).unwrap().annotate([("ergon-error", "no stock")]);
        assert_eq!(letter.id(), "a");
        assert_eq!(letter.metadata().text("ergon-error"), Some("no stock"));
    }
}
