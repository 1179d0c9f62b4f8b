//! Reads the facts about cells that `calamine` does not report.
//!
//! `calamine` reads values. It does not report cells that it cannot read, the digits of a number in the file, or the
//! position of a cell with an unknown error. So the sheet is scanned a second time, cell by cell, in parallel.

use quick_xml::events::{BytesStart, Event};

use super::parts::Xml;

/// The cells of a sheet in the order of the file, one at a time.
pub(super) struct Scan<'a> {
    xml: Xml<'a>,
    buffer: Vec<u8>,
    /// The row and the column of the next cell, if that cell names no position.
    row: u32,
    column: u32,
    cell: Facts,
}

/// The facts about a cell.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// The row, counted from 1.
    pub(super) row: u32,
    /// The column, counted from 0.
    pub(super) column: u32,
    pub(super) kind: Kind,
    pub(super) style: Option<usize>,
    pub(super) has_formula: bool,
    /// The text of the formula; empty if it is shared with another cell.
    pub(super) formula: String,
    /// The text of the value, as it is in the file.
    pub(super) value: String,
}

/// The declared type of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kind {
    /// A number, or no type at all.
    #[default]
    Number,
    /// A text that is the result of a formula.
    FormulaText,
    Other,
}

impl<'a> Scan<'a> {
    pub(super) fn new(xml: Xml<'a>) -> Self {
        Self { xml, buffer: Vec::with_capacity(1024), row: 1, column: 0, cell: Facts::default() }
    }

    /// Returns the next cell; `None` at the end of the sheet, and where the file cannot be read further.
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

    /// Reads the content of a cell, up to its end.
    fn content(&mut self) -> Option<()> {
        /// The element to which the next text belongs.
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

/// Reads the attributes of a cell. `next` is the position of a cell that names no position.
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

/// Returns the row and the column of a name such as `AB12`.
fn place(name: &str) -> Option<(u32, u32)> {
    let digits = name.find(|c: char| c.is_ascii_digit())?;
    let (letters, digits) = name.split_at_checked(digits)?;
    let column = letters.bytes().try_fold(0_u32, |column, letter| {
        let letter = letter.to_ascii_uppercase().checked_sub(b'A').filter(|letter| *letter < 26)?;
        column.checked_mul(26)?.checked_add(u32::from(letter) + 1)
    })?;
    Some((digits.parse().ok()?, column.checked_sub(1)?))
}

/// Appends a piece of text.
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
