//! The parser of CSV files: reads record by record, finds the names of the columns, and keeps the share of one worker.

use std::sync::Arc;

use bytes::Bytes;

use super::CsvConfig;
use super::header::{Header, names, place, words};
use super::recognition::recognize;
use super::recovery::{Ahead, Bounds, Form, Found, State};
use super::syntax::{Flaw, Quote, Rest, Scan, Syntax, Unfinished, What, is_line_end, line_ends};
use super::window::Window;
use crate::connector::kit::file::{
    InputFile, Next, Parser, RECOGNITION_BYTES, Turn, display_path, file_error, is_stream,
};
use crate::connector::{ConnectorError, Shard};
use crate::transaction::TextCells;

/// The number of bytes that are kept of a record that is too long, so that a person can recognize it.
const BEGINNING: usize = 1024;

/// One record of the file.
#[derive(Debug)]
pub struct Line {
    /// The number of the record, counted from 1 without the header.
    pub(super) number: u64,
    /// The line on which the record begins, counted from 1.
    pub(super) begins: u64,
    /// The number of files that were read before at the same path.
    pub(super) file: u64,
    /// The names of the columns of the file.
    pub(super) names: Arc<[String]>,
    pub(super) cells: TextCells,
    /// The reason why the record cannot be decoded.
    pub(super) broken: Option<Broken>,
}

/// The reason why a record cannot be decoded.
#[derive(Debug)]
pub(super) struct Broken {
    /// The defect, to follow the name of the record: `has 2 cells, expected 3`.
    pub(super) what: String,
    /// The line and the column at which the record breaks the rules of quoting.
    pub(super) place: Option<(u64, u64)>,
    /// The bytes of the record, if the cells cannot hold all of it.
    pub(super) raw: Option<Bytes>,
}

/// Reads a file record by record, and keeps the share of one worker.
#[expect(clippy::struct_excessive_bools, reason = "each answers a separate question about the file")]
pub(super) struct Records<'a> {
    config: &'a CsvConfig,
    window: Window,
    form: Form,
    pub(super) names: Arc<[String]>,
    /// The first line of the window, counted from 1.
    line: u64,
    number: u64,
    shard: Shard,
    /// The number of files that were read before at the same path.
    file: u64,
    /// Whether the names of the columns are known.
    headed: bool,
    /// Whether the window reaches the end of the file.
    ended: bool,
    /// Whether the rest of a line that is too long is to be skipped.
    skipping: bool,
    /// Whether a file that does not look like CSV with these settings is refused.
    recognizes: bool,
    /// Whether a record that breaks the rules of quoting was logged.
    warned: bool,
}

impl<'a> Records<'a> {
    /// Opens the file and reads its header, if there is one.
    pub(super) fn new(config: &'a CsvConfig, delimiter: u8, shard: Shard) -> Result<Self, ConnectorError> {
        let mut records = Self::open(config, delimiter, shard, false)?;
        records.learn()?;
        Ok(records)
    }

    /// Opens the file of a source: refuses a file that is not CSV with this delimiter and a header in this line. A
    /// followed file may get its header later.
    pub(super) fn source(
        config: &'a CsvConfig,
        delimiter: u8,
        shard: Shard,
        follow: bool,
    ) -> Result<Self, ConnectorError> {
        let mut records = Self::open(config, delimiter, shard, follow)?;
        records.recognizes = true;
        let stream = is_stream(&config.path);
        while !stream && records.window.rest().len() < RECOGNITION_BYTES && records.fill()? {}
        if records.learn()? || !records.config.headers || follow {
            return Ok(records);
        }
        let message = format!("{} has no content, expected a header", display_path(&config.path));
        Err(ConnectorError::permanent(message).with_hint(
            "look whether the file was written in full; a file without a header needs `headers = false`",
        ))
    }

    fn open(
        config: &'a CsvConfig,
        delimiter: u8,
        shard: Shard,
        follow: bool,
    ) -> Result<Self, ConnectorError> {
        let escape =
            config.escape.and_then(|escape| u8::try_from(escape).ok()).filter(|escape| *escape != b'"');
        Ok(Self {
            config,
            window: Window::new(InputFile::open(&config.path, follow)?),
            form: Form { syntax: Syntax { delimiter, quote: config.quote, escape }, columns: None },
            names: Arc::default(),
            line: 1,
            number: 0,
            shard,
            file: 0,
            headed: false,
            ended: false,
            skipping: false,
            recognizes: false,
            warned: false,
        })
    }

    /// The delimiter in force: the delimiter of the config, or the delimiter that the file names in a line `sep=;`.
    pub(super) fn delimiter(&self) -> u8 {
        self.form.syntax.delimiter
    }

    /// Starts with the file that took the place of the file that was read.
    fn restart(&mut self) {
        self.file += 1;
        (self.line, self.number) = (1, 0);
        (self.headed, self.ended, self.skipping) = (false, false, false);
    }

