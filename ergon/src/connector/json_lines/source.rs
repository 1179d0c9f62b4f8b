//! Fetching from a file, line by line.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use bytes::Bytes;

use super::{Envelope, JsonLines, line};
use crate::connector::file::{ByteSize, Closed, Outlet, cannot, find, open, refuse_to_share};
use crate::connector::{
    ConnectorError, Context, Count, Delivery, FetchById, FetchRequest, Place, Settlement, Shard, Source,
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

    fn origins(&self) -> Vec<Place> {
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
        let (path, shard, max) = (self.config.path.clone(), self.shard, self.config.max_line);
        let standard_input = self.config.is_standard_stream();
        self.feed
            .start(move |outlet| {
                if standard_input {
                    return read(Lines::new(io::stdin().lock(), max), &path, shard, outlet);
                }
                refuse_to_share(&path, shard)?;
                read(Lines::new(open(&path)?, max), &path, shard, outlet)
            })
            .await
    }

    pub(super) fn transaction(&self, line: Line) -> Transaction {
        let id = format!("{}:{}", self.file, line.number);
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

fn read<R: Read>(
    mut lines: Lines<R>,
    path: &Path,
    shard: Shard,
    outlet: &mut Outlet<Line>,
) -> Result<Result<(), Closed>, ConnectorError> {
    if outlet.ready().is_err() {
        return Ok(Err(Closed));
    }
    loop {
        // The next read may wait, for a disk or for somebody who types: what is there goes out before.
        if lines.reader.buffer().is_empty() && outlet.flush().is_err() {
            return Ok(Err(Closed));
        }
        let line = match lines.next().map_err(|error| cannot("read on in", path, error))? {
            None => return Ok(Ok(())),
            Some(line) if line.is_blank() || !shard.owns(line.number - 1) => continue,
            Some(line) => line,
        };
        let bytes = line.content.len();
        if outlet.push(line, bytes).is_err() {
            return Ok(Err(Closed));
        }
    }
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
}

impl<R: Read> Lines<R> {
    pub(super) fn new(reader: R, max: ByteSize) -> Self {
        Self { reader: BufReader::with_capacity(64 * 1024, reader), max: max.bytes(), number: 0 }
    }

    /// Reads one line, without its end.
    pub(super) fn next(&mut self) -> io::Result<Option<Line>> {
        let mut content = Vec::new();
        // Two more than a line may have: those of its end.
        let mark = if self.number == 0 { BYTE_ORDER_MARK.len() as u64 } else { 0 };
        let limit = self.max.saturating_add(2).saturating_add(mark);
        if self.reader.by_ref().take(limit).read_until(b'\n', &mut content)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        let ended = content.last() == Some(&b'\n');
        for end in [b'\n', b'\r'] {
            content.pop_if(|last| *last == end);
        }
        if self.number == 1 && content.starts_with(BYTE_ORDER_MARK) {
            content.drain(..BYTE_ORDER_MARK.len());
        }
        let cut = content.len() as u64 > self.max;
        if cut {
            if !ended {
                self.reader.skip_until(b'\n')?;
            }
            content.truncate(BEGINNING);
        }
        Ok(Some(Line { number: self.number, content: content.into(), cut }))
    }
}

impl Line {
    pub(super) fn is_blank(&self) -> bool {
        !self.cut && self.content.trim_ascii().is_empty()
    }
}
