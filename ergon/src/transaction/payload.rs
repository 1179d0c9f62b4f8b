//! The content of a transaction, and its decoding into the task's type. A decoding error names the field and the
//! position.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::value::{Error as PlainError, SeqDeserializer};
use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde_json::Value;

use super::body::Body;
use super::json::{self, WriteError};
use super::{Record, Result, TransactionError};

/// The content of a transaction: a body of bytes with a content type, or a value that needs no parsing.
///
/// Decoding happens once, when a task asks, straight into the task's type. Clones share the content.
///
/// ```
/// use ergon::prelude::*;
/// use ergon::transaction::Payload;
///
/// #[derive(Deserialize)]
/// struct Order { sku: String, quantity: u32 }
///
/// let body = Payload::bytes(ContentType::Json, br#"{"sku": "A-1", "quantity": 2}"#.as_slice());
/// let order: Order = body.decode()?;
/// assert_eq!((order.sku.as_str(), order.quantity), ("A-1", 2));
/// assert_eq!(body.decode::<String>()?, r#"{"sku": "A-1", "quantity": 2}"#);
/// # Ok::<(), ergon::transaction::DecodeError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Payload(Arc<Repr>);

#[derive(Debug)]
enum Repr {
    Body {
        content_type: ContentType,
        bytes: Bytes,
        /// The bytes are JSON, because this process has written them.
        is_json: bool,
    },
    Value(Value),
    Record(Record),
    Records(Vec<Record>),
}

/// The media type of a body, which decides how its bytes are read.
///
/// ```
/// use ergon::prelude::*;
///
/// assert_eq!(ContentType::from("text/plain; charset=utf-8"), ContentType::Text);
/// assert_eq!(ContentType::from("application/order+json").as_str(), "application/order+json");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ContentType {
    /// `application/json`.
    #[default]
    Json,
    /// `text/plain`, UTF-8.
    Text,
    /// `application/octet-stream`.
    Binary,
    /// Any other media type. Decoded like `Json` if it ends in `+json`, otherwise like `Binary`.
    Other(Arc<str>),
    /// JSON under another media type, for a source whose config says that all its bodies are JSON.
    JsonAs(Arc<str>),
}

impl ContentType {
    /// The media type.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Json => "application/json",
            Self::Text => "text/plain",
            Self::Binary => "application/octet-stream",
            Self::Other(name) | Self::JsonAs(name) => name,
        }
    }

    /// Makes the type of a body that is JSON under any media type.
    #[cfg(feature = "rabbitmq")]
    pub(crate) fn json_as(media_type: &str) -> Self {
        match Self::from(media_type) {
            Self::Json => Self::Json,
            other => Self::JsonAs(other.as_str().into()),
        }
    }

    /// Whether a body of this type can have arrived under that media type.
    #[cfg(feature = "rabbitmq")]
    pub(crate) fn is(&self, media_type: &str) -> bool {
        *self == Self::from(media_type) || *self == Self::json_as(media_type)
    }

    pub(crate) fn is_json(&self) -> bool {
        match self {
            Self::Json | Self::JsonAs(_) => true,
            Self::Other(name) => {
                let end = name.len().checked_sub("+json".len()).and_then(|at| name.get(at..));
                end.is_some_and(|end| end.eq_ignore_ascii_case("+json"))
            }
            Self::Text | Self::Binary => false,
        }
    }
}

impl From<&str> for ContentType {
    /// Reads a media type in upper or lower case, without parameters such as `; charset=utf-8`.
    fn from(media_type: &str) -> Self {
        let name = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match name.as_str() {
            "application/json" | "text/json" => Self::Json,
            "text/plain" => Self::Text,
            "application/octet-stream" => Self::Binary,
            _ => Self::Other(name.into()),
        }
    }
}