    fn fill(&mut self) -> Result<bool, ConnectorError> {
        self.window.fill().map_err(|error| file_error("read on in", &self.config.path, error))
    }

    /// Reads more bytes, or finds the end of the file. Returns false if a followed file has neither now.
    fn more(&mut self) -> Result<bool, ConnectorError> {
        if self.ended || self.fill()? {
            return Ok(true);
        }
        self.ended = !self.window.is_followed();
        Ok(self.ended)
    }

    fn rest(&self) -> Rest {
        if self.ended { Rest::Nothing } else { Rest::More }
    }

    /// The most bytes that a record at the start of the window may have, with its mark and line end.
    fn most(&self) -> usize {
        usize::try_from(self.config.max_record.bytes()).unwrap_or(usize::MAX).saturating_add(3)
    }

    /// Finds the names of the columns. Returns false if the file has no first record, or only a part of it.
    fn learn(&mut self) -> Result<bool, ConnectorError> {
        loop {
            let bytes = self.window.rest();
            let too_much = bytes.len() > self.most();
            let rest = if too_much { Rest::TooMuch } else { self.rest() };
            let header = match Header::find(bytes, rest, self.form.syntax, self.config) {
                Err(Unfinished) if self.more()? => continue,
                Err(Unfinished) => return Ok(false),
                Ok(header) => header,
            };
            if self.recognizes && self.file == 0 {
                recognize(self.config, self.window.rest(), &header, self.rest())?;
            }
            let Some(first) = &header.first else {
                self.take(self.window.rest().len());
                return Ok(false);
            };
            let columns = first.scan.len();
            self.form = Form { syntax: header.syntax, columns: Some(columns) };
            if self.config.headers {
                self.names = names(self.config, self.window.rest(), &header, first)?.into();
                self.take(first.next);
            } else {
                self.names = (1..=columns).map(|column| format!("column_{column}")).collect();
                self.take(header.begins);
            }
            self.headed = true;
            return Ok(true);
        }
    }

    /// Finds the next record in the window. The flag says whether the size limit cut the search off.
    fn find(&self) -> Result<(Option<Found>, bool), Unfinished> {
        let (bytes, most) = (self.window.rest(), self.most());
        let ahead = match (self.window.is_followed(), self.shard.count) {
            (false, _) => Ahead::Yes,
            (true, 0 | 1) => Ahead::IfThere,
            // All workers have to count the same records, although they read the file at different times.
            (true, _) => Ahead::No,
        };
        let found = self.form.find(bytes, Bounds { rest: self.rest(), ahead });
        let limit = bytes.iter().take_while(|byte| is_line_end(**byte)).count().saturating_add(most);
        let is_long = |found: &Found| (found.end - found.begins) as u64 > self.config.max_record.bytes();
        match &found {
            Ok(Some(found)) if is_long(found) => {}
            Err(Unfinished) if bytes.len() > limit => {}
            _ => return found.map(|found| (found, false)),
        }
        let within = bytes.get(..limit).unwrap_or(bytes);
        let mut found = self.form.find(within, Bounds { rest: Rest::TooMuch, ahead })?;
        if let Some(found) = found.as_mut().filter(|found| is_long(found)) {
            found.state = State::TooLong;
        }
        Ok((found, true))
    }

    /// Takes the record out of the window.
    fn pass(&mut self, found: &Found) {
        if found.state == State::TooLong {
            self.take(found.end);
            self.skipping = true;
        } else {
            self.take(found.next);
        }
    }

    fn take(&mut self, count: usize) {
        self.line += line_ends(self.window.rest().get(..count).unwrap_or_default());
        self.window.take(count);
    }

    fn line(&mut self, found: &Found, limited: bool) -> Line {
        let bytes = self.window.rest();
        let raw = bytes.get(found.begins..found.end).unwrap_or_default();
        let mut line = Line {
            number: self.number,
            begins: self.line + line_ends(bytes.get(..found.begins).unwrap_or_default()),
            file: self.file,
            names: Arc::clone(&self.names),
            cells: TextCells::with_capacity(found.scan.len(), raw.len()),
            broken: None,
        };
        match found.state {
            State::Whole => self.fill_in(&mut line, &found.scan, bytes, raw),
            State::Damaged(flaw) => {
                let place = place(bytes, flaw.at, self.line);
                self.damaged(&mut line, raw, flaw, limited);
                if let Some(broken) = &mut line.broken {
                    broken.place = Some(place);
                }
                self.warn(&line);
            }
            State::TooLong => {
                line.refuse(format!("is longer than max_record = {}", self.config.max_record), None);
                let kept = raw.get(..BEGINNING).unwrap_or(raw);
                line.names = [format!("first {} bytes of the record", kept.len())].into();
                line.cells.push(&String::from_utf8_lossy(kept));
            }
        }
        line
    }

