//! The traits that a format implements: a parser of records, and an encoder of transactions. The file frame does
//! everything else.

use std::fs::File;
use std::io;
use std::time::Duration;

use super::append::AppendFile;
use super::ending::{Ending, Tail};
use crate::connector::{ConnectorError, Shard};
use crate::transaction::Transaction;

/// The request to read a file, for a format.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct ReadRequest {
    /// The share of this worker, by the numbers of the records.
    pub shard: Shard,
    /// Whether the reader follows the file after its end, as `tail -F` does.
    pub follow: bool,
    /// Whether the records are only counted. A count logs nothing.
    pub count: bool,
}

/// Parses a file from front to back.
pub trait Parser {
    /// One record.
    type Record;

    /// Reads up to the next record.
    ///
    /// # Errors
    /// The rest of the file cannot be read. A malformed record is not an error: it becomes a delivery that does not
    /// decode.
    fn next(&mut self) -> Result<Next<Self::Record>, ConnectorError>;

    /// Returns whether the next read may wait for a disk, for another program, or for a person who types. Before such a
    /// read, the frame delivers the records that it has. Default: the read does not wait.
    fn may_wait(&self) -> bool {
        false
    }

    /// Looks for changes of a followed file, after [`Next::Dry`]. Default: there are none.
    ///
    /// # Errors
    /// The system cannot look up the file.
    fn turn(&mut self) -> Result<(), ConnectorError> {
        Ok(())
    }
}

/// The next part of a file.
#[derive(Debug)]
pub enum Next<T> {
    /// A record, with the approximate number of bytes that it takes in memory.
    Record(T, usize),
    /// A record of another worker, or a part that becomes no transaction.
    Passed,
    /// No record now. The file may grow.
    Dry,
    /// The end of the file.
    End,
}

/// Encodes transactions as lines of a file.
pub trait Encoder: Send + 'static {
    /// Adds one transaction to `line`, without the line's end. Returns false for a transaction that needs no line,
    /// because its line is in the file already.
    ///
    /// The encoder uses `file` to write what precedes the first line, such as a header.
    ///
    /// # Errors
    /// The transaction cannot be a line of this file. The other transactions of the dispatch are written.
    fn encode(
        &mut self,
        transaction: &Transaction,
        line: &mut Vec<u8>,
        file: &mut AppendFile,
    ) -> Result<bool, ConnectorError>;

    /// Says how the file ends, if another program has written to it or a process died while it wrote. Default: the last
    /// record is whole, and may lack its line end.
    ///
    /// # Errors
    /// The file cannot be read, or the encoder refuses to write after its present end.
    fn ending(&self, file: &File, tail: Tail) -> io::Result<Ending> {
        let _ = file;
        Ok(if tail.ended { Ending::Whole } else { Ending::Unended })
    }

    /// Called once, when the run starts. Default: does nothing.
    fn start(&mut self) {}

    /// Finishes the file when the sink is closed. Default: checks that the written lines are in the file, and syncs it.
    ///
    /// # Errors
    /// Another program removed, replaced or shortened the file, or the file cannot be written.
    fn finish(self, mut file: AppendFile) -> Result<(), ConnectorError>
    where
        Self: Sized,
    {
        file.finish()
    }

    /// The time limit of [`finish`](Self::finish). Default: 30 seconds.
    fn finish_timeout(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// Makes the error for a [`finish`](Self::finish) that takes longer than [`finish_timeout`](Self::finish_timeout).
    /// The error says what becomes of the dispatched transactions. The frame asks for it before `finish` starts.
    fn not_finished(&self, limit: Duration) -> ConnectorError {
        ConnectorError::permanent(format!("the file was not finished within {} seconds", limit.as_secs()))
    }
}
