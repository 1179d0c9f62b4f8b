//! Splits a file into lines, with a limit for the length of a line. Short lines share memory, because most sources hold
//! many lines at a time.

use std::io::{self, BufRead, BufReader, Read};

use bytes::{Bytes, BytesMut};

use crate::connector::kit::file::RECOGNITION_BYTES;
use crate::settings::ByteSize;

/// The number of bytes that are kept of a line that is too long, so that a person can recognize it.
const BEGINNING: usize = 1024;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Short lines share blocks of this many bytes. One line that stays in memory keeps its block, so blocks are small.
const BLOCK: usize = 16 << 10;
/// A longer line has its own memory.
const SHORT: usize = BLOCK / 8;

/// One line of the file.
#[derive(Debug)]
pub struct Line {
    /// Counted from 1.
    pub(super) number: u64,
    pub(super) content: Bytes,
    /// The number of files that were read before at the same path.
    pub(super) file: u64,
    /// Whether `content` is only the start of a line that is too long.
    pub(super) cut: bool,
}

/// Splits the bytes of a reader into lines.
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    max: u64,
    /// The number of the line that was read last; the first is 1.
    pub(super) number: u64,
    /// The number of files that were read before at the same path.
    file: u64,
    /// The bytes of the next line that were read and are kept.
    content: Vec<u8>,
    /// Whether at least one byte of the next line was read.
    begun: bool,
    /// The block of the next short lines.
    block: BytesMut,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(reader: R, max: ByteSize) -> Self {
        Self {
            reader: BufReader::with_capacity(RECOGNITION_BYTES, reader),
            max: max.bytes(),
            number: 0,
            file: 0,
            content: Vec::new(),
            begun: false,
            block: BytesMut::new(),
        }
    }

    /// Reads one line, without its end. The last line may have no end.
    pub(super) fn next(&mut self) -> io::Result<Option<Line>> {
        let line = self.next_ended()?;
        Ok(line.or_else(|| self.rest()))
    }

    /// Reads one line that has an end. Keeps the bytes of a line without an end for the next call.
    pub(super) fn next_ended(&mut self) -> io::Result<Option<Line>> {
        // The line's end has two bytes at most.
        let mark = if self.number == 0 { BYTE_ORDER_MARK.len() as u64 } else { 0 };
        let limit = usize::try_from(self.max.saturating_add(2).saturating_add(mark)).unwrap_or(usize::MAX);
        loop {
            let there = match self.reader.fill_buf() {
                Ok([]) => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                there => there?,
            };
            let end = there.iter().position(|byte| *byte == b'\n');
            let part = there.get(..end.map_or(there.len(), |end| end + 1)).unwrap_or(there);
            // The first line may have a byte order mark, which is removed below.
            if end.is_some() && !self.begun && self.number > 0 && part.len() as u64 <= self.max {
                let content = copied(&mut self.block, without_end(part));
                let used = part.len();
                self.reader.consume(used);
                self.number += 1;
                return Ok(Some(Line { number: self.number, file: self.file, content, cut: false }));
            }
            let left = limit.saturating_sub(self.content.len());
            self.content.extend_from_slice(part.get(..left).unwrap_or(part));
            self.begun = true;
            let used = part.len();
            self.reader.consume(used);
            if end.is_some() {
                return Ok(self.rest());
            }
        }
    }

    /// Returns the bytes of the next line as a line, if any were read.
    pub(super) fn rest(&mut self) -> Option<Line> {
        if !std::mem::take(&mut self.begun) {
            return None;
        }
        self.number += 1;
        let mut content = std::mem::take(&mut self.content);
        for end in [b'\n', b'\r'] {
            content.pop_if(|last| *last == end);
        }
        if self.number == 1 && content.starts_with(BYTE_ORDER_MARK) {
            content.drain(..BYTE_ORDER_MARK.len());
        }
        let cut = content.len() as u64 > self.max;
        if cut {
            content.truncate(BEGINNING);
        }
        Some(Line { number: self.number, file: self.file, content: content.into(), cut })
    }

    /// Starts with the file that took the place of the file that was read.
    pub(super) fn restart(&mut self) {
        (self.number, self.file) = (0, self.file + 1);
    }

    /// The first bytes, before any line is read.
    pub(super) fn ahead(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    /// Returns whether the next line needs a read.
    pub(super) fn is_drained(&self) -> bool {
        self.reader.buffer().is_empty()
    }

    /// The reader below the lines.
    pub(super) fn file(&mut self) -> &mut R {
        self.reader.get_mut()
    }
}

/// Copies a line, into a block that it shares with others if it is short.
fn copied(block: &mut BytesMut, line: &[u8]) -> Bytes {
    if line.len() > SHORT {
        return Bytes::copy_from_slice(line);
    }
    if block.capacity() < line.len() {
        *block = BytesMut::with_capacity(BLOCK);
    }
    block.extend_from_slice(line);
    block.split().freeze()
}

/// A line without the characters that end it.
fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

impl Line {
    pub(super) fn is_blank(&self) -> bool {
        !self.cut && self.content.trim_ascii().is_empty()
    }
}