    fn fill_in(&self, line: &mut Line, scan: &Scan, bytes: &[u8], raw: &[u8]) {
        let (found, expected) = (scan.len(), self.names.len());
        if found != expected {
            line.refuse(format!("has {found} cells, expected {expected}"), None);
        }
        for (column, cell) in scan.cells(self.form.syntax, bytes).enumerate() {
            match std::str::from_utf8(&cell) {
                Ok(text) => line.cells.push(text),
                Err(error) => {
                    let name = self.names.get(column).map_or("", String::as_str);
                    let from = error.valid_up_to();
                    let what = format!("is not UTF-8 in column `{name}`, from byte {from} of it");
                    line.refuse(what, Some(raw));
                    line.cells.push(&String::from_utf8_lossy(&cell));
                }
            }
        }
    }

    /// Keeps the bytes of a record that breaks the rules of quoting, and its cells as far as they can be found.
    fn damaged(&self, line: &mut Line, raw: &[u8], flaw: Flaw, limited: bool) {
        let what = match flaw.what {
            What::NeverClosed if limited => {
                format!(
                    "has a double quote that is not closed within max_record = {}",
                    self.config.max_record
                )
            }
            _ => format!("has {}", words(flaw)),
        };
        line.refuse(what, Some(raw));
        let plain = Syntax { quote: Quote::None, ..self.form.syntax };
        let syntax = if flaw.what == What::NeverClosed { plain } else { self.form.syntax };
        if let Ok(scan) = syntax.scan_leniently(raw, 0, Rest::Nothing) {
            scan.cells(syntax, raw).for_each(|cell| line.cells.push(&String::from_utf8_lossy(&cell)));
        }
    }

    /// Logs the first record that breaks the rules of quoting, with a step that helps if all records do.
    fn warn(&mut self, line: &Line) {
        let Some(Broken { what, place: Some((at, column)), .. }) = &line.broken else { return };
        if !std::mem::replace(&mut self.warned, true) {
            let (file, record) = (display_path(&self.config.path), line.number);
            tracing::warn!(
                file,
                record,
                line = at,
                column,
                "a record {what}; it is refused. If the file is written another way, set `quote` or `escape`"
            );
        }
    }
}

impl Parser for Records<'_> {
    type Record = Line;

    fn next(&mut self) -> Result<Next<Line>, ConnectorError> {
        loop {
            if self.skipping {
                self.skipping = !self.window.take_line();
            }
            if self.skipping || (!self.headed && !self.learn()?) {
                if !self.ended && !self.more()? {
                    return Ok(Next::Dry);
                }
            } else {
                match self.find() {
                    Err(Unfinished) if self.more()? => {}
                    Err(Unfinished) => return Ok(Next::Dry),
                    Ok((Some(found), limited)) => {
                        self.number += 1;
                        let is_ours = self.shard.owns(self.number - 1);
                        let line = is_ours.then(|| self.line(&found, limited));
                        self.pass(&found);
                        if let Some(line) = line {
                            let size = line.weight();
                            return Ok(Next::Record(line, size));
                        }
                    }
                    Ok((None, _)) => self.take(self.window.rest().len()),
                }
            }
            if self.ended && self.window.rest().is_empty() {
                if !self.window.is_followed() {
                    return Ok(Next::End);
                }
                self.restart();
            }
        }
    }

    fn turn(&mut self) -> Result<(), ConnectorError> {
        let turn = self.window.turn().map_err(|error| file_error("read on in", &self.config.path, error))?;
        self.ended = turn == Turn::Another;
        Ok(())
    }
}

impl Line {
    /// Sets the reason why the record cannot be decoded, unless a reason is set already. Keeps the bytes, if the caller
    /// has them.
    fn refuse(&mut self, what: String, raw: Option<&[u8]>) {
        let broken = self.broken.get_or_insert(Broken { what, place: None, raw: None });
        if let (None, Some(raw)) = (&broken.raw, raw) {
            broken.raw = Some(Bytes::copy_from_slice(raw));
        }
    }

    /// The reason why the record cannot be decoded, with its place.
    pub(super) fn reason(&self) -> Option<String> {
        let Broken { what, place, .. } = self.broken.as_ref()?;
        let (number, begins) = (self.number, self.begins);
        let at = place.map(|(line, column)| format!(" (line {line}, column {column})")).unwrap_or_default();
        Some(format!("record {number} (line {begins}) {what}{at}"))
    }

    /// The approximate number of bytes that the record takes in memory.
    pub(super) fn weight(&self) -> usize {
        let raw = self.broken.as_ref().and_then(|broken| broken.raw.as_ref()).map_or(0, Bytes::len);
        self.cells.weight() + raw
    }
}
