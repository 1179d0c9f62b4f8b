//! Items as whole lines, before they are written.

use crate::connector::ConnectorError;

/// How many bytes a batch keeps that is used again: one large dispatch must not hold its memory for ever.
const MOST_KEPT: usize = 1 << 20;

/// The items of one dispatch, or of several, as whole lines that are written in one go.
#[derive(Debug, Default)]
pub struct Batch {
    pub(super) bytes: Vec<u8>,
    /// For each line, the item it is of, and where in `bytes` it ends.
    pub(super) lines: Vec<(usize, usize)>,
    /// How many items there were.
    pub(super) items: usize,
    /// The items that cannot be a line, and why.
    pub(super) refused: Vec<(usize, ConnectorError)>,
}

impl Batch {
    /// Adds the next item as a line, or remembers why it cannot be one.
    pub fn add(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), ConnectorError>) {
        self.offer(|line| write(line).map(|()| true));
    }

    /// The same for an item that may need no line because it has one: then `write` returns false.
    pub fn offer(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<bool, ConnectorError>) {
        let (item, start) = (self.items, self.bytes.len());
        self.items += 1;
        match write(&mut self.bytes) {
            Ok(true) => {
                self.bytes.push(b'\n');
                self.lines.push((item, self.bytes.len()));
            }
            Ok(false) => self.bytes.truncate(start),
            Err(error) => {
                self.bytes.truncate(start);
                self.refused.push((item, error));
            }
        }
    }

    /// Removes what follows the last whole line: a panic while an item was encoded leaves a part of a line.
    pub(super) fn keep_whole(&mut self) {
        self.bytes.truncate(self.lines.last().map_or(0, |(_, end)| *end));
    }

    /// How many bytes make the whole lines among the first `written` ones.
    pub(super) fn whole(&self, written: usize) -> usize {
        let ends = self.lines.iter().map(|(_, end)| *end);
        ends.take_while(|end| *end <= written).last().unwrap_or_default()
    }

    /// Takes everything out, and keeps the room for the next items.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.lines.clear();
        self.items = 0;
        self.refused.clear();
        self.bytes.shrink_to(MOST_KEPT);
    }

    /// Takes out the items that cannot be a line, and why.
    pub(super) fn take_refused(&mut self) -> Vec<(usize, ConnectorError)> {
        std::mem::take(&mut self.refused)
    }

    /// One line that is written as it is, with its end.
    pub(super) fn of_line(line: &[u8]) -> Self {
        Self { bytes: line.to_vec(), lines: vec![(0, line.len())], items: 1, refused: Vec::new() }
    }
}
