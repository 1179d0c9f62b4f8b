//! Writes rows as records.
//!
//! Most transactions of a task are JSON objects with the names of the columns, in the same order. Such a row is written
//! directly from the JSON, without a map and without values.

use std::borrow::Cow;
use std::fmt;

use csv::{QuoteStyle, WriterBuilder};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use crate::transaction::json::all_kept;

/// The style of written records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) delimiter: u8,
    /// Whether a text that a spreadsheet would run is written as it is.
    pub(super) raw: bool,
}

impl Style {
    /// Returns the name that a column of the file has in transactions: without the apostrophe that the sink put before
    /// it.
    pub(super) fn meant(self, name: &str) -> &str {
        let bare = name.strip_prefix('\'').filter(|bare| !self.raw && looks_like_formula(bare));
        bare.unwrap_or(name)
    }
}

/// Writes a JSON object as a record, without the line's end. Returns false if the fast path does not apply: the row has
/// other names, or a cell that is a list, a map, a formula, or a number whose digits a value would lose. Then a part of
/// the row may be in `line`.
pub(super) fn write_json(json: &[u8], names: &[String], style: Style, line: &mut Vec<u8>) -> bool {
    if !all_kept(json) {
        return false;
    }
    let mut reader = serde_json::Deserializer::from_slice(json);
    let written = (&mut reader).deserialize_map(Row { names, style, line });
    written.is_ok() && reader.end().is_ok()
}

struct Row<'a> {
    names: &'a [String],
    style: Style,
    line: &'a mut Vec<u8>,
}

impl<'de> Visitor<'de> for Row<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row with the names of the columns, in their order")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { names, style, line } = self;
        let start = line.len();
        for (column, name) in names.iter().enumerate() {
            if map.next_key_seed(Name(name))? != Some(true) {
                return Err(A::Error::custom("the row has other names"));
            }
            if column > 0 {
                line.push(style.delimiter);
            }
            map.next_value_seed(Cell { style, line: &mut *line })?;
        }
        if map.next_key::<IgnoredAny>()?.is_some() {
            return Err(A::Error::custom("the row has more names"));
        }
        if line.len() == start {
            // Without the quotes the line would be empty, and readers skip empty lines.
            line.extend_from_slice(b"\"\"");
        }
        Ok(())
    }
}

/// Returns whether a key of the JSON object is this name.
struct Name<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, key: D) -> Result<bool, D::Error> {
        key.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

/// Writes one value as a cell.
struct Cell<'a> {
    style: Style,
    line: &'a mut Vec<u8>,
}

impl Cell<'_> {
    fn put(self, cell: &[u8]) {
        let delimiter = self.style.delimiter;
        let is_special = |byte: &u8| *byte == delimiter || matches!(byte, b'"' | b'\n' | b'\r');
        if !cell.iter().any(is_special) {
            return self.line.extend_from_slice(cell);
        }
        self.line.push(b'"');
        for byte in cell {
            if *byte == b'"' {
                self.line.push(b'"');
            }
            self.line.push(*byte);
        }
        self.line.push(b'"');
    }

    /// A delimiter may be a character that numbers have.
    fn number<E: Error>(self, number: impl serde::Serialize) -> Result<(), E> {
        let start = self.line.len();
        serde_json::to_writer(&mut *self.line, &number).map_err(E::custom)?;
        let is_split = self.line.get(start..).is_some_and(|cell| cell.contains(&self.style.delimiter));
        if is_split { Err(E::custom("the number has a delimiter")) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for Cell<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

/// A list or a map ends the fast path.
impl Visitor<'_> for Cell<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, a flag or nothing")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<(), E> {
        self.put(if flag { b"true" } else { b"false" });
        Ok(())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.number(number)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.number(number)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        self.number(number)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if !self.style.raw && looks_like_formula(text) {
            return Err(E::custom("the text looks like a formula"));
        }
        self.put(text.as_bytes());
        Ok(())
    }
}

/// Writes one record, without the line's end.
pub(super) fn write(row: &[Value], style: Style, line: &mut Vec<u8>) -> Result<(), csv::Error> {
    let texts = row.iter().map(text);
    let cells: Vec<Cow<'_, str>> = texts.collect();
    let is_guarded = |(value, text): (&Value, &Cow<'_, str>)| !style.raw && may_be_run(value, text);
    let guarded = row.iter().zip(&cells).any(is_guarded);
    let quotes = if guarded { QuoteStyle::Always } else { QuoteStyle::Necessary };
    let mut writer = WriterBuilder::new()
        .delimiter(style.delimiter)
        .quote_style(quotes)
        .buffer_capacity(256)
        .from_writer(&mut *line);
    for pair in row.iter().zip(&cells) {
        if guarded && is_guarded(pair) {
            writer.write_field(format!("'{}", pair.1))?;
        } else {
            writer.write_field(&**pair.1)?;
        }
    }
    writer.write_record(None::<&[u8]>)?;
    writer.flush()?;
    drop(writer);
    // The caller ends the line.
    line.pop_if(|last| *last == b'\n');
    Ok(())
}

fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => Cow::Borrowed(""),
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

/// Returns whether a spreadsheet would take this for a formula.
fn may_be_run(value: &Value, text: &str) -> bool {
    !value.is_number() && looks_like_formula(text)
}

fn looks_like_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.parse::<f64>().is_err()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Map;

    use super::*;

    fn cell() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a =+\"',;.1-9\r\n\tü-]{0,6}".prop_map(Value::from),
            Just(serde_json::json!(["a", 1])),
        ]
    }

    proptest! {
        #[test]
        fn a_row_is_written_as_its_values_are(
            cells in prop::collection::vec(cell(), 1..5),
            delimiter in prop::sample::select(vec![b',', b';', b'1', b'-', b'.', b'e']),
            raw in any::<bool>(),
        ) {
            let names: Vec<String> = (0..cells.len()).map(|column| format!("n{column}")).collect();
            let row: Map<String, Value> = names.iter().cloned().zip(cells.iter().cloned()).collect();
            let style = Style { delimiter, raw };
            let (mut expected, mut written) = (Vec::new(), Vec::new());
            write(&cells, style, &mut expected).unwrap();
            let json = serde_json::to_vec(&row).unwrap();
            if write_json(&json, &names, style, &mut written) {
                prop_assert_eq!(String::from_utf8(written), String::from_utf8(expected));
            } else {
                let looked_at = |cell: &Value| match cell {
                    Value::String(text) => !raw && looks_like_formula(text),
                    Value::Number(number) => !b",;".contains(&delimiter) && !number.to_string().is_empty(),
                    other => other.is_array(),
                };
                prop_assert!(cells.iter().any(looked_at), "{cells:?}");
            }
        }
    }

    #[test]
    fn a_row_with_other_names_or_digits_needs_a_closer_look() {
        let names = ["a".to_owned(), "b".to_owned()];
        let style = Style { delimiter: b',', raw: false };
        for json in [
            r#"{"a": 1}"#,
            r#"{"b": 1, "a": 2}"#,
            r#"{"a": 1, "b": 2, "c": 3}"#,
            r#"{"a": 1, "a": 2}"#,
            r#"{"a": 1, "b": 18446744073709551616}"#,
            r#"{"a": 1, "b": 2} 3"#,
            r"[1, 2]",
        ] {
            assert!(!write_json(json.as_bytes(), &names, style, &mut Vec::new()), "{json}");
        }
        assert!(write_json(br#"{"a": 1, "b": "x, \"y\""}"#, &names, style, &mut Vec::new()));
    }
}
