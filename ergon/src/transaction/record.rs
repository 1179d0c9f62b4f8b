//! Rows of tables. All rows of a table share the names of its columns, so a row holds only its cells.

use std::sync::Arc;

use bytes::Bytes;
use serde::de::value::{Error as CellError, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde::ser::{self, Serialize, SerializeMap, Serializer};
use serde_json::Value;

use super::cell::TypedCell;
use super::{ContentType, Text};

/// One row of a table: the names of its columns, shared by all rows, and its cells.
///
/// It decodes straight into a struct or a map.
///
/// ```
/// use ergon::transaction::{Payload, Record};
///
/// #[derive(serde::Deserialize)]
/// struct Line { sku: String, quantity: u32 }
///
/// let names = ["sku", "quantity"].map(String::from).to_vec().into();
/// let typed = Record::typed(std::sync::Arc::clone(&names), vec!["A-1".into(), 2.into()]);
/// let line: Line = Payload::record(typed).decode()?;
/// assert_eq!((line.sku.as_str(), line.quantity), ("A-1", 2));
///
/// let text = Record::text(names, ["A-1", "2"]);
/// assert_eq!(Payload::record(text).decode::<Line>()?.quantity, 2);
/// # Ok::<(), ergon::transaction::DecodeError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    names: Arc<[String]>,
    cells: Cells,
}

#[derive(Debug, Clone, PartialEq)]
enum Cells {
    Typed(Vec<Value>),
    Text(TextCells),
    /// A row that cannot be decoded because of an unreadable cell, and the reason.
    Broken {
        cells: Vec<Value>,
        reason: String,
        raw: Option<(ContentType, Bytes)>,
    },
}

/// Text cells, one after the other in one text.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct TextCells {
    text: String,
    /// Where each cell ends.
    ends: Vec<usize>,
}

impl TextCells {
    #[cfg(feature = "csv")]
    pub(crate) fn with_capacity(cells: usize, bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), ends: Vec::with_capacity(cells) }
    }

    pub(crate) fn push(&mut self, cell: &str) {
        self.text.push_str(cell);
        self.ends.push(self.text.len());
    }

    pub(crate) fn get(&self, column: usize) -> Option<&str> {
        let start = match column.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.text.get(start..*self.ends.get(column)?)
    }

    #[cfg(feature = "csv")]
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    #[cfg(feature = "csv")]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map_while(|column| self.get(column))
    }

    /// About how many bytes of memory the cells take.
    #[cfg(feature = "csv")]
    pub(crate) fn weight(&self) -> usize {
        self.text.len()
    }
}

impl<'a> FromIterator<&'a str> for TextCells {
    fn from_iter<I: IntoIterator<Item = &'a str>>(cells: I) -> Self {
        let mut all = Self::default();
        cells.into_iter().for_each(|cell| all.push(cell));
        all
    }
}

impl Record {
    /// Makes a row of typed cells. Each cell is read as the type of the task's field, like a cell of text: a number
    /// becomes text for a `String`, the text `"3"` a number for a `u32`, `null` and an empty text `None` for an
    /// `Option`. A field that takes any value (`Value`, a flattened or untagged type) gets the cell with its own type.
    pub fn typed(names: Arc<[String]>, cells: Vec<Value>) -> Self {
        Self { names, cells: Cells::Typed(cells) }
    }

    /// Makes a row of text cells. Each cell is read as the type of the task's field: `"2"` becomes a number for a
    /// `u32`, an empty cell `None` for an `Option`. A number that is not finite (`NaN`, `inf`, `1e400`) is refused.
    pub fn text<C: AsRef<str>>(names: Arc<[String]>, cells: impl IntoIterator<Item = C>) -> Self {
        let mut text = TextCells::default();
        cells.into_iter().for_each(|cell| text.push(cell.as_ref()));
        Self::of_text(names, text)
    }

    /// Makes the same row from cells that follow each other in one text.
    pub(crate) fn of_text(names: Arc<[String]>, cells: TextCells) -> Self {
        Self { names, cells: Cells::Text(cells) }
    }

    /// Makes a row that does not decode, with the reason, such as a cell with `#DIV/0!`. Its cells are kept.
    ///
    /// ```
    /// use ergon::transaction::{Payload, Record};
    ///
    /// let names = vec!["price".to_owned()].into();
    /// let row = Record::broken(names, vec!["#DIV/0!".into()], "cell B2 holds the error #DIV/0!");
    /// let error = Payload::record(row).decode::<ergon::prelude::Value>().unwrap_err();
    /// assert_eq!(error.to_string(), "payload: cell B2 holds the error #DIV/0!");
    /// ```
    pub fn broken(names: Arc<[String]>, cells: Vec<Value>, reason: impl Into<String>) -> Self {
        Self { names, cells: Cells::Broken { cells, reason: reason.into(), raw: None } }
    }

