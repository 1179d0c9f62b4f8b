//! The sink side of a JSON Lines file: encodes each transaction as a line.

use std::fs::File;
use std::io;

use super::{Envelope, JsonLinesConfig, envelope, error, truncated};
use crate::connector::kit::file::{
    AppendFile, Encoder, Ending, Tail, WriteOptions, check_writable, is_pipe, refuse_to_share,
};
use crate::connector::{ConnectorError, Shard};
use crate::transaction::Transaction;

/// Encodes transactions as lines.
#[derive(Debug)]
pub struct LineEncoder {
    envelope: Envelope,
}

/// Opens the file for writing.
pub(super) async fn open(
    config: &JsonLinesConfig,
    shard: Shard,
) -> Result<(AppendFile, LineEncoder), ConnectorError> {
    let encoder = LineEncoder { envelope: config.envelope };
    if config.is_standard_stream() {
        return Ok((AppendFile::stdout()?, encoder));
    }
    if is_pipe(&config.path) {
        refuse_to_share(&config.path, shard)?;
    }
    let options = WriteOptions { create: config.create, append: config.append, fsync: config.fsync };
    Ok((AppendFile::open(&config.path, options).await?, encoder))
}

/// Checks whether the file could be written.
pub(super) fn check(config: &JsonLinesConfig) -> Result<(), ConnectorError> {
    if config.is_standard_stream() {
        return AppendFile::stdout().map(drop);
    }
    check_writable(&config.path, config.create)
}

impl Encoder for LineEncoder {
    fn encode(
        &mut self,
        transaction: &Transaction,
        line: &mut Vec<u8>,
        _: &mut AppendFile,
    ) -> Result<bool, ConnectorError> {
        envelope::write(transaction, self.envelope, line)
            .map_err(|cause| error::no_json(transaction, cause))?;
        Ok(true)
    }

    fn ending(&self, file: &File, tail: Tail) -> io::Result<Ending> {
        truncated::ending(file, tail)
    }
}
