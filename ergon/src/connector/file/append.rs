//! Appending whole lines to a file, so that a reader never sees half a line of ours followed by another line.
#![cfg_attr(not(feature = "json_lines"), allow(dead_code, reason = "the other connectors use a part of it"))]

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::{Fsync, cannot, shown};
use crate::connector::ConnectorError;

/// How a file is opened for writing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mode {
    /// Make the file, and the folders above it, if it is not there.
    pub(crate) create: bool,
    /// Keep what is in it; else it is emptied when the run begins.
    pub(crate) append: bool,
    pub(crate) fsync: Fsync,
    /// A line break between two double quotes ends no line.
    pub(crate) quotes: bool,
}

/// The items of one dispatch as whole lines, to be written in one go.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    /// For each line, the item it is of, and where in `bytes` it ends.
    lines: Vec<(usize, usize)>,
    /// The items that cannot be a line, and why.
    refused: Vec<(usize, ConnectorError)>,
}

impl Batch {
    /// Adds the next item as a line, or remembers why it cannot be one.
    pub(crate) fn add(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), ConnectorError>) {
        let (item, start) = (self.lines.len() + self.refused.len(), self.bytes.len());
        match write(&mut self.bytes) {
            Ok(()) => {
                self.bytes.push(b'\n');
                self.lines.push((item, self.bytes.len()));
            }
            Err(error) => {
                self.bytes.truncate(start);
                self.refused.push((item, error));
            }
        }
    }

    /// How many lines there are.
    #[cfg(feature = "excel")]
    pub(crate) fn lines(&self) -> usize {
        self.lines.len()
    }
}

/// A file that whole lines are appended to; by several processes at once, if need be.
#[derive(Debug)]
pub(crate) struct AppendFile {
    path: PathBuf,
    out: Out,
    fsync: Fsync,
    quotes: bool,
    /// What is in the file is of an earlier run, and is to go.
    stale: bool,
    /// The file may end in the middle of a line: the next write starts a fresh one.
    torn: bool,
}

#[derive(Debug)]
enum Out {
    File(File),
    Stdout(io::Stdout),
}

impl AppendFile {
    /// Opens standard output.
    pub(crate) fn stdout() -> Self {
        Self {
            path: "-".into(),
            out: Out::Stdout(io::stdout()),
            fsync: Fsync::Never,
            quotes: false,
            stale: false,
            torn: false,
        }
    }

    /// Opens a file, and leaves in it what is there: the run may yet not begin. If a process died while it wrote the
    /// last line, what comes next starts a fresh one.
    pub(crate) fn open(path: &Path, mode: Mode) -> Result<Self, ConnectorError> {
        let failed = |error| cannot("open for writing", path, error);
        if mode.create
            && let Some(folder) = path.parent()
        {
            std::fs::create_dir_all(folder).map_err(|error| cannot("make the folder", folder, error))?;
        }
        let file = OpenOptions::new().append(true).create(mode.create).open(path).map_err(failed)?;
        let regular = file.metadata().map_err(failed)?.is_file();
        let (fsync, quotes, stale) = (mode.fsync, mode.quotes, regular && !mode.append);
        Ok(Self { path: path.to_owned(), out: Out::File(file), fsync, quotes, stale, torn: regular })
    }

    /// Empties the file, if it is to be emptied: once, when the run begins, or at the first write.
    pub(crate) fn begin(&mut self) -> Result<(), ConnectorError> {
        if let (Out::File(file), true) = (&self.out, self.stale) {
            file.set_len(0).map_err(|error| cannot("empty", &self.path, error))?;
        }
        self.stale = false;
        Ok(())
    }

