//! Deserializes JSON, and refuses a number whose digits the target type would lose without an error.
//!
//! A reader that asks for a float or an integer gets it. A reader that accepts any value (a `Value`, a flattened or
//! untagged type) would get the nearest float, so the number is refused. Only a body with such a number is read this
//! way, because this module reads byte by byte to find the place of the number, which is slow.

use std::cell::Cell;
use std::fmt;
use std::io;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::keeps;

/// Reads all of `bytes`.
pub(crate) fn watched<'a, T, E: From<serde_json::Error>>(
    bytes: &'a [u8],
    read: impl FnOnce(Watched<'a, '_, &mut Json<'a, '_>>) -> Result<T, E>,
) -> Result<T, E> {
    let trail = Trail { bytes, read: Cell::new(0) };
    let mut json = serde_json::Deserializer::from_reader(Bytes(&trail));
    let value = read(Watched { inner: &mut json, trail: &trail })?;
    json.end()?;
    Ok(value)
}

/// Reads JSON from a [`Trail`].
pub(crate) type Json<'a, 't> = serde_json::Deserializer<serde_json::de::IoRead<Bytes<'a, 't>>>;

/// A text, and the length that was read of it.
pub(crate) struct Trail<'a> {
    bytes: &'a [u8],
    read: Cell<usize>,
}

impl<'a> Trail<'a> {
    /// The number that was just read. Its reader has read at most one byte beyond it.
    fn number(&self) -> &'a str {
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E');
        let read = self.bytes.get(..self.read.get()).unwrap_or_default();
        let ends = read.len() - usize::from(read.last().is_some_and(|last| !is_part(last)));
        let read = read.get(..ends).unwrap_or_default();
        let begins = read.iter().rposition(|byte| !is_part(byte)).map_or(0, |last| last + 1);
        read.get(begins..).and_then(|number| std::str::from_utf8(number).ok()).unwrap_or_default()
    }
}

/// Reads a text byte by byte.
pub(crate) struct Bytes<'a, 't>(&'t Trail<'a>);

impl io::Read for Bytes<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (Some(place), Some(byte)) = (buffer.first_mut(), self.0.bytes.get(self.0.read.get())) else {
            return Ok(0);
        };
        *place = *byte;
        self.0.read.set(self.0.read.get() + 1);
        Ok(1)
    }
}

/// Wraps a deserializer, and all deserializers of the parts of its value.
pub(crate) struct Watched<'a, 't, D> {
    inner: D,
    trail: &'t Trail<'a>,
}

/// Wraps a visitor. `asked` says that the reader asked for this type.
struct Watch<'a, 't, V> {
    inner: V,
    trail: &'t Trail<'a>,
    asked: bool,
}

macro_rules! typed {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method(visitor)
        }
    )*};
}

macro_rules! wrapped {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method($($argument,)* Watch { inner: visitor, trail: self.trail, asked: true })
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Watched<'_, '_, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_any(Watch { inner: visitor, trail: self.trail, asked: false })
    }

    typed! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 deserialize_u8
        deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64
        deserialize_char deserialize_str deserialize_string deserialize_unit deserialize_identifier
        deserialize_ignored_any
    }

    wrapped! {
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_option();
        deserialize_unit_struct(name: &'static str);
        deserialize_newtype_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! visited {
    ($($method:ident $type:ty;)*) => {$(
        fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Watch<'_, '_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_f64<E: Error>(self, float: f64) -> Result<V::Value, E> {
        let number = self.trail.number();
        if self.asked || keeps(number) {
            return self.inner.visit_f64(float);
        }
        Err(E::custom(format_args!(
            "the number {number} has more digits than a value keeps, expected at most 17, or an integer of 64 bits; \
             name a type for it that holds them, such as `u128`, or send it as text"
        )))
    }

    visited! {
        visit_bool bool;
        visit_i8 i8;
        visit_i16 i16;
        visit_i32 i32;
        visit_i64 i64;
        visit_i128 i128;
        visit_u8 u8;
        visit_u16 u16;
        visit_u32 u32;
        visit_u64 u64;
        visit_u128 u128;
        visit_f32 f32;
        visit_char char;
        visit_str &str;
        visit_borrowed_str &'de str;
        visit_string String;
        visit_bytes &[u8];
        visit_borrowed_bytes &'de [u8];
        visit_byte_buf Vec<u8>;
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(Watched { inner, trail: self.trail })
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(Watched { inner, trail: self.trail })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_seq(Watched { inner, trail: self.trail })
    }

    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(Watched { inner, trail: self.trail })
    }

    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(Watched { inner, trail: self.trail })
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Watched<'_, '_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Watched { inner, trail: self.trail })
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Watched<'_, '_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.inner.next_element_seed(Watched { inner: seed, trail: self.trail })
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Watched<'_, '_, A> {
    type Error = A::Error;

    /// A key is a string in JSON, and keeps its digits.
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.inner.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.next_value_seed(Watched { inner: seed, trail: self.trail })
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'a, 't, 'de, A: EnumAccess<'de>> EnumAccess<'de> for Watched<'a, 't, A> {
    type Error = A::Error;
    type Variant = Watched<'a, 't, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let (value, inner) = self.inner.variant_seed(seed)?;
        Ok((value, Watched { inner, trail: self.trail }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Watched<'_, '_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.newtype_variant_seed(Watched { inner: seed, trail: self.trail })
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.inner.tuple_variant(len, Watch { inner: visitor, trail: self.trail, asked: true })
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.inner.struct_variant(fields, Watch { inner: visitor, trail: self.trail, asked: true })
    }
}
