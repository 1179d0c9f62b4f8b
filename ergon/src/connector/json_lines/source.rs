//! The source side of a JSON Lines file: reads the lines of one worker's share, and makes a transaction of each line.

use std::io::{self, Read};

use super::lines::{Line, Lines};
use super::recognition::recognize;
use super::{Envelope, JsonLinesConfig, JsonLinesFormat, envelope};
use crate::connector::kit::file::{
    InputFile, Next, Parser, RECOGNITION_BYTES, ReadError, ReadRequest, RecordSender, Turn, file_error,
    is_stream, record_id, record_transaction_id, refuse_to_share,
};
use crate::connector::{ConnectorError, Shard};
use crate::transaction::{ContentType, Payload, Record, Transaction};

/// Opens the file and sends its lines.
pub(super) fn read(
    config: &JsonLinesConfig,
    request: &ReadRequest,
    records: &mut RecordSender<Line>,
) -> Result<(), ReadError> {
    if config.is_standard_stream() {
        let lines = Lines::new(Input::Standard(io::stdin().lock()), config.max_line);
        // Standard input has no bytes to recognize before its writer sends the first ones.
        let mut parser = LineParser { recognizes: true, ..LineParser::new(config, lines, Shard::default()) };
        return records.send_all(&mut parser);
    }
    refuse_to_share(&config.path, request.shard)?;
    let file = Input::File(InputFile::open(&config.path, request.follow)?);
    let mut lines = Lines::new(file, config.max_line);
    if !request.count && !is_stream(&config.path) {
        let ahead = lines.ahead().map_err(|error| file_error("read", &config.path, error))?;
        recognize(config, ahead, ahead.len() < RECOGNITION_BYTES)?;
    }
    records.send_all(&mut LineParser::new(config, lines, request.shard))
}

/// The input of a source.
enum Input {
    Standard(io::StdinLock<'static>),
    File(InputFile),
}

impl Input {
    fn is_followed(&self) -> bool {
        matches!(self, Self::File(file) if file.is_followed())
    }

    fn turn(&mut self) -> io::Result<Turn> {
        match self {
            Self::Standard(_) => Ok(Turn::Same),
            Self::File(file) => file.turn(),
        }
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Standard(input) => input.read(buffer),
            Self::File(file) => file.read(buffer),
        }
    }
}

/// Parses the lines of one worker's share.
struct LineParser<'a> {
    config: &'a JsonLinesConfig,
    lines: Lines<Input>,
    shard: Shard,
    /// Whether the check of the first bytes is still to be done.
    recognizes: bool,
    /// Whether another file took the place of the file that was read.
    replaced: bool,
    /// Whether the whole file was read, and cannot grow.
    ended: bool,
}

impl<'a> LineParser<'a> {
    fn new(config: &'a JsonLinesConfig, lines: Lines<Input>, shard: Shard) -> Self {
        Self { config, lines, shard, recognizes: false, replaced: false, ended: false }
    }

    /// Returns the line if it belongs to this worker's share.
    fn owned(&self, line: Option<Line>) -> Option<Next<Line>> {
        let line = line.filter(|line| !line.is_blank() && self.shard.owns(line.number - 1))?;
        let size = line.content.len();
        Some(Next::Record(line, size))
    }
}

impl Parser for LineParser<'_> {
    type Record = Line;

    fn next(&mut self) -> Result<Next<Line>, ConnectorError> {
        if std::mem::take(&mut self.recognizes) {
            let ahead = self.lines.ahead().map_err(|error| file_error("read", &self.config.path, error))?;
            recognize(self.config, ahead, false)?;
        }
        if std::mem::take(&mut self.replaced) {
            // The last line of the replaced file may have no end.
            let last = self.lines.rest();
            self.lines.restart();
            return Ok(self.owned(last).unwrap_or(Next::Passed));
        }
        while !self.ended {
            let read = self.lines.next_ended();
            let Some(line) = read.map_err(|error| file_error("read on in", &self.config.path, error))? else {
                if self.lines.file().is_followed() {
                    return Ok(Next::Dry);
                }
                self.ended = true;
                break;
            };
            match self.owned(Some(line)) {
                Some(record) => return Ok(record),
                None if self.lines.is_drained() => return Ok(Next::Passed),
                None => {}
            }
        }
        let last = self.lines.rest();
        Ok(self.owned(last).unwrap_or(Next::End))
    }

    fn may_wait(&self) -> bool {
        self.lines.is_drained()
    }

    fn turn(&mut self) -> Result<(), ConnectorError> {
        let turn = self.lines.file().turn();
        let turn = turn.map_err(|error| file_error("read on in", &self.config.path, error))?;
        self.replaced = turn == Turn::Another;
        Ok(())
    }
}

/// Makes a transaction of a line.
pub(super) fn transaction(format: &JsonLinesFormat, line: Line) -> Transaction {
    let (config, file) = (&format.config, &format.file);
    let made =
        Transaction::builder().source(file.clone()).metadata("file", &**file).metadata("line", line.number);
    if line.cut {
        let (max, size) = (config.max_line, line.content.len());
        let reason = format!("line {} of {file} is longer than max_line = {max}", line.number);
        let kept = String::from_utf8_lossy(&line.content).into_owned();
        let name = format!("first {size} bytes of the line");
        let record = Record::broken([name].to_vec().into(), vec![kept.into()], reason);
        return made.id(record_id(file, line.file, line.number)).payload(Payload::record(record)).build();
    }
    if config.envelope == Envelope::Always {
        return envelope::unwrapped(made, record_id(file, line.file, line.number), &line.content);
    }
    let id = record_transaction_id(file, line.file, line.number);
    made.id(id).payload(Payload::bytes(ContentType::Json, line.content)).build()
}
