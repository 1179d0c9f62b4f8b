//! What a format brings: a parser of records, and an encoder of transactions.

use std::fs::File;
use std::io;
use std::time::Duration;

use super::append::AppendFile;
use super::ending::{Ending, Tail};
use crate::connector::{ConnectorError, Shard};
use crate::transaction::Transaction;

/// What a format is asked to read.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct ReadRequest {
    /// Which records are this worker's, by their number.
    pub shard: Shard,
    /// Whether the file is followed when its end is reached, as `tail -F` does.
    pub follow: bool,
    /// Whether the records are only counted: then nothing is logged.
    pub count: bool,
}

/// Parses a file from front to back.
pub trait Parser {
    /// One record.
    type Record;

    /// Reads up to the next record.
    ///
    /// # Errors
    /// The file cannot be read on. A record that is malformed is no error: it becomes a delivery that does not decode.
    fn next(&mut self) -> Result<Next<Self::Record>, ConnectorError>;

    /// Says whether the next read may wait for a disk, for another program, or for a person who types. The records that
    /// were parsed before are handed over first. Default: it does not.
    fn may_wait(&self) -> bool {
        false
    }

    /// Looks at what became of a file that is followed, after [`Next::Dry`]. Default: nothing became of it.
    ///
    /// # Errors
    /// The file cannot be looked at.
    fn turn(&mut self) -> Result<(), ConnectorError> {
        Ok(())
    }
}

/// What comes next in a file.
#[derive(Debug)]
pub enum Next<T> {
    /// A record, and about how many bytes of memory it takes.
    Record(T, usize),
    /// A record of another worker, or nothing that becomes a transaction.
    Passed,
    /// Nothing now. The file may grow.
    Dry,
    /// Nothing more.
    End,
}

/// Encodes transactions as lines of a file.
pub trait Encoder: Send + 'static {
    /// Adds one transaction to `line`, without the line's end. Says whether the transaction needs a line: a transaction
    /// that is in the file already does not.
    ///
    /// `file` is for what comes before the first line, such as a header.
    ///
    /// # Errors
    /// The transaction cannot be a line of this file. The other transactions of the dispatch are written.
    fn encode(
        &mut self,
        transaction: &Transaction,
        line: &mut Vec<u8>,
        file: &mut AppendFile,
    ) -> Result<bool, ConnectorError>;

    /// Says how the file ends, if another program has written to it or a process died while it wrote. Default: what is
    /// there is whole, and may lack its line end.
    ///
    /// # Errors
    /// The file cannot be read, or nothing may be written after what is there.
    fn ending(&self, file: &File, tail: Tail) -> io::Result<Ending> {
        let _ = file;
        Ok(if tail.ended { Ending::Whole } else { Ending::Unended })
    }

    /// Learns that the run takes place. Default: nothing.
    fn start(&mut self) {}

    /// Finishes the file when the sink is closed. Default: makes sure that the lines are in the file.
    ///
    /// # Errors
    /// The file is not what it was, or cannot be written.
    fn finish(self, mut file: AppendFile) -> Result<(), ConnectorError>
    where
        Self: Sized,
    {
        file.finish()
    }

    /// How long [`finish`](Self::finish) may take. Default: 30 seconds.
    fn finish_timeout(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// The error when [`finish`](Self::finish) takes longer than [`finish_timeout`](Self::finish_timeout); asked before
    /// it begins. It says what becomes of the transactions that were dispatched.
    fn not_finished(&self, limit: Duration) -> ConnectorError {
        ConnectorError::permanent(format!("the file was not finished within {} seconds", limit.as_secs()))
    }
}
