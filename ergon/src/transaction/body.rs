//! Reads a body of bytes into the type that a task asks for: text and bytes unchanged, everything else by its content
//! type.

use std::fmt;

use bytes::Bytes;
use serde::de::value::{BorrowedStrDeserializer, BytesDeserializer, Error as PlainError};
use serde::de::{self, Deserializer, Visitor};

use super::json::{all_kept, watched};
use super::{ContentType, DecodeError, Result};

/// A body that is read on demand.
#[derive(Clone, Copy)]
pub(super) struct Body<'de> {
    pub(super) content_type: &'de ContentType,
    pub(super) bytes: &'de Bytes,
}

/// The error of reading a body. Only an error of JSON has a position.
pub(super) enum BodyError {
    Json(serde_json::Error),
    Plain(String),
}

impl BodyError {
    /// Adds the place of the error. For JSON, it is the line and the column, which move out of the message. For any
    /// other body, it is the size and the type.
    pub(super) fn at(self, content_type: &ContentType, bytes: &Bytes, field: Option<String>) -> DecodeError {
        match self {
            Self::Json(error) => {
                let (line, column) = (error.line(), error.column());
                let text = error.to_string();
                let message = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
                let position = (line > 0).then_some((line, column));
                DecodeError::located(message, field, position)
            }
            Self::Plain(message) => {
                let size = bytes.len();
                DecodeError::new(format!("{message} (a body of {size} bytes, {})", content_type.as_str()))
            }
        }
    }
}

impl fmt::Debug for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => error.fmt(f),
            Self::Plain(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for BodyError {}

impl de::Error for BodyError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Plain(message.to_string())
    }
}

impl From<PlainError> for BodyError {
    fn from(error: PlainError) -> Self {
        Self::Plain(error.to_string())
    }
}

impl<'de> Body<'de> {
    fn text(self) -> Result<&'de str, BodyError> {
        std::str::from_utf8(self.bytes)
            .map_err(|error| BodyError::Plain(format!("not UTF-8 from byte {}", error.valid_up_to())))
    }

    fn json<T>(
        self,
        read: impl FnOnce(&mut serde_json::Deserializer<serde_json::de::SliceRead<'de>>) -> serde_json::Result<T>,
    ) -> Result<T, BodyError> {
        let mut json = serde_json::Deserializer::from_slice(self.bytes);
        let value = read(&mut json).map_err(BodyError::Json)?;
        json.end().map_err(BodyError::Json)?;
        Ok(value)
    }

    fn plain<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
        match self.content_type {
            ContentType::Text => {
                Ok(BorrowedStrDeserializer::<PlainError>::new(self.text()?).deserialize_any(visitor)?)
            }
            _ => Ok(BytesDeserializer::<PlainError>::new(self.bytes).deserialize_any(visitor)?),
        }
    }
}

/// Forwards to JSON, or to the plain content of a body that is not JSON. JSON takes the fast path if no number in it
/// can lose a digit, because checking each number while it is read costs time.
macro_rules! as_content {
    ($($method:ident ( $($argument:ident : $type:ty),* ))*) => {$(
        fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, BodyError> {
            if !self.content_type.is_json() {
                self.plain(visitor)
            } else if all_kept(self.bytes) {
                self.json(|json| json.$method($($argument,)* visitor))
            } else {
                watched(self.bytes, |json| json.$method($($argument,)* visitor)).map_err(BodyError::Json)
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Body<'de> {
    type Error = BodyError;

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
        visitor.visit_borrowed_str(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
        visitor.visit_borrowed_bytes(self.bytes)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, BodyError> {
        self.deserialize_bytes(visitor)
    }

    as_content! {
        deserialize_any() deserialize_bool() deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64()
        deserialize_i128() deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_u128()
        deserialize_f32() deserialize_f64() deserialize_char() deserialize_option() deserialize_unit()
        deserialize_unit_struct(name: &'static str) deserialize_newtype_struct(name: &'static str)
        deserialize_seq() deserialize_tuple(len: usize) deserialize_tuple_struct(name: &'static str, len: usize)
        deserialize_map() deserialize_struct(name: &'static str, fields: &'static [&'static str])
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
        deserialize_identifier() deserialize_ignored_any()
    }
}