/// A view of a payload's content. [`Payload::content`] makes it.
///
/// ```
/// use ergon::transaction::{Content, Payload};
///
/// let payload = Payload::text("A-1");
/// assert!(matches!(payload.content(), Content::Body(_, bytes) if bytes.as_ref() == b"A-1"));
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Content<'a> {
    /// A body of bytes.
    Body(&'a ContentType, &'a Bytes),
    /// A value.
    Value(&'a Value),
    /// One row of a table.
    Record(&'a Record),
    /// Several rows of a table.
    Records(&'a [Record]),
}

impl Payload {
    /// Makes a body of bytes.
    pub fn bytes(content_type: ContentType, bytes: impl Into<Bytes>) -> Self {
        Self(Arc::new(Repr::Body { content_type, bytes: bytes.into(), is_json: false }))
    }

    /// Makes a body of plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::bytes(ContentType::Text, text.into())
    }

    /// Makes a body of JSON.
    ///
    /// # Errors
    /// A business error if `value` cannot be serialized as JSON. JSON has no form for NaN and the infinities, so the
    /// error names the field that holds such a number.
    ///
    /// ```
    /// use ergon::transaction::Payload;
    ///
    /// let error = Payload::json(&[1.0, f64::NAN]).unwrap_err();
    /// assert_eq!(error.to_string(), "the payload cannot be written as JSON: its field `[1]` is NaN");
    /// ```
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        match json::to_bytes(value) {
            Ok(bytes) => {
                Ok(Self(Arc::new(Repr::Body { content_type: ContentType::Json, bytes, is_json: true })))
            }
            Err(WriteError::Other(error)) => {
                Err(TransactionError::business("the payload cannot be written as JSON").with_source(error))
            }
            Err(refused) => {
                Err(TransactionError::business(format!("the payload cannot be written as JSON: {refused}")))
            }
        }
    }

    /// Makes a payload of a parsed value. Use [`json`](Self::json) if a float may be NaN or infinite: it reports an
    /// error, whereas a [`Value`] silently holds `null` instead.
    pub fn value(value: Value) -> Self {
        Self(Arc::new(Repr::Value(value)))
    }

    /// Makes a payload of one row of a table.
    pub fn record(record: Record) -> Self {
        Self(Arc::new(Repr::Record(record)))
    }

    /// Makes a payload of several rows of a table.
    pub fn records(records: Vec<Record>) -> Self {
        Self(Arc::new(Repr::Records(records)))
    }

    /// The bytes of a body that this process wrote as JSON. They need no check.
    #[cfg(any(feature = "csv", feature = "json_lines"))]
    pub(crate) fn written_json(&self) -> Option<&Bytes> {
        match self.0.as_ref() {
            Repr::Body { bytes, is_json: true, .. } => Some(bytes),
            _ => None,
        }
    }

    /// Whether the payload is or contains a row that does not decode because of an unreadable cell.
    pub(crate) fn is_broken(&self) -> bool {
        match self.0.as_ref() {
            Repr::Record(record) => record.is_broken(),
            Repr::Records(records) => records.iter().any(Record::is_broken),
            Repr::Body { .. } | Repr::Value(_) => false,
        }
    }

    /// Restores a row of text cells from a JSON object, so that a row from a dead letter decodes like the row of the
    /// table. Everything else is unchanged.
    #[cfg(feature = "csv")]
    pub(crate) fn into_text_row(self) -> Self {
        let Some(Value::Object(row)) = self.as_json() else { return self };
        let text = |value: Value| match value {
            Value::Null => String::new(),
            Value::String(text) => text,
            other => other.to_string(),
        };
        let (names, cells): (Vec<_>, Vec<_>) = row.into_iter().map(|(name, cell)| (name, text(cell))).unzip();
        Self::record(Record::text(names.into(), cells))
    }

    /// Restores one or several rows of typed cells from a JSON object or a list of objects. Everything else is
    /// unchanged.
    #[cfg(feature = "excel")]
    pub(crate) fn into_typed_rows(self) -> Self {
        let row = |value| match value {
            Value::Object(row) => {
                let (names, cells): (Vec<_>, Vec<_>) = row.into_iter().unzip();
                Some(Record::typed(names.into(), cells))
            }
            _ => None,
        };
        match self.as_json() {
            Some(Value::Array(rows)) => {
                rows.into_iter().map(row).collect::<Option<Vec<_>>>().map_or(self, Self::records)
            }
            Some(value) => row(value).map_or(self, Self::record),
            None => self,
        }
    }

    /// The value of a body that is JSON.
    #[cfg(any(feature = "csv", feature = "excel"))]
    fn as_json(&self) -> Option<Value> {
        match self.0.as_ref() {
            Repr::Body { content_type, bytes, .. } if content_type.is_json() => {
                serde_json::from_slice(bytes).ok()
            }
            Repr::Value(value) => Some(value.clone()),
            _ => None,
        }
    }

    /// Returns a view of the content.
    pub fn content(&self) -> Content<'_> {
        match self.0.as_ref() {
            Repr::Body { content_type, bytes, .. } => Content::Body(content_type, bytes),
            Repr::Value(value) => Content::Value(value),
            Repr::Record(record) => Content::Record(record),
            Repr::Records(records) => Content::Records(records),
        }
    }

    /// The content type: that of the body, or JSON for a value.
    pub fn content_type(&self) -> &ContentType {
        match self.0.as_ref() {
            Repr::Body { content_type, .. } => content_type,
            Repr::Record(record) => record.raw().map_or(&ContentType::Json, |(content_type, _)| content_type),
            Repr::Value(_) | Repr::Records(_) => &ContentType::Json,
        }
    }

    /// The content as bytes: a body unchanged, a value as JSON. A CSV row that is not UTF-8 is the bytes of the file.
    ///
    /// # Errors
    /// A [`DecodeError`] if a row has a cell that is an error itself (`#DIV/0!`).
    pub fn to_bytes(&self) -> Result<Bytes, DecodeError> {
        let written = match self.0.as_ref() {
            Repr::Body { bytes, .. } => return Ok(bytes.clone()),
            Repr::Value(value) => serde_json::to_vec(value),
            Repr::Record(record) => match record.raw() {
                Some((_, bytes)) => return Ok(bytes.clone()),
                None => serde_json::to_vec(record),
            },
            Repr::Records(records) => serde_json::to_vec(records),
        };
        written.map(Bytes::from).map_err(|error| DecodeError::new(error.to_string()))
    }

    /// Decodes the content. `String` and [`Bytes`] get a body unchanged.
    ///
    /// No number changes silently. A type that takes any value (`Value`, a flattened or untagged type) does not accept
    /// an integer beyond 64 bits, or a decimal that a 64-bit float cannot hold, as the nearest float: decoding fails. A
    /// field of type `f64` gets the nearest float, and a field of type `u128` or `i128` the integer.
    ///
    /// # Errors
    /// A [`DecodeError`] that names the field and the position.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        match self.0.as_ref() {
            Repr::Body { content_type, bytes, .. } => {
                let body = Body { content_type, bytes };
                T::deserialize(body).map_err(|error| error.at(content_type, bytes, locate::<T>(body)))
            }
            Repr::Value(value) => match T::deserialize(value) {
                Ok(decoded) => Ok(decoded),
                Err(_) => explain(value),
            },
            Repr::Record(record) => match T::deserialize(record) {
                Ok(decoded) => Ok(decoded),
                Err(_) => explain(record),
            },
            Repr::Records(records) => {
                let rows = || SeqDeserializer::<_, PlainError>::new(records.iter());
                T::deserialize(rows()).or_else(|_| explain(rows()))
            }
        }
    }
}

