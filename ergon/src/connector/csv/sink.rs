//! Writing transactions to a file, one in each record.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::sync::Arc;

use csv::{QuoteStyle, WriterBuilder};
use serde_json::Value;

use super::records::Records;
use super::{CsvConfig, row, truncated};
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
    /// Known from the first transaction on.
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
            if row::write_json(json, names, self.style, line) {
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
    /// Takes the columns of the file if it has some, else makes these its columns.
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
                // The file itself may name its delimiter.
                self.style.delimiter = there.delimiter();
                names = there.names.iter().map(|name| self.style.meant(name).to_owned()).collect();
            }
        }
        self.names = Some(Arc::clone(&names));
        Ok(names)
    }
}

/// How records are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) delimiter: u8,
    /// Nothing is put before a text that a spreadsheet would run.
    pub(super) raw: bool,
}

impl Style {
    /// The name that a column of the file has in transactions: without the apostrophe that was put before it.
    pub(super) fn meant(self, name: &str) -> &str {
        let bare = name.strip_prefix('\'').filter(|bare| !self.raw && looks_like_formula(bare));
        bare.unwrap_or(name)
    }
}

/// Writes one record, without the line's end.
pub(super) fn write(row: &[Value], style: Style, line: &mut Vec<u8>) -> Result<(), csv::Error> {
    let texts = row.iter().map(text);
    let cells: Vec<Cow<'_, str>> = texts.collect();
    let is_guarded = |(value, text): (&Value, &Cow<'_, str>)| !style.raw && may_be_run(value, text);
    let guarded = row.iter().zip(&cells).any(is_guarded);
    let quotes = if guarded { QuoteStyle::Always } else { QuoteStyle::Necessary };
    let mut writer = WriterBuilder::new()
        .delimiter(style.delimiter)
        .quote_style(quotes)
        .buffer_capacity(256)
        .from_writer(&mut *line);
    for pair in row.iter().zip(&cells) {
        if guarded && is_guarded(pair) {
            writer.write_field(format!("'{}", pair.1))?;
        } else {
            writer.write_field(&**pair.1)?;
        }
    }
    writer.write_record(None::<&[u8]>)?;
    writer.flush()?;
    drop(writer);
    // The caller ends the line.
    line.pop_if(|last| *last == b'\n');
    Ok(())
}

fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => Cow::Borrowed(""),
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

/// Says whether a spreadsheet would take this for a formula.
fn may_be_run(value: &Value, text: &str) -> bool {
    !value.is_number() && looks_like_formula(text)
}

pub(super) fn looks_like_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.parse::<f64>().is_err()
}
