//! Reads values that people write as text, such as `30s` or `64KiB`. One visitor serves all such types, so that their
//! errors have the same form.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserializer, Unexpected, Visitor};

/// A value that is written as text in the settings.
pub(crate) trait Written: Sized {
    /// The end of the error "expected …": the value that belongs here, with an example.
    const EXPECTED: &'static str;

    /// Makes the value from a plain number, for types that also take a number.
    const FROM_NUMBER: Option<fn(u64) -> Self> = None;

    /// Reads the text.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the text; `None` if "expected …" says enough.
    fn read(text: &str) -> Result<Self, Option<String>>;
}

/// Reads a value that is written as text; the body of its `Deserialize`.
pub(crate) fn deserialize<'de, T: Written, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let visitor = WrittenVisitor(PhantomData);
    match T::FROM_NUMBER {
        Some(_) => deserializer.deserialize_any(visitor),
        None => deserializer.deserialize_str(visitor),
    }
}

struct WrittenVisitor<T>(PhantomData<T>);

impl<T: Written> Visitor<'_> for WrittenVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        let made = T::FROM_NUMBER.map(|make| make(number));
        made.ok_or_else(|| E::invalid_type(Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        match (T::FROM_NUMBER, u64::try_from(number)) {
            (Some(make), Ok(number)) => Ok(make(number)),
            (Some(_), Err(_)) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
            (None, _) => Err(E::invalid_type(Unexpected::Signed(number), &self)),
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        T::read(text).map_err(|why| match why {
            Some(why) => E::custom(why),
            None => E::invalid_value(Unexpected::Str(text), &self),
        })
    }
}
