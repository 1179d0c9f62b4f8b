//! What the cells of a sheet say beside their values.
//!
//! `calamine` reads values. It does not say which cells it cannot read, what a number looks like in the file, or where a
//! cell stands whose value is an error that it does not know. So the sheet is scanned once more, cell by cell beside it.

use quick_xml::events::{BytesStart, Event};

use super::parts::Xml;

/// The cells of a sheet in the order of the file, one at a time.
pub(super) struct Scan<'a> {
    xml: Xml<'a>,
    buffer: Vec<u8>,
    /// The row and the column of the next cell that does not say its own.
    row: u32,
    column: u32,
    cell: Facts,
}

/// What is known of one cell.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Counted from 1.
    pub(super) row: u32,
    /// Counted from 0.
    pub(super) column: u32,
    pub(super) kind: Kind,
    pub(super) style: Option<usize>,
    pub(super) has_formula: bool,
    /// The text of the formula; empty where it is shared with another cell.
    pub(super) formula: String,
    /// The text of the value, as it stands in the file.
    pub(super) value: String,
}

/// The type that a cell gives itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kind {
    /// A number, or no type at all.
    #[default]
    Number,
    /// The text that a formula made.
    FormulaText,
    Other,
}

impl<'a> Scan<'a> {
    pub(super) fn new(xml: Xml<'a>) -> Self {
        Self { xml, buffer: Vec::with_capacity(1024), row: 1, column: 0, cell: Facts::default() }
    }

    /// The next cell; none at the end of the sheet, and where the file cannot be read on.
    pub(super) fn next(&mut self) -> Option<&Facts> {
        loop {
            self.buffer.clear();
            match self.xml.read_event_into(&mut self.buffer).ok()? {
                Event::Start(element) => match element.local_name().as_ref() {
                    "row" => {
                        let row =
                            element.attributes().with_checks(false).flatten().find(|a| a.key.as_ref() == "r");
                        if let Some(row) = row {
                            self.row = row.value.parse().ok()?;
                        }
                    }
                    "c" => {
                        begin(&mut self.cell, &element, (self.row, self.column))?;
                        self.column = self.cell.column + 1;
                        self.content()?;
                        return Some(&self.cell);
                    }
                    _ => {}
                },
                Event::End(element) => match element.local_name().as_ref() {
                    "row" => (self.row, self.column) = (self.row + 1, 0),
                    "sheetData" => return None,
                    _ => {}
                },
                Event::Eof => return None,
                _ => {}
            }
        }
    }

    /// Reads what is in a cell, up to its end.
    fn content(&mut self) -> Option<()> {
        /// Whose text it is that comes.
        enum Within {
            Neither,
            Value,
            Formula,
        }
        let mut within = Within::Neither;
        loop {
            self.buffer.clear();
            let cell = &mut self.cell;
            let text = match within {
                Within::Value => Some(&mut cell.value),
                Within::Formula => Some(&mut cell.formula),
                Within::Neither => None,
            };
            match self.xml.read_event_into(&mut self.buffer).ok()? {
                Event::Start(element) => match element.local_name().as_ref() {
                    "v" => within = Within::Value,
                    "f" => (within, cell.has_formula) = (Within::Formula, true),
                    _ => {}
                },
                Event::End(element) => match element.local_name().as_ref() {
                    "v" | "f" => within = Within::Neither,
                    "c" => return Some(()),
                    _ => {}
                },
                Event::Eof => return None,
                piece => {
                    if let Some(text) = text {
                        add(&piece, text);
                    }
                }
            }
        }
    }
}

/// Takes in what a cell says of itself; `next` is where it is if it does not say so.
fn begin(cell: &mut Facts, element: &BytesStart<'_>, next: (u32, u32)) -> Option<()> {
    (cell.row, cell.column) = next;
    (cell.kind, cell.style, cell.has_formula) = (Kind::Number, None, false);
    cell.formula.clear();
    cell.value.clear();
    for attribute in element.attributes().with_checks(false).flatten() {
        match attribute.key.as_ref() {
            "r" => (cell.row, cell.column) = place(&attribute.value)?,
            "s" => cell.style = attribute.value.parse().ok(),
            "t" => {
                cell.kind = match &*attribute.value {
                    "n" => Kind::Number,
                    "str" => Kind::FormulaText,
                    _ => Kind::Other,
                }
            }
            _ => {}
        }
    }
    Some(())
}

/// The row and the column that a name such as `AB12` says.
fn place(name: &str) -> Option<(u32, u32)> {
    let digits = name.find(|c: char| c.is_ascii_digit())?;
    let (letters, digits) = name.split_at_checked(digits)?;
    let column = letters.bytes().try_fold(0_u32, |column, letter| {
        let letter = letter.to_ascii_uppercase().checked_sub(b'A').filter(|letter| *letter < 26)?;
        column.checked_mul(26)?.checked_add(u32::from(letter) + 1)
    })?;
    Some((digits.parse().ok()?, column.checked_sub(1)?))
}

/// Adds what a piece of text says.
fn add(piece: &Event<'_>, text: &mut String) {
    match piece {
        Event::Text(piece) => text.push_str(&piece.xml10_content()),
        Event::CData(piece) => text.push_str(&piece.xml10_content()),
        Event::GeneralRef(name) => text.push(referred(name)),
        _ => {}
    }
}

fn referred(name: &quick_xml::events::BytesRef<'_>) -> char {
    if let Ok(Some(character)) = name.resolve_char_ref() {
        return character;
    }
    match &*name.xml10_content() {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => '\u{fffd}',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_says_where_it_is() {
        let places =
            [("A1", Some((1, 0))), ("XFD1048576", Some((1_048_576, 16_383))), ("ab12", Some((12, 27)))];
        for (name, expected) in
            places.into_iter().chain([("12", None), ("A", None), ("", None), ("É1", None)])
        {
            assert_eq!(place(name), expected, "{name}");
        }
    }
}
