//! The unit of work: a [`Transaction`] is an id, a payload and metadata, indivisible and read-only.
//!
//! A source makes transactions whose payload is a [`Payload`] (bytes or a value). The engine decodes the payload once,
//! straight into the task's own type, and gives the task a `Transaction<Order>`.
//!
//! The errors of a task are here too. A [`TransactionError`] has a [`Category`] that decides whether a retry can help.
//! With [`HasCategory`], `?` finds the category by the type of an error.

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
use std::time::SystemTime;

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
#[cfg(feature = "csv")]
pub(crate) use record::TextCells;
pub use serde_json::Value;
pub(crate) use text::Text;

/// A unit of work: an id, a payload and metadata.
///
/// `P` is the payload's type: [`Payload`] as fetched, or the task's own type once decoded. A transaction is read-only.
/// Clones share everything except a decoded payload, so cloning an undecoded `Transaction` is cheap.
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
    /// The number of deliveries by the source, this one included: 1 at first.
    deliveries: u32,
    /// The decoded payload. `None` if undecoded: `P` is [`Payload`] then, and the payload is `shared.raw`.
    payload: Option<P>,
}

/// The state that every clone, decoded form and forwarded copy of a transaction shares.
struct Shared {
    id: TransactionId,
    raw: Payload,
    metadata: Metadata,
    source: Option<Arc<str>>,
    created_at: SystemTime,
    parent_id: Option<TransactionId>,
    correlation_id: Option<TransactionId>,
    /// The number of derived children, from which their ids are made.
    children: AtomicU32,
}

impl Transaction {
    /// Makes a transaction of an id and a value, which is serialized as JSON.
    ///
    /// # Errors
    /// A business error if `value` cannot be serialized as JSON, for example because of a number that is not finite, or
    /// a map whose keys are not strings.
    pub fn new<T: Serialize + ?Sized>(id: impl Into<TransactionId>, value: &T) -> Result<Self> {
        Ok(Self::builder().id(id).payload(Payload::json(value)?).build())
    }

    /// Starts a [`TransactionBuilder`], which sources use.
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

    /// Sets the number of deliveries, this one included, for a source that counts them. See
    /// [`deliveries`](Transaction::deliveries).
    #[must_use]
    pub fn with_deliveries(mut self, deliveries: u32) -> Self {
        self.deliveries = deliveries;
        self
    }

    /// Returns the same transaction with its payload decoded into the task's type.
    ///
    /// # Errors
    /// A [`DecodeError`] that names the field and the position. The transaction itself does not change.
    pub fn decoded<T: Decode>(&self) -> Result<Transaction<T>, DecodeError> {
        let stays = TypeId::of::<T>() == TypeId::of::<Payload>();
        let payload = if stays { None } else { Some(T::decode(&self.shared.raw)?) };
        Ok(Transaction { shared: Arc::clone(&self.shared), deliveries: self.deliveries, payload })
    }

    /// Returns a copy with `extra` added to the metadata, and the same id, parent and correlation id.
    ///
    /// An entry of `extra` replaces an entry with the same key. The engine adds `ergon-error` to a dead letter in this
    /// way.
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
            metadata,
            source: self.shared.source.clone(),
            created_at: self.shared.created_at,
            parent_id: self.shared.parent_id.clone(),
            correlation_id: self.shared.correlation_id.clone(),
            children: AtomicU32::new(0),
        };
        Self { shared: Arc::new(shared), deliveries: self.deliveries, payload: None }
    }
}

impl Transaction {
    /// Adds to the metadata. A transaction with other clones is copied first, because they share the metadata.
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
    /// Makes a transaction whose payload is already decoded, for
    /// [`Producer::transactions`](crate::Producer::transactions).
    ///
    /// The value is also serialized as JSON once, for the dead-letter connector and for [`forward`](Self::forward).
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
    /// The id, the same in every delivery of the same message, row or line.
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

    /// The metadata that the source or the sender gave: row, sheet, headers and the like.
    pub fn metadata(&self) -> &Metadata {
        &self.shared.metadata
    }

    /// The name of the source that the transaction was fetched from. `None` if the program made it.
    pub fn source(&self) -> Option<&str> {
        self.shared.source.as_deref()
    }

    /// The creation time, by the clock of the machine that made the transaction.
    pub fn created_at(&self) -> SystemTime {
        self.shared.created_at
    }

    /// The id of the transaction from which this one was derived.
    pub fn parent_id(&self) -> Option<&str> {
        self.shared.parent_id.as_ref().map(TransactionId::as_str)
    }

    /// The id that a chain of derived transactions shares: the id of the first one.
    pub fn correlation_id(&self) -> &str {
        self.shared.correlation_id.as_ref().unwrap_or(&self.shared.id).as_str()
    }

    /// The number of times that the source has delivered this transaction, this time included: 1 at first.
    pub fn deliveries(&self) -> u32 {
        self.deliveries
    }

