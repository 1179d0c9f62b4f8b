//! A file's records, and the names of its columns.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use csv::{ByteRecord, Reader, ReaderBuilder};

use super::CsvConfig;
use super::limited::Limited;
use crate::connector::file::{cannot, open, shown};
use crate::connector::{ConnectorError, Shard};

/// One record of the file.
#[derive(Debug)]
pub(super) struct Line {
    /// Counted from 1, without the header.
    pub(super) number: u64,
    /// The line it begins on, counted from 1.
    pub(super) begins: u64,
    pub(super) cells: Vec<String>,
    /// Why it cannot be decoded.
    pub(super) broken: Option<String>,
    /// As it stands in the file, where the cells do not say all of it.
    pub(super) raw: Option<Bytes>,
}

/// Reads a file record by record, of which one worker's share is kept.
pub(super) struct Records<'a> {
    config: &'a CsvConfig,
    reader: Reader<Limited<File>>,
    pub(super) names: Arc<[String]>,
    /// The first record, where it had to be read to learn how many columns there are.
    first: Option<ByteRecord>,
    record: ByteRecord,
    /// Where in the file the record and what is passed over before it begin.
    begins: u64,
    delimiter: u8,
    number: u64,
    /// Where the record begins, counted from 1.
    line: u64,
    shard: Shard,
}

impl<'a> Records<'a> {
    /// Opens the file and reads its header.
    pub(super) fn new(config: &'a CsvConfig, delimiter: u8, shard: Shard) -> Result<Self, ConnectorError> {
        let file = Limited::new(open(&config.path)?, config.max_record.bytes());
        let mut reader = reader(delimiter, file);
        let mut first = ByteRecord::new();
        let any = reader.read_byte_record(&mut first).map_err(|error| failed(config, 0, error))?;
        let mut records = Self {
            config,
            reader,
            names: Arc::default(),
            first: None,
            record: first,
            begins: 0,
            delimiter,
            number: 0,
            line: 1,
            shard,
        };
        if any {
            records.learn_names()?;
        }
        Ok(records)
    }

    /// Makes the names of the columns of the first record, which was just read.
    fn learn_names(&mut self) -> Result<(), ConnectorError> {
        if !self.config.headers {
            self.names = (1..=self.record.len()).map(|column| format!("column_{column}")).collect();
            self.first = Some(std::mem::take(&mut self.record));
            return Ok(());
        }
        if self.is_open() {
            let before = self.raw().iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
            let line = 1 + before.filter(|byte| **byte == b'\n').count();
            let file = shown(&self.config.path);
            let message =
                format!("{file} has a double quote in its header (line {line}) that is never closed");
            return Err(ConnectorError::permanent(message)
                .with_hint("close it; as it is, all that follows belongs to the header"));
        }
        self.names = header(self.config, &self.record)?.into();
        Ok(())
    }

    /// Reads up to the next record that is to be handed out.
    pub(super) fn next(&mut self) -> Result<Option<Line>, ConnectorError> {
        while self.advance()? {
            self.number += 1;
            if self.shard.owns(self.number - 1) {
                return Ok(Some(self.line()));
            }
        }
        Ok(None)
    }

    fn advance(&mut self) -> Result<bool, ConnectorError> {
        if let Some(first) = self.first.take() {
            self.record = first;
            self.line = self.first_line().max(1);
            return Ok(true);
        }
        // What the reader has read ahead counts for the record, so the limit is not exact to the byte.
        let (before, begins) = (self.reader.position().line(), self.reader.position().byte());
        self.begins = begins;
        let source = self.reader.get_mut();
        (source.left, source.needed) = (source.limit, begins);
        let read = self.reader.read_byte_record(&mut self.record);
        self.line = before.max(self.first_line());
        read.map_err(|error| failed(self.config, self.number, error))
    }

    /// The line that the record begins on: the library's own position is before the blank lines that it passes over,
    /// and before the line feed that belongs to the carriage return of the record before.
    fn first_line(&self) -> u64 {
        let (source, end) = (self.reader.get_ref(), self.reader.position());
        let ended_by_file = end.byte() == source.total && source.last != b'\n';
        let ended_by_line_feed = source.crlf != Some(true) && !ended_by_file;
        let within = self.record.as_slice().split(|byte| *byte == b'\n').count() as u64 - 1;
        end.line().saturating_sub(within + u64::from(ended_by_line_feed))
    }