impl Default for Payload {
    fn default() -> Self {
        Self::bytes(ContentType::Binary, Bytes::new())
    }
}

impl From<Value> for Payload {
    fn from(value: Value) -> Self {
        Self::value(value)
    }
}

/// A type that a payload can be decoded into: every `serde` type that owns its data, and [`Payload`] itself, undecoded.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be read from a payload",
    label = "this type does not implement `Deserialize`",
    note = "add `#[derive(Deserialize)]` to `{Self}`, or use `Value`, `String` or `Bytes`"
)]
pub trait Decode: Sized + Send + Sync + 'static {
    /// Decodes the payload.
    ///
    /// # Errors
    /// A [`DecodeError`] that names the field and the position.
    fn decode(payload: &Payload) -> Result<Self, DecodeError>;
}

impl<T: DeserializeOwned + Send + Sync + 'static> Decode for T {
    fn decode(payload: &Payload) -> Result<Self, DecodeError> {
        payload.decode()
    }
}

impl Decode for Payload {
    fn decode(payload: &Payload) -> Result<Self, DecodeError> {
        Ok(payload.clone())
    }
}

/// The mismatch between a payload and the task's type: the field, the position and the expected value.
///
/// As a [`TransactionError`] it is a business error, because the same bytes fail again.
///
/// ```
/// use ergon::transaction::Payload;
///
/// let error = Payload::json(&serde_json::json!({"quantity": "two"}))?
///     .decode::<std::collections::HashMap<String, u32>>()
///     .unwrap_err();
/// assert_eq!(error.field(), Some("quantity"));
/// # Ok::<(), ergon::TransactionError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    message: String,
    field: Option<String>,
    /// Line and column, both from 1.
    position: Option<(usize, usize)>,
}