    /// Makes a child with `value`, serialized as JSON, as its payload.
    ///
    /// The child's id is `parent/1`, `parent/2`, … in the order of derivation, and the same again if the parent is
    /// processed again, so a sink can recognize duplicates. The child has `parent_id` and the parent's correlation id.
    ///
    /// # Errors
    /// A business error if `value` cannot be serialized as JSON. JSON has no form for NaN and the infinities, so the
    /// error names the field that holds such a number.
    pub fn derive<T: Serialize + ?Sized>(&self, value: &T) -> Result<Transaction> {
        let payload = Payload::json(value)?;
        // `Relaxed`, because the count publishes no other data.
        let number = self.shared.children.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let id = TransactionId::numbered(self.id(), b'/', u64::from(number));
        let correlation = self.shared.correlation_id.as_ref().unwrap_or(&self.shared.id).clone();
        let builder = Transaction::builder().id(id).payload(payload).parent_id(self.shared.id.clone());
        Ok(builder.correlation_id(correlation).build())
    }

    /// Decodes the fetched payload into another type.
    ///
    /// # Errors
    /// A business error that names the field and the position.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        Ok(self.shared.raw.decode::<T>()?)
    }

    /// Returns the same transaction with its undecoded payload, unchanged. Id and metadata stay.
    pub fn forward(&self) -> Transaction {
        Transaction { shared: Arc::clone(&self.shared), deliveries: self.deliveries, payload: None }
    }

    /// Whether the engine has cancelled the attempt that asks, because its time limit ended or the run ends now. Its
    /// result is not used any more.
    ///
    /// For blocking handlers, on the thread of the call. The engine drops an async handler instead.
    pub fn is_cancelled(&self) -> bool {
        cancel::is_cancelled()
    }

    /// The number of derived children. With [`rewind`](Self::rewind), a repeated attempt gives its children the same
    /// ids.
    pub(crate) fn children(&self) -> u32 {
        self.shared.children.load(Ordering::Relaxed)
    }

    /// Resets the number of derived children.
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

/// The undecoded payload, for a transaction whose `P` is [`Payload`].
#[expect(clippy::expect_used, reason = "only a transaction of undecoded payload has none of its own")]
fn undecoded<P: 'static>(raw: &Payload) -> &P {
    (raw as &dyn Any).downcast_ref().expect("the payload is undecoded")
}

impl<P: fmt::Debug + 'static> fmt::Debug for Transaction<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { id, raw: _, metadata, source, created_at, parent_id, correlation_id, children: _ } =
            &*self.shared;
        f.debug_struct("Transaction")
            .field("id", id)
            .field("payload", self.payload())
            .field("metadata", metadata)
            .field("deliveries", &self.deliveries)
            .field("source", source)
            .field("created_at", created_at)
            .field("parent_id", parent_id)
            .field("correlation_id", correlation_id)
            .finish()
    }
}

/// Builds a [`Transaction`] part by part. [`Transaction::builder`] starts it.
///
/// ```
/// use ergon::prelude::*;
///
/// let made = Transaction::builder().id("a/1").parent_id("a").deliveries(2).build();
/// assert_eq!((made.parent_id(), made.deliveries()), (Some("a"), 2));
/// ```
#[derive(Debug, Default)]
#[must_use = "a builder makes nothing until `build` is called"]
pub struct TransactionBuilder {
    id: Option<TransactionId>,
    payload: Option<Payload>,
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

    /// Adds an entry to the metadata. A later entry with the same key replaces it.
    pub fn metadata(mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Self {
        self.metadata.insert(key, value);
        self
    }

    /// Replaces all metadata.
    pub fn all_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// Sets the name of the source that delivers the transaction. Default: none.
    pub fn source(mut self, source: impl Into<Arc<str>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Sets the creation time. Default: now.
    pub fn created_at(mut self, time: SystemTime) -> Self {
        self.created_at = Some(time);
        self
    }

    /// Sets the id of the transaction from which this one is derived. Default: none.
    pub fn parent_id(mut self, id: impl Into<TransactionId>) -> Self {
        self.parent_id = Some(id.into());
        self
    }

    /// Sets the id that a chain of derived transactions shares. Default: the transaction's own id.
    pub fn correlation_id(mut self, id: impl Into<TransactionId>) -> Self {
        self.correlation_id = Some(id.into());
        self
    }

    /// Sets the number of deliveries, this one included. Default: 1.
    pub fn deliveries(mut self, deliveries: u32) -> Self {
        self.deliveries = Some(deliveries);
        self
    }

    /// Makes the transaction.
    pub fn build(self) -> Transaction {
        let shared = Shared {
            id: self.id.unwrap_or_else(TransactionId::generate),
            raw: self.payload.unwrap_or_default(),
            metadata: self.metadata,
            source: self.source,
            created_at: self.created_at.unwrap_or_else(SystemTime::now),
            parent_id: self.parent_id,
            correlation_id: self.correlation_id,
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
