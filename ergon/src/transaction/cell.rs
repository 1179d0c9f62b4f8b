//! Reads a typed cell, such as a cell of a workbook, as the type of the task's field.

use serde::de::value::Error as CellError;
use serde::de::{Deserializer, Error as _, IntoDeserializer, Visitor};
use serde_json::{Number, Value};

use super::Text;

/// A cell of a workbook, or of any table whose cells have types.
///
/// It is read like the same cell of a CSV file, so that a task can change its transport without a change to its types:
/// a number becomes text for a `String`, a text with a number becomes a number for a `u32`, an empty cell is `None` for
/// an `Option` and `""` for a `String`. A reader that takes any type gets the cell's own type.
#[derive(Clone, Copy)]
pub(super) struct TypedCell<'de>(pub(super) &'de Value);

impl<'de> TypedCell<'de> {
    /// The cell as a CSV file would hold it. `None` for a list or a map, which are read as JSON.
    fn text(self) -> Option<Text<'de>> {
        match self.0 {
            Value::Null => Some(Text::new("")),
            Value::Bool(flag) => Some(Text::new(if *flag { "true" } else { "false" })),
            Value::Number(number) => Some(Text::owned(number.to_string())),
            Value::String(text) => Some(Text::new(text)),
            Value::Array(_) | Value::Object(_) => None,
        }
    }

    fn is_empty(self) -> bool {
        match self.0 {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            _ => false,
        }
    }
}

fn whole<T: TryFrom<i64> + TryFrom<u64>>(number: &Number) -> Option<T> {
    let signed = number.as_i64().and_then(|number| T::try_from(number).ok());
    signed.or_else(|| number.as_u64().and_then(|number| T::try_from(number).ok()))
}

fn narrow(number: &Number) -> Option<f32> {
    #[expect(clippy::cast_possible_truncation, reason = "the nearest float of 32 bits is what is asked for")]
    number.as_f64().map(|number| number as f32).filter(|number| number.is_finite())
}

macro_rules! numbers {
    ($($method:ident $visit:ident $read:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CellError> {
            // A number is read without text. If it does not fit, the text path reports the same error as for a CSV
            // file.
            if let Value::Number(number) = self.0
                && let Some(number) = $read(number)
            {
                return visitor.$visit(number);
            }
            match self.text() {
                Some(text) => text.into_deserializer().$method(visitor),
                None => self.0.$method(visitor).map_err(CellError::custom),
            }
        }
    )*};
}

macro_rules! texts {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, CellError> {
            match self.text() {
                Some(text) => text.into_deserializer().$method($($argument,)* visitor),
                None => self.0.$method($($argument,)* visitor).map_err(CellError::custom),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for TypedCell<'de> {
    type Error = CellError;

    numbers! {
        deserialize_i8 visit_i8 whole;
        deserialize_i16 visit_i16 whole;
        deserialize_i32 visit_i32 whole;
        deserialize_i64 visit_i64 whole;
        deserialize_i128 visit_i128 whole;
        deserialize_u8 visit_u8 whole;
        deserialize_u16 visit_u16 whole;
        deserialize_u32 visit_u32 whole;
        deserialize_u64 visit_u64 whole;
        deserialize_u128 visit_u128 whole;
        deserialize_f32 visit_f32 narrow;
        deserialize_f64 visit_f64 Number::as_f64;
    }

    texts! {
        deserialize_bool();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_identifier();
        deserialize_unit();
        deserialize_unit_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CellError> {
        self.0.deserialize_any(visitor).map_err(CellError::custom)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CellError> {
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CellError> {
        if self.is_empty() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, CellError> {
        // Types of `serde_json` itself, such as `RawValue`, are recognized by its own values only.
        if name.starts_with("$serde_json") {
            return self.0.deserialize_newtype_struct(name, visitor).map_err(CellError::custom);
        }
        visitor.visit_newtype_struct(self)
    }
}