impl DecodeError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), field: None, position: None }
    }

    pub(super) fn located(
        message: impl Into<String>,
        field: Option<String>,
        position: Option<(usize, usize)>,
    ) -> Self {
        Self { message: message.into(), field, position }
    }

    /// The path of the field that does not fit, such as `lines[2].quantity`. `None` if the whole payload does not fit.
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// The line and the column in the body where reading stopped, both counted from 1. `None` for a payload without
    /// text.
    pub fn position(&self) -> Option<(usize, usize)> {
        self.position
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "payload field `{field}`: {}", self.message)?,
            None => write!(f, "payload: {}", self.message)?,
        }
        match self.position {
            Some((line, column)) => write!(f, " at line {line} column {column}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Decodes again to find the field that does not fit. Decoding tracks the path only after a failure, because tracking
/// is slow.
fn explain<'de, D, T>(content: D) -> Result<T, DecodeError>
where
    D: Deserializer<'de>,
    D::Error: fmt::Display,
    T: Deserialize<'de>,
{
    serde_path_to_error::deserialize(content).map_err(|error| DecodeError {
        field: field_of(error.path()),
        message: error.into_inner().to_string(),
        position: None,
    })
}

fn locate<T: DeserializeOwned>(body: Body<'_>) -> Option<String> {
    serde_path_to_error::deserialize::<_, T>(body).err().and_then(|error| field_of(error.path()))
}

fn field_of(path: &serde_path_to_error::Path) -> Option<String> {
    path.iter().next().map(|_| path.to_string()).filter(|path| path != ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Order {
        #[allow(dead_code, reason = "only its type matters here")]
        lines: Vec<u32>,
    }

    #[test]
    fn the_error_names_field_and_position() {
        let body = Payload::bytes(ContentType::Json, br#"{"lines": [1, "two"]}"#.as_slice());
        let error = body.decode::<Order>().unwrap_err();
        assert_eq!(error.field(), Some("lines[1]"));
        assert_eq!(error.position(), Some((1, 19)));
        assert_eq!(
            error.to_string(),
            "payload field `lines[1]`: invalid type: string \"two\", expected u32 at line 1 column 19"
        );
    }

    #[test]
    fn a_body_that_is_no_json_says_where_it_stops() {
        let body = Payload::bytes(ContentType::Json, b"{\n  nope".as_slice());
        let error = body.decode::<Order>().unwrap_err();
        assert_eq!(error.position(), Some((2, 3)));
    }

    #[test]
    fn trailing_content_is_an_error() {
        let body = Payload::bytes(ContentType::Json, b"[1] [2]".as_slice());
        assert!(body.decode::<Vec<u32>>().is_err());
    }

    #[test]
    fn text_and_bytes_are_the_body_as_it_came() {
        let body = Payload::bytes(ContentType::Json, b"[1, 2]".as_slice());
        assert_eq!(body.decode::<String>().unwrap(), "[1, 2]");
        assert_eq!(body.decode::<Bytes>().unwrap(), &b"[1, 2]"[..]);
        assert_eq!(body.decode::<Vec<u8>>().unwrap(), [1, 2]);
    }

    #[test]
    fn plain_text_becomes_a_value() {
        assert_eq!(Payload::text("hello").decode::<Value>().unwrap(), Value::from("hello"));
    }

    #[test]
    fn the_error_of_a_value_names_the_field() {
        let value = Payload::value(serde_json::json!({"lines": [true]}));
        assert_eq!(value.decode::<Order>().unwrap_err().field(), Some("lines[0]"));
    }

    #[test]
    fn a_payload_can_stay_undecoded() {
        let copy = <Payload as Decode>::decode(&Payload::text("hello")).unwrap();
        assert_eq!(copy.to_bytes().unwrap(), "hello");
    }
}
