//! Fetching from a file, line by line.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use bytes::Bytes;

use super::recognition::recognize;
use super::{Envelope, JsonLines, JsonLinesConfig, line};
use crate::connector::file::{
    ByteSize, Closed, ENOUGH, Outlet, Text, Turn, cannot, find, is_stream, numbered, open, refuse_to_share,
};
use crate::connector::{
    ConnectorError, Context, Count, Delivery, Endpoint, FetchById, FetchRequest, Settlement, Shard, Source,
};
use crate::transaction::{ContentType, Payload, Record, Transaction};

/// How much of a line that is too long is kept, to recognise it by.
const BEGINNING: usize = 1024;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One line of the file.
#[derive(Debug)]
pub(super) struct Line {
    /// Counted from 1.
    pub(super) number: u64,
    pub(super) content: Bytes,
    /// How many files were read before at the same path.
    file: u64,
    /// Whether `content` is only the beginning of a line that is too long.
    cut: bool,
}

impl Source for JsonLines {
    async fn fetch(&self, request: &FetchRequest) -> Result<Vec<Delivery>, ConnectorError> {
        self.start_reading().await?;
        let make = |lines: &mut dyn Iterator<Item = Line>| lines.next().map(|line| self.transaction(line));
        self.feed.fetch(request.max(), 1, make).await
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<(), ConnectorError> {
        self.feed.settle(&settlements);
        Ok(())
    }

    fn reads_from(&self) -> Vec<Endpoint> {
        vec![self.config.place("standard input")]
    }
}

/// Not offered on standard input.
impl Count for JsonLines {
    async fn count(&self) -> Result<u64, ConnectorError> {
        let total = self.total.get_or_try_init(|| {
            let (path, shard) = (self.config.path.clone(), self.shard);
            let counted = tokio::task::spawn_blocking(move || count(&path, shard));
            async {
                counted
                    .await
                    .map_err(|error| ConnectorError::transient("lines not counted").with_source(error))?
            }
        });
        Ok(self.feed.pending(*total.await?))
    }
}

/// Not offered on standard input; reads the file from its front.
impl FetchById for JsonLines {
    async fn fetch_by_id(&self, id: &str) -> Result<Option<Delivery>, ConnectorError> {
        let whole = Self::new(self.config.clone(), &Context::new("", "whole file"));
        self.feed.find(id, find(whole, id)).await
    }
}

impl JsonLines {
    pub(super) async fn start_reading(&self) -> Result<(), ConnectorError> {
        let (config, shard, follow) = (self.config.clone(), self.shard, self.streaming);
        self.feed
            .start(move |outlet| {
                if config.is_standard_stream() {
                    return read_stream(&config, outlet);
                }
                refuse_to_share(&config.path, shard)?;
                read_file(&config, shard, follow, outlet)
            })
            .await
    }

