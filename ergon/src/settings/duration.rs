//! Parses a [`Duration`](std::time::Duration) of a settings type, as people write durations: `timeout = "5s"`.

use serde::de::value::SeqDeserializer;
use serde::de::{Deserialize, Deserializer, Visitor};

use super::fault::Fault;
use crate::policy::duration::Span;

/// Returns whether a requested struct is the duration of the standard library, by its name and keys in serde.
pub(super) fn is_duration(name: &str, fields: &[&str]) -> bool {
    name == "Duration" && fields == ["secs", "nanos"]
}

/// Parses a text such as `5s`, and passes on its seconds and nanoseconds.
pub(super) fn read<'de, D, V>(text: D, visitor: V) -> Result<V::Value, Fault>
where
    D: Deserializer<'de, Error = Fault>,
    V: Visitor<'de>,
{
    let Span(duration) = Span::deserialize(text)?;
    let parts = [duration.as_secs(), u64::from(duration.subsec_nanos())];
    visitor.visit_seq(SeqDeserializer::<_, Fault>::new(parts.into_iter()))
}
