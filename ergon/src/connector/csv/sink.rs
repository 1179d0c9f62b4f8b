//! The sink side of a CSV file: encodes each transaction as a record under the columns of the file.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::records::Records;
use super::row::{Style, write, write_json};
use super::{CsvConfig, truncated};
use crate::connector::kit::file::{
    AppendFile, Encoder, Ending, Tail, WriteOptions, cells, in_order, is_pipe, named, refuse_to_share,
};
use crate::connector::{ConnectorError, Shard};
use crate::transaction::{Content, Transaction};

/// Encodes transactions as records under the columns of the file.
#[derive(Debug)]
pub struct RecordEncoder {
    config: CsvConfig,
    style: Style,
    /// The names of the columns; known from the first transaction on.
    names: Option<Arc<[String]>>,
}

/// Opens the file for writing.
pub(super) async fn open(
    config: &CsvConfig,
    delimiter: u8,
    shard: Shard,
) -> Result<(AppendFile, RecordEncoder), ConnectorError> {
    if is_pipe(&config.path) {
        refuse_to_share(&config.path, shard)?;
    }
    let options = WriteOptions { create: config.create, append: config.append, fsync: config.fsync };
    let file = AppendFile::open(&config.path, options).await?;
    let style = Style { delimiter, raw: config.raw };
    Ok((file, RecordEncoder { config: config.clone(), style, names: None }))
}

impl Encoder for RecordEncoder {
    fn encode(
        &mut self,
        transaction: &Transaction,
        line: &mut Vec<u8>,
        file: &mut AppendFile,
    ) -> Result<bool, ConnectorError> {
        if let Some(names) = &self.names
            && let Content::Body(content_type, json) = transaction.payload().content()
            && content_type.is_json()
        {
            let start = line.len();
            if write_json(json, names, self.style, line) {
                return Ok(true);
            }
            line.truncate(start);
        }
        let cells = cells(transaction)?;
        let names = match &self.names {
            Some(names) => Arc::clone(names),
            None => self.decide_on(cells.keys().cloned().collect(), transaction, file)?,
        };
        let row = in_order(cells, &names, transaction)?;
        write(&row, self.style, line)
            .map_err(|error| ConnectorError::permanent("the record cannot be written").with_source(error))?;
        Ok(true)
    }

    fn ending(&self, file: &File, tail: Tail) -> io::Result<Ending> {
        truncated::ending(file, tail, self.style.delimiter, self.config.max_record.bytes())
    }
}

impl RecordEncoder {
    /// Reads the columns of the file, or writes these names as its header if the file is empty.
    fn decide_on(
        &mut self,
        names: Vec<String>,
        transaction: &Transaction,
        file: &mut AppendFile,
    ) -> Result<Arc<[String]>, ConnectorError> {
        named(&names, transaction)?;
        let mut names: Arc<[String]> = names.into();
        if self.config.headers {
            let row: Vec<_> = names.iter().map(|name| name.as_str().into()).collect();
            let mut head = Vec::new();
            write(&row, self.style, &mut head).map_err(|error| {
                ConnectorError::permanent("the header cannot be written").with_source(error)
            })?;
            head.push(b'\n');
            if !file.head(&head)? {
                let there = Records::new(&self.config, self.style.delimiter, Shard::default())?;
                // The file may name its own delimiter.
                self.style.delimiter = there.delimiter();
                names = there.names.iter().map(|name| self.style.meant(name).to_owned()).collect();
            }
        }
        self.names = Some(Arc::clone(&names));
        Ok(names)
    }
}
