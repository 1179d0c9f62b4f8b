//! A [`Duration`](std::time::Duration) of a settings type, as people write one: `timeout = "5s"`.

use serde::de::value::SeqDeserializer;
use serde::de::{Deserialize, Deserializer, Visitor};

use super::fault::Fault;
use crate::policy::duration::Span;

/// Says whether a struct that is asked for is the standard library's duration, by the name and the keys under which
/// serde reads one.
pub(super) fn is_duration(name: &str, fields: &[&str]) -> bool {
    name == "Duration" && fields == ["secs", "nanos"]
}

/// Reads a text such as `5s`, and hands its seconds and nanoseconds on.
pub(super) fn read<'de, D, V>(text: D, visitor: V) -> Result<V::Value, Fault>
where
    D: Deserializer<'de, Error = Fault>,
    V: Visitor<'de>,
{
    let Span(duration) = Span::deserialize(text)?;
    let parts = [duration.as_secs(), u64::from(duration.subsec_nanos())];
    visitor.visit_seq(SeqDeserializer::<_, Fault>::new(parts.into_iter()))
}
