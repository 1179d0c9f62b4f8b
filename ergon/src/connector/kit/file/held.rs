//! The buffer of a file sink: lines that wait in memory for the next flush.

use super::append::AppendFile;
use super::batch::Batch;
use super::codec::Encoder;
use crate::connector::{ConnectorError, ItemOutcome};
use crate::transaction::Transaction;

/// A buffer of this many bytes is written immediately, to bound its memory.
const FULL: usize = 256 << 10;

/// The lines of dispatches that the engine flushes before it settles.
#[derive(Debug, Default)]
pub(super) struct Held {
    batch: Batch,
    /// The number of each item of the batch.
    numbers: Vec<u64>,
    /// The numbers of the items that no flush wrote.
    lost: Vec<u64>,
    /// A flush failed, and no dispatch has succeeded since. Until one succeeds, each dispatch makes its own write, so
    /// that its handler gets the error.
    paused: bool,
}

impl Held {
    /// Encodes transactions into the buffer, as [`SinkBuffer::push`](crate::connector::SinkBuffer::push) says.
    pub(super) fn push<E: Encoder>(
        &mut self,
        transactions: &[Transaction],
        first: u64,
        (file, encoder): (&mut AppendFile, &mut E),
    ) -> Option<Result<(), ConnectorError>> {
        if self.paused || file.may_wait() {
            return None;
        }
        // A panic of the encoder may have left a part of a line.
        self.batch.keep_whole();
        let before = self.batch.items;
        for (number, transaction) in (first..).zip(transactions) {
            self.numbers.push(number);
            self.batch.offer(|line| encoder.encode(transaction, line, file));
        }
        let refused = if self.batch.refused.is_empty() { Vec::new() } else { self.batch.take_refused() };
        if self.batch.bytes.len() >= FULL {
            // The flush before the next settlement reports the lines that are lost here.
            let _lost = self.flush(file, encoder);
        }
        if refused.is_empty() {
            return Some(Ok(()));
        }
        let own = refused.into_iter().map(|(item, error)| (item.saturating_sub(before), error));
        Some(Err(ConnectorError::partial(own.collect())))
    }

    /// Writes all lines.
    pub(super) fn flush<E: Encoder>(
        &mut self,
        file: &mut AppendFile,
        encoder: &E,
    ) -> Result<(), ConnectorError> {
        let written = if self.batch.lines.is_empty() {
            Ok(())
        } else {
            self.batch.keep_whole();
            file.append(&mut self.batch, |file, tail| encoder.ending(file, tail))
        };
        if let Err(error) = &written {
            let is_lost = |(item, _): &(usize, &u64)| error.outcome(*item) != ItemOutcome::Done;
            self.lost.extend(self.numbers.iter().enumerate().filter(is_lost).map(|(_, number)| *number));
            self.paused = true;
        }
        self.batch.clear();
        self.numbers.clear();
        written
    }

    /// Returns whether any line waits.
    pub(super) fn has_lines(&self) -> bool {
        !self.batch.lines.is_empty()
    }

    /// Buffers again, because a dispatch has succeeded.
    pub(super) fn resume(&mut self) {
        self.paused = false;
    }

    /// The numbers of the items that no flush wrote.
    pub(super) fn lost(&self) -> Vec<u64> {
        self.lost.clone()
    }
}
