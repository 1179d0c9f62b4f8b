//! A batch: the lines of one or several dispatches, which are written in one call. It maps the bytes back to the items,
//! so that a write which stops half-way fails only the items whose lines are missing.

use crate::connector::ConnectorError;

/// The number of bytes that a reused batch keeps, because one large dispatch must not hold its memory for ever.
const MOST_KEPT: usize = 1 << 20;

/// The items of one dispatch or of several, as whole lines that are written in one call.
///
/// ```
/// use ergon::connector::ConnectorError;
/// use ergon::connector::kit::file::Batch;
///
/// let mut batch = Batch::default();
/// batch.add(|line| {
///     line.extend_from_slice(b"7");
///     Ok(())
/// });
/// batch.add(|_| Err(ConnectorError::permanent("not a number")));
/// ```
#[derive(Debug, Default)]
pub struct Batch {
    pub(super) bytes: Vec<u8>,
    /// For each line: its item, and its end in `bytes`.
    pub(super) lines: Vec<(usize, usize)>,
    /// The number of items.
    pub(super) items: usize,
    /// The items that cannot be a line, with the reasons.
    pub(super) refused: Vec<(usize, ConnectorError)>,
}

impl Batch {
    /// Adds the next item as a line. If the item cannot be a line, keeps the reason.
    pub fn add(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), ConnectorError>) {
        self.offer(|line| write(line).map(|()| true));
    }

    /// Adds the next item, which may need no line because its line is in the file already: then `write` returns false.
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

    /// Removes the bytes after the last complete line. A panic while an item was encoded leaves such bytes.
    pub(super) fn keep_whole(&mut self) {
        self.bytes.truncate(self.lines.last().map_or(0, |(_, end)| *end));
    }

    /// The length of the whole lines among the first `written` bytes.
    pub(super) fn whole(&self, written: usize) -> usize {
        let ends = self.lines.iter().map(|(_, end)| *end);
        ends.take_while(|end| *end <= written).last().unwrap_or_default()
    }

    /// Removes all items, and keeps the memory for the next items.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.lines.clear();
        self.items = 0;
        self.refused.clear();
        self.bytes.shrink_to(MOST_KEPT);
    }

    /// Takes out the items that cannot be a line, with the reasons.
    pub(super) fn take_refused(&mut self) -> Vec<(usize, ConnectorError)> {
        std::mem::take(&mut self.refused)
    }

    /// Makes a batch of one line, which is written as it is, with its end.
    pub(super) fn of_line(line: &[u8]) -> Self {
        Self { bytes: line.to_vec(), lines: vec![(0, line.len())], items: 1, refused: Vec::new() }
    }
}