    /// Writes all lines with one call to the system; an item that is not in the file as a whole line is reported.
    pub(crate) fn append(&mut self, batch: Batch) -> Result<(), ConnectorError> {
        self.begin()?;
        self.mend().map_err(|error| cannot("write to", &self.path, error))?;
        let mut written = 0;
        while let Some(rest) = batch.bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match self.out.write(rest) {
                Ok(0) => return Err(self.stopped(batch, written, io::ErrorKind::WriteZero.into())),
                Ok(more) => written += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.stopped(batch, written, error)),
            }
        }
        if self.fsync == Fsync::Each {
            self.sync()?;
        }
        if batch.refused.is_empty() { Ok(()) } else { Err(ConnectorError::partial(batch.refused)) }
    }

    /// Ends the line in whose midst the file ends, if a process died or the disk was full there.
    fn mend(&mut self) -> io::Result<()> {
        if self.torn {
            let end = missing_end(&self.path, self.quotes)?;
            if !end.is_empty() {
                self.out.write(end)?;
            }
            self.torn = false;
        }
        Ok(())
    }

    /// The error of a write that stopped half-way: the lines that are not whole in the file are not done.
    fn stopped(&mut self, batch: Batch, written: usize, error: io::Error) -> ConnectorError {
        if matches!(self.out, Out::Stdout(_)) && error.kind() == io::ErrorKind::BrokenPipe {
            return ConnectorError::gone("nobody reads standard output any more");
        }
        self.torn = written > 0;
        let message = format!("cannot write to {}: {error}", shown(&self.path));
        let lost: Vec<_> = batch.lines.iter().filter(|(_, end)| *end > written).collect();
        if lost.len() == batch.lines.len() {
            return cannot("write to", &self.path, error);
        }
        let lost = lost.into_iter().map(|(item, _)| (*item, ConnectorError::transient(message.clone())));
        ConnectorError::partial(batch.refused.into_iter().chain(lost).collect())
    }

    /// Writes a line of headings if the file is empty, though several processes may try at once; says whether it was.
    #[cfg(feature = "csv")]
    pub(crate) fn head(&mut self, line: &[u8]) -> Result<bool, ConnectorError> {
        self.begin()?;
        let failed = |error| cannot("write to", &self.path, error);
        let Out::File(file) = &self.out else { return Ok(false) };
        file.lock().map_err(failed)?;
        let empty = file.metadata().map_err(failed)?.len() == 0;
        let written = if empty { (&*file).write_all(line) } else { Ok(()) };
        file.unlock().and(written).map_err(failed)?;
        Ok(empty)
    }

    /// Writes the file through to the disk, as far as the mode asks for it.
    pub(crate) fn finish(&mut self) -> Result<(), ConnectorError> {
        if self.fsync == Fsync::Never { Ok(()) } else { self.sync() }
    }

    fn sync(&self) -> Result<(), ConnectorError> {
        match &self.out {
            Out::File(file) => file.sync_data().map_err(|error| cannot("write through", &self.path, error)),
            Out::Stdout(_) => Ok(()),
        }
    }

    /// Says whether a write may wait for another program, or for the disk.
    pub(crate) fn may_wait(&self) -> bool {
        self.fsync == Fsync::Each || matches!(self.out, Out::Stdout(_))
    }
}

impl Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.write(bytes),
            Self::Stdout(stdout) => {
                let mut stdout = stdout.lock();
                stdout.write_all(bytes)?;
                stdout.flush()?;
                Ok(bytes.len())
            }
        }
    }
}

/// What has to be written so that the file's last line is at its end.
fn missing_end(path: &Path, quotes: bool) -> io::Result<&'static [u8]> {
    let mut file = match File::open(path) {
        // A file that may be written and not read: nothing can be known, so nothing is mended.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(b""),
        opened => opened?,
    };
    if file.metadata()?.len() == 0 {
        return Ok(b"");
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    if last == *b"\n" {
        return Ok(b"");
    }
    file.rewind()?;
    Ok(if quotes && has_open_quote(file)? { b"\"\n" } else { b"\n" })
}

fn has_open_quote(file: File) -> io::Result<bool> {
    let mut reader = BufReader::new(file);
    let mut open = false;
    loop {
        let chunk = reader.fill_buf()?;
        if chunk.is_empty() {
            return Ok(open);
        }
        open = chunk.iter().fold(open, |open, byte| open != (*byte == b'"'));
        let length = chunk.len();
        reader.consume(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::Fate;

    #[test]
    fn a_write_that_stops_half_way_says_which_items_are_not_done() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let mode = Mode { create: true, append: true, fsync: Fsync::Never, quotes: false };
        let mut file = AppendFile::open(&path, mode).unwrap();
        file.mend().unwrap();
        let mut batch = Batch::default();
        for line in ["one", "", "two", "three"] {
            batch.add(|bytes| {
                bytes.extend_from_slice(line.as_bytes());
                if line.is_empty() { Err(ConnectorError::permanent("no line")) } else { Ok(()) }
            });
        }
        // What the system does when the disk is full after six bytes: "one\n" and half of "two\n".
        let error = file.stopped(batch, 6, io::ErrorKind::StorageFull.into());
        let fates: Vec<_> = (0..4).map(|index| error.fate(index)).collect();
        assert_eq!(fates, [Fate::Done, Fate::NotDone, Fate::NotDone, Fate::NotDone]);
        assert!(file.torn, "the next write has to start a fresh line");
    }
}
