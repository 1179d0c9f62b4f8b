//! The window of a CSV file: the bytes that were read and not yet consumed. A record may be longer than one read, so
//! the window grows until it holds a complete record.

use std::io::{self, Read};

use super::syntax::is_line_end;
use crate::connector::kit::file::{InputFile, Turn};

/// The least number of bytes in one read.
const PIECE: usize = 64 * 1024;

/// The bytes that were read and not yet taken.
#[derive(Debug)]
pub(super) struct Window {
    file: InputFile,
    bytes: Vec<u8>,
    start: usize,
}

impl Window {
    pub(super) fn new(file: InputFile) -> Self {
        Self { file, bytes: Vec::new(), start: 0 }
    }

    /// The bytes that were read and not yet taken.
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Consumes this many bytes.
    pub(super) fn take(&mut self, count: usize) {
        self.start += count;
    }

    /// Reads the bytes that are available; returns whether there were any.
    pub(super) fn fill(&mut self) -> io::Result<bool> {
        self.bytes.drain(..self.start);
        self.start = 0;
        let there = self.bytes.len();
        self.bytes.resize(there + there.max(PIECE), 0);
        let read = loop {
            match self.file.read(self.bytes.get_mut(there..).unwrap_or_default()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.bytes.truncate(there + *read.as_ref().unwrap_or(&0));
        Ok(read? > 0)
    }

    /// Takes the rest of a line, without its end; says whether the end was read.
    pub(super) fn take_line(&mut self) -> bool {
        let end = self.rest().iter().position(|byte| is_line_end(*byte));
        self.take(end.unwrap_or(self.rest().len()));
        end.is_some()
    }

    /// Whether the file may grow, or another file may take its place.
    pub(super) fn is_followed(&self) -> bool {
        self.file.is_followed()
    }

    /// Looks for changes of a file that was read to its end.
    pub(super) fn turn(&mut self) -> io::Result<Turn> {
        self.file.turn()
    }
}