    pub(super) fn transaction(&self, line: Line) -> Transaction {
        let id = numbered(&self.file, line.file, line.number);
        let made = Transaction::builder()
            .source(self.file.clone())
            .metadata("file", &*self.file)
            .metadata("line", line.number);
        if line.cut {
            let (max, size) = (self.config.max_line, line.content.len());
            let reason = format!("line {} of {} is longer than max_line = {max}", line.number, self.file);
            let kept = String::from_utf8_lossy(&line.content).into_owned();
            let name = format!("first {size} bytes of the line");
            let record = Record::broken([name].to_vec().into(), vec![kept.into()], reason);
            return made.id(id).payload(Payload::record(record)).build();
        }
        if self.config.envelope == Envelope::Always {
            return line::unwrapped(made, id, &line.content);
        }
        made.id(id).payload(Payload::bytes(ContentType::Json, line.content)).build()
    }
}

/// Reads standard input; what it is shows only when something comes.
fn read_stream(
    config: &JsonLinesConfig,
    outlet: &mut Outlet<Line>,
) -> Result<Result<(), Closed>, ConnectorError> {
    if outlet.ready().is_err() {
        return Ok(Err(Closed));
    }
    let mut lines = Lines::new(io::stdin().lock(), config.max_line);
    recognize(config, lines.ahead(config)?, false)?;
    match hand_over(&mut lines, config, Shard::default(), outlet)? {
        Ok(()) => Ok(lines.rest().map_or(Ok(()), |line| push(line, outlet))),
        closed => Ok(closed),
    }
}

fn read_file(
    config: &JsonLinesConfig,
    shard: Shard,
    follow: bool,
    outlet: &mut Outlet<Line>,
) -> Result<Result<(), Closed>, ConnectorError> {
    let mut lines = Lines::new(Text::open(&config.path, follow)?, config.max_line);
    if !is_stream(&config.path) {
        let ahead = lines.ahead(config)?;
        recognize(config, ahead, ahead.len() < ENOUGH)?;
    }
    if outlet.ready().is_err() {
        return Ok(Err(Closed));
    }
    loop {
        if hand_over(&mut lines, config, shard, outlet)?.is_err() {
            return Ok(Err(Closed));
        }
        let ends = match lines.reader.get_mut() {
            Text::Once(_) => true,
            Text::Followed(file) => {
                if outlet.dry().is_err() {
                    return Ok(Err(Closed));
                }
                let turn = file.turn().map_err(|error| cannot("read on in", &config.path, error))?;
                if turn == Turn::Same {
                    continue;
                }
                false
            }
        };
        // The last line may have no end.
        let last = lines.rest().filter(|line| !line.is_blank() && shard.owns(line.number - 1));
        if last.is_some_and(|line| push(line, outlet).is_err()) {
            return Ok(Err(Closed));
        }
        if ends {
            return Ok(Ok(()));
        }
        lines.restart();
    }
}

/// Hands over all lines that have an end.
fn hand_over<R: Read>(
    lines: &mut Lines<R>,
    config: &JsonLinesConfig,
    shard: Shard,
    outlet: &mut Outlet<Line>,
) -> Result<Result<(), Closed>, ConnectorError> {
    loop {
        // The next read may wait, for a disk or for somebody who types: what is there goes out before.
        if lines.reader.buffer().is_empty() && outlet.flush().is_err() {
            return Ok(Err(Closed));
        }
        let line = match lines.next_ended().map_err(|error| cannot("read on in", &config.path, error))? {
            None => return Ok(Ok(())),
            Some(line) if line.is_blank() || !shard.owns(line.number - 1) => continue,
            Some(line) => line,
        };
        if push(line, outlet).is_err() {
            return Ok(Err(Closed));
        }
    }
}

fn push(line: Line, outlet: &mut Outlet<Line>) -> Result<(), Closed> {
    let bytes = line.content.len();
    outlet.push(line, bytes)
}

fn count(path: &Path, shard: Shard) -> Result<u64, ConnectorError> {
    // No line is kept, so a line's length is of no interest: only whether something is on it.
    let mut lines = Lines::new(open(path)?, ByteSize::new(BEGINNING as u64));
    let mut count = 0;
    while let Some(line) = lines.next().map_err(|error| cannot("read", path, error))? {
        count += u64::from(!line.is_blank() && shard.owns(line.number - 1));
    }
    Ok(count)
}

/// Splits what is read into lines.
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    max: u64,
    /// Of the line that was read last; the first is 1.
    pub(super) number: u64,
    /// How many files were read before at the same path.
    file: u64,
    /// What was read of the next line, as far as it is kept.
    content: Vec<u8>,
    /// Whether anything was read of it.
    begun: bool,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(reader: R, max: ByteSize) -> Self {
        Self {
            reader: BufReader::with_capacity(ENOUGH, reader),
            max: max.bytes(),
            number: 0,
            file: 0,
            content: Vec::new(),
            begun: false,
        }
    }

    /// Reads one line, without its end; the last one may have none.
    pub(super) fn next(&mut self) -> io::Result<Option<Line>> {
        let line = self.next_ended()?;
        Ok(line.or_else(|| self.rest()))
    }

    /// Reads one line that has an end. What is there of a line without one is kept for the next call.
    fn next_ended(&mut self) -> io::Result<Option<Line>> {
        // Two more than a line may have: those of its end.
        let mark = if self.number == 0 { BYTE_ORDER_MARK.len() as u64 } else { 0 };
        let limit = usize::try_from(self.max.saturating_add(2).saturating_add(mark)).unwrap_or(usize::MAX);
        loop {
            let there = match self.reader.fill_buf() {
                Ok([]) => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                there => there?,
            };
            let end = there.iter().position(|byte| *byte == b'\n');
            let part = there.get(..end.map_or(there.len(), |end| end + 1)).unwrap_or(there);
            let room = limit.saturating_sub(self.content.len());
            self.content.extend_from_slice(part.get(..room).unwrap_or(part));
            self.begun = true;
            let used = part.len();
            self.reader.consume(used);
            if end.is_some() {
                return Ok(self.rest());
            }
        }
    }

    /// Takes what was read of the next line as a line, if anything was.
    fn rest(&mut self) -> Option<Line> {
        if !std::mem::take(&mut self.begun) {
            return None;
        }
        self.number += 1;
        let mut content = std::mem::take(&mut self.content);
        for end in [b'\n', b'\r'] {
            content.pop_if(|last| *last == end);
        }
        if self.number == 1 && content.starts_with(BYTE_ORDER_MARK) {
            content.drain(..BYTE_ORDER_MARK.len());
        }
        let cut = content.len() as u64 > self.max;
        if cut {
            content.truncate(BEGINNING);
        }
        Some(Line { number: self.number, file: self.file, content: content.into(), cut })
    }

    /// Begins with the file that took the place of the one that was read.
    fn restart(&mut self) {
        (self.number, self.file) = (0, self.file + 1);
    }

    /// The first bytes, before any is taken.
    fn ahead(&mut self, config: &JsonLinesConfig) -> Result<&[u8], ConnectorError> {
        self.reader.fill_buf().map_err(|error| cannot("read", &config.path, error))
    }
}

impl Line {
    pub(super) fn is_blank(&self) -> bool {
        !self.cut && self.content.trim_ascii().is_empty()
    }
}
