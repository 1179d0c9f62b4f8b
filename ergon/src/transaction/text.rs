//! Reads text as the type that a field has: a cell of a CSV file, a text of a workbook, a variable of the environment.
//! One module reads all of them, so that the same text has the same meaning everywhere.

use std::borrow::Cow;

use serde::de::value::CowStrDeserializer;
use serde::de::{self, Deserializer, IntoDeserializer, Visitor};

/// A piece of text that becomes a number, a flag, nothing or text, as the reader asks.
///
/// Empty text is `None` for an `Option`, and is accepted as `()`. For a reader that takes any type it stays text. White
/// space around a number or a flag is ignored, and text of white space alone is text. A flag is `true` or `false` in
/// upper or lower case, because spreadsheets write `TRUE`. A number is finite: `NaN`, `inf` and numbers beyond the
/// type's range are refused.
#[derive(Debug, Clone)]
pub(crate) struct Text<'de>(Cow<'de, str>);

impl<'de> Text<'de> {
    pub(crate) fn new(text: &'de str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// Takes an owned text.
    pub(crate) fn owned(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}

/// Reads a flag.
fn flag(text: &str) -> Option<bool> {
    [true, false].into_iter().find(|flag| text.eq_ignore_ascii_case(if *flag { "true" } else { "false" }))
}

macro_rules! parsed {
    ($($method:ident $visit:ident $parse:expr, $what:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
            match $parse(self.0.trim()) {
                Some(value) => visitor.$visit(value),
                None => Err(E::invalid_value(de::Unexpected::Str(&self.0), &$what)),
            }
        }
    )*};
}

/// Deserializes a [`Text`] with the caller's error type.
pub(crate) struct TextDeserializer<'de, E>(Cow<'de, str>, std::marker::PhantomData<E>);

impl<'de, E: de::Error> IntoDeserializer<'de, E> for Text<'de> {
    type Deserializer = TextDeserializer<'de, E>;

    fn into_deserializer(self) -> TextDeserializer<'de, E> {
        TextDeserializer(self.0, std::marker::PhantomData)
    }
}

fn parse<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

impl<'de, E: de::Error> Deserializer<'de> for TextDeserializer<'de, E> {
    type Error = E;

    parsed! {
        deserialize_bool visit_bool flag, "`true` or `false`";
        deserialize_i8 visit_i8 parse::<i8>, "a whole number of 8 bits";
        deserialize_i16 visit_i16 parse::<i16>, "a whole number of 16 bits";
        deserialize_i32 visit_i32 parse::<i32>, "a whole number of 32 bits";
        deserialize_i64 visit_i64 parse::<i64>, "a whole number of 64 bits";
        deserialize_i128 visit_i128 parse::<i128>, "a whole number of 128 bits";
        deserialize_u8 visit_u8 parse::<u8>, "a whole number from 0 to 255";
        deserialize_u16 visit_u16 parse::<u16>, "a whole number from 0 to 65535";
        deserialize_u32 visit_u32 parse::<u32>, "a whole number from 0 to 4294967295";
        deserialize_u64 visit_u64 parse::<u64>, "a whole number that is not negative";
        deserialize_u128 visit_u128 parse::<u128>, "a whole number that is not negative";
        deserialize_f32 visit_f32 |text| parse(text).filter(|number: &f32| number.is_finite()), "a finite number of 32 bits";
        deserialize_f64 visit_f64 |text| parse(text).filter(|number: &f64| number.is_finite()), "a finite number";
    }

    /// A single character is itself, even a blank, so it is tried before trimming.
    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        match parse(&self.0).or_else(|| parse(self.0.trim())) {
            Some(character) => visitor.visit_char(character),
            None => Err(E::invalid_value(de::Unexpected::Str(&self.0), &"one character")),
        }
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        match self.0 {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        if self.0.is_empty() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        if self.0.is_empty() { visitor.visit_unit() } else { self.deserialize_any(visitor) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, E> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, E> {
        CowStrDeserializer::<E>::new(self.0).deserialize_enum(name, variants, visitor)
    }

    serde::forward_to_deserialize_any! {
        str string bytes byte_buf unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
