//! The bytes of a file on their way to who makes records of them.

use std::io::{self, Read};

/// Stops a record that never ends: an open quote would take the rest of the file for one cell. Keeps the bytes of the
/// record that is being read.
pub(super) struct Limited<R> {
    inner: R,
    pub(super) limit: u64,
    /// How much may still be read for this record.
    pub(super) left: u64,
    /// How much was read.
    pub(super) total: u64,
    pub(super) last: u8,
    /// Whether lines end with carriage return and line feed; known after the first.
    pub(super) crlf: Option<bool>,
    /// What was read, from `kept_from` in the file.
    kept: Vec<u8>,
    kept_from: u64,
    /// From where in the file it has to be kept.
    pub(super) needed: u64,
}

impl<R> Limited<R> {
    pub(super) fn new(inner: R, limit: u64) -> Self {
        Self {
            inner,
            limit,
            left: limit,
            total: 0,
            last: 0,
            crlf: None,
            kept: Vec::new(),
            kept_from: 0,
            needed: 0,
        }
    }

    /// What was read from one place in the file to another, as far as it is kept.
    pub(super) fn between(&self, from: u64, to: u64) -> &[u8] {
        let index = |at: u64| usize::try_from(at.saturating_sub(self.kept_from)).unwrap_or(usize::MAX);
        self.kept.get(index(from)..index(to)).unwrap_or_default()
    }

    /// Once for each piece of the file, and not for each record: it moves what is kept.
    fn keep(&mut self, bytes: &[u8]) {
        let over = self.between(self.kept_from, self.needed).len();
        self.kept.drain(..over);
        self.kept_from += over as u64;
        self.kept.extend_from_slice(bytes);
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let read = self.inner.read(buffer)?;
        self.left = self.left.saturating_sub(read as u64);
        self.total += read as u64;
        let bytes = buffer.get(..read).unwrap_or_default();
        if self.crlf.is_none()
            && let Some(end) = bytes.iter().position(|byte| *byte == b'\n')
        {
            let before = end.checked_sub(1).and_then(|at| bytes.get(at)).copied().unwrap_or(self.last);
            self.crlf = Some(before == b'\r');
        }
        self.last = bytes.last().copied().unwrap_or(self.last);
        self.keep(bytes);
        Ok(read)
    }
}