    fn line(&self) -> Line {
        let line = self.line;
        let mut broken = None;
        let mut reason = |what: String| {
            let _ = broken.get_or_insert(format!("record {} (line {line}) {what}", self.number));
        };
        if self.is_open() {
            reason("has a double quote that is never closed".to_owned());
        }
        let (found, expected) = (self.record.len(), self.names.len());
        if found != expected {
            reason(format!("has {found} cells, expected {expected}"));
        }
        let (mut cells, mut raw) = (Vec::with_capacity(found), None);
        for (column, cell) in self.record.iter().enumerate() {
            match std::str::from_utf8(cell) {
                Ok(text) => cells.push(text.to_owned()),
                Err(error) => {
                    let name = self.names.get(column).map_or("", String::as_str);
                    reason(format!(
                        "is not UTF-8 in column `{name}`, from byte {} of it",
                        error.valid_up_to()
                    ));
                    cells.push(String::from_utf8_lossy(cell).into_owned());
                    raw = Some(Bytes::copy_from_slice(trimmed(self.raw())));
                }
            }
        }
        Line { number: self.number, begins: line, cells, broken, raw }
    }

    /// The bytes of the record, and of what was passed over before it.
    fn raw(&self) -> &[u8] {
        self.reader.get_ref().between(self.begins, self.reader.position().byte())
    }

    /// Whether the file ends within the quotes of this record: all that follows a quote which is never closed became
    /// one cell. A quote in a cell that does not begin with one is an ordinary letter, so only the library can tell:
    /// within quotes, one more line belongs to the same record.
    fn is_open(&self) -> bool {
        let (end, total) = (self.reader.position().byte(), self.reader.get_ref().total);
        if end < total || !self.raw().contains(&b'"') {
            return false;
        }
        let continued = self.raw().chain(b"\n.".as_slice());
        reader(self.delimiter, continued).byte_records().count() == 1
    }
}

pub(super) fn reader<R: Read>(delimiter: u8, from: R) -> Reader<R> {
    ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(from)
}

/// A record without the ends of lines around it.
fn trimmed(raw: &[u8]) -> &[u8] {
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let begins = raw.iter().position(|byte| !is_end(byte)).unwrap_or(raw.len());
    let ends = raw.iter().rposition(|byte| !is_end(byte)).map_or(begins, |last| last + 1);
    raw.get(begins..ends).unwrap_or_default()
}

fn header(config: &CsvConfig, record: &ByteRecord) -> Result<Vec<String>, ConnectorError> {
    let wrong = |what: String, hint: &str| {
        ConnectorError::permanent(format!("{} {what}", shown(&config.path))).with_hint(hint)
    };
    let mut names: Vec<String> = Vec::with_capacity(record.len());
    for (column, cell) in (1..).zip(record) {
        let Ok(name) = std::str::from_utf8(cell) else {
            return Err(wrong(
                format!("has a header that is not UTF-8, in column {column}"),
                "save it as UTF-8",
            ));
        };
        if name.trim().is_empty() {
            let hint = "name the column, or set `headers = false`";
            return Err(wrong(format!("has a column without a name: column {column}"), hint));
        }
        if let Some(earlier) = names.iter().position(|earlier| earlier == name) {
            let what = format!("has two columns named `{name}`: {} and {column}", earlier + 1);
            return Err(wrong(what, "give each column a name of its own, or set `headers = false`"));
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

fn failed(config: &CsvConfig, after: u64, error: csv::Error) -> ConnectorError {
    if let csv::ErrorKind::Io(cause) = error.kind()
        && cause.kind() == io::ErrorKind::FileTooLarge
    {
        let (file, next, max) = (shown(&config.path), after + 1, config.max_record);
        return ConnectorError::permanent(format!(
            "record {next} of {file} is longer than max_record = {max}"
        ))
        .with_hint("look for a double quote that is never closed; else raise `max_record`");
    }
    cannot("read on in", &config.path, io::Error::other(error))
}