    /// Adds the row's own bytes, for a row whose cells cannot hold them. They become the payload's bytes.
    #[cfg(feature = "csv")]
    pub(crate) fn with_raw(mut self, content_type: ContentType, bytes: Bytes) -> Self {
        if let Cells::Broken { raw, .. } = &mut self.cells {
            *raw = Some((content_type, bytes));
        }
        self
    }

    /// The row's own bytes, if its cells cannot hold them.
    pub(crate) fn raw(&self) -> Option<(&ContentType, &Bytes)> {
        match &self.cells {
            Cells::Broken { raw: Some((content_type, bytes)), .. } => Some((content_type, bytes)),
            _ => None,
        }
    }

    /// Whether the row does not decode because of an unreadable cell.
    pub(crate) fn is_broken(&self) -> bool {
        matches!(self.cells, Cells::Broken { .. })
    }

    /// The names of the columns.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The cells as JSON values, as many as there are names. A missing cell is `null`.
    pub fn values(&self) -> impl Iterator<Item = Value> + '_ {
        (0..self.names.len()).map(|column| match &self.cells {
            Cells::Typed(cells) | Cells::Broken { cells, .. } => {
                cells.get(column).cloned().unwrap_or(Value::Null)
            }
            Cells::Text(cells) => cells.get(column).map_or(Value::Null, Value::from),
        })
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.names.len()))?;
        for (name, value) in self.names.iter().zip(self.values()) {
            map.serialize_entry(name, &value).map_err(ser::Error::custom)?;
        }
        map.end()
    }
}

impl<'de> Deserializer<'de> for &'de Record {
    type Error = CellError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CellError> {
        if let Cells::Broken { reason, .. } = &self.cells {
            return Err(CellError::custom(reason));
        }
        visitor.visit_map(Columns { record: self, next: 0 })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CellError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, CellError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq
        tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Lets a row be an element of a sequence.
impl<'de> IntoDeserializer<'de, CellError> for &'de Record {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

struct Columns<'de> {
    record: &'de Record,
    next: usize,
}

impl<'de> MapAccess<'de> for Columns<'de> {
    type Error = CellError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, CellError> {
        let Some(name) = self.record.names.get(self.next) else { return Ok(None) };
        let name: StrDeserializer<'_, CellError> = name.as_str().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, CellError> {
        let column = self.next;
        self.next += 1;
        match &self.record.cells {
            Cells::Typed(cells) | Cells::Broken { cells, .. } => {
                let cell = cells.get(column).unwrap_or(&Value::Null);
                seed.deserialize(TypedCell(cell))
            }
            Cells::Text(cells) => {
                let cell = cells.get(column).unwrap_or_default();
                seed.deserialize(Text::new(cell).into_deserializer())
            }
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.record.names.len().saturating_sub(self.next))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::transaction::Payload;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Line {
        id: String,
        quantity: u32,
        note: Option<String>,
    }

    fn names() -> Arc<[String]> {
        ["id", "quantity", "note"].map(String::from).to_vec().into()
    }

    #[test]
    fn typed_cells_keep_their_types() {
        let record = Record::typed(names(), vec!["7".into(), 2.into(), Value::Null]);
        let line: Line = Payload::record(record).decode().unwrap();
        assert_eq!(line, Line { id: "7".into(), quantity: 2, note: None });
    }

    #[test]
    fn text_cells_become_what_is_asked_for() {
        let record = Record::text(names(), vec!["7".into(), "2".into(), String::new()]);
        let line: Line = Payload::record(record).decode().unwrap();
        assert_eq!(line, Line { id: "7".into(), quantity: 2, note: None });
    }

    #[test]
    fn the_error_names_the_column() {
        let record = Record::text(names(), vec!["7".into(), "two".into(), String::new()]);
        let error = Payload::record(record).decode::<Line>().unwrap_err();
        assert_eq!(error.field(), Some("quantity"));
    }

    #[test]
    fn several_rows_are_a_sequence() {
        let row = Record::typed(names(), vec!["7".into(), 2.into(), Value::Null]);
        let lines: Vec<Line> = Payload::records(vec![row.clone(), row]).decode().unwrap();
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn a_broken_row_says_why_and_keeps_its_cells() {
        let row = Record::broken(names(), vec!["7".into()], "cell B2 holds #DIV/0!");
        let payload = Payload::record(row);
        let error = payload.decode::<Line>().unwrap_err();
        assert_eq!(error.to_string(), "payload: cell B2 holds #DIV/0!");
        assert_eq!(payload.to_bytes().unwrap(), r#"{"id":"7","quantity":null,"note":null}"#);
    }
}
