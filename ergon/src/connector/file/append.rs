//! Appending whole lines to a file, so that a reader never sees half a line of ours followed by another line.
#![cfg_attr(not(feature = "json_lines"), allow(dead_code, reason = "the other connectors use a part of it"))]

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::{Fsync, cannot, pipe, shown};
use crate::connector::ConnectorError;

/// How a file is opened for writing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mode {
    /// Make the file, and the folders above it, if it is not there.
    pub(crate) create: bool,
    /// Keep what is in it; else it is emptied when the run begins.
    pub(crate) append: bool,
    pub(crate) fsync: Fsync,
}

/// How a file of records ends that does not end with a line.
#[cfg(feature = "csv")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With a record that is whole as far as can be told: it lacks nothing but its line's end.
    Unended,
    /// With half a record, from here on.
    Half(u64),
}

/// The items of one dispatch as whole lines, to be written in one go.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    /// For each line, the item it is of, and where in `bytes` it ends.
    lines: Vec<(usize, usize)>,
    /// How many items there were.
    items: usize,
    /// The items that cannot be a line, and why.
    refused: Vec<(usize, ConnectorError)>,
}

impl Batch {
    /// Adds the next item as a line, or remembers why it cannot be one.
    pub(crate) fn add(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), ConnectorError>) {
        self.offer(|line| write(line).map(|()| true));
    }

    /// The same for an item that may need no line because it has one: then `write` returns false.
    pub(crate) fn offer(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<bool, ConnectorError>) {
        let (item, start) = (self.items, self.bytes.len());
        self.items += 1;
        match write(&mut self.bytes) {
            Ok(true) => {
                self.bytes.push(b'\n');
                self.lines.push((item, self.bytes.len()));
            }
            Ok(false) => self.bytes.truncate(start),
            Err(error) => {
                self.bytes.truncate(start);
                self.refused.push((item, error));
            }
        }
    }

    /// Where each line ends.
    #[cfg(feature = "csv")]
    pub(super) fn ends(&self) -> impl Iterator<Item = u64> {
        self.lines.iter().map(|(_, end)| *end as u64)
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
    pub(super) path: PathBuf,
    pub(super) out: Out,
    fsync: Fsync,
    /// It is no pipe and no device.
    regular: bool,
    /// What is in the file is of an earlier run, and is to go.
    stale: bool,
    /// The file may end in the middle of a line: the next write starts a fresh one.
    pub(super) torn: bool,
}

#[derive(Debug)]
pub(super) enum Out {
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
            regular: false,
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
        Self::over(file, path, mode)
    }

    /// The same where the path may lead to a named pipe: then this waits until somebody reads from it.
    pub(crate) async fn reach(path: &Path, mode: Mode) -> Result<Self, ConnectorError> {
        match pipe::reach(path).await? {
            Some(pipe) => Self::over(pipe, path, mode),
            None => Self::open(path, mode),
        }
    }

    fn over(file: File, path: &Path, mode: Mode) -> Result<Self, ConnectorError> {
        let metadata = file.metadata().map_err(|error| cannot("open for writing", path, error))?;
        let regular = metadata.is_file();
        Ok(Self {
            path: path.to_owned(),
            out: Out::File(file),
            fsync: if regular { mode.fsync } else { Fsync::Never },
            regular,
            stale: regular && !mode.append,
            torn: regular,
        })
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
    ///
    /// Where several processes write, the system puts one call after the other. One that looks for the end of a file
    /// while another is in the midst of a call ends a line that needs no end: a blank line, which readers pass over.
    pub(crate) fn append(&mut self, batch: Batch) -> Result<(), ConnectorError> {
        self.begin()?;
        self.end_line().map_err(|error| cannot("write to", &self.path, error))?;
        self.write(batch)
    }

    /// The same for lines that may hold line ends within quotes: a process at a time, and none finds a record that is
    /// half written. `ending` tells how a file ends that does not end with a line.
    #[cfg(feature = "csv")]
    pub(crate) fn append_records(
        &mut self,
        batch: Batch,
        ending: impl FnOnce(File) -> io::Result<Ending>,
    ) -> Result<(), ConnectorError> {
        self.begin()?;
        if !self.regular {
            return self.write(batch);
        }
        self.locked(|this| {
            this.mend(ending)?;
            this.write_or_cut(batch)
        })
    }

    pub(super) fn write(&mut self, batch: Batch) -> Result<(), ConnectorError> {
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
    fn end_line(&mut self) -> io::Result<()> {
        if self.torn {
            if unended(&self.path)?.is_some() {
                self.out.write(b"\n")?;
            }
            self.torn = false;
        }
        Ok(())
    }

    /// The error of a write that stopped half-way: the lines that are not whole in the file are not done.
    fn stopped(&mut self, batch: Batch, written: usize, error: io::Error) -> ConnectorError {
        if !self.regular && error.kind() == io::ErrorKind::BrokenPipe {
            let stdout = matches!(self.out, Out::Stdout(_));
            let name = if stdout { "standard output".to_owned() } else { shown(&self.path) };
            return ConnectorError::gone(format!("nobody reads {name} any more"));
        }
        self.torn = written > 0;
        let message = format!("cannot write to {}: {error}", shown(&self.path));
        let lost: Vec<_> = batch.lines.iter().filter(|(_, end)| *end > written).collect();
        if lost.len() == batch.lines.len() && batch.items == lost.len() {
            return cannot("write to", &self.path, error);
        }
        let lost = lost.into_iter().map(|(item, _)| (*item, ConnectorError::transient(message.clone())));
        ConnectorError::partial(batch.refused.into_iter().chain(lost).collect())
    }

    /// Writes a line of headings if the file is empty, though several processes may try at once; says whether it was.
    #[cfg(feature = "csv")]
    pub(crate) fn head(&mut self, line: &[u8]) -> Result<bool, ConnectorError> {
        self.begin()?;
        let Out::File(_) = &self.out else { return Ok(false) };
        self.locked(|this| {
            let failed = |error| cannot("write to", &this.path, error);
            let Out::File(file) = &this.out else { return Ok(false) };
            let empty = file.metadata().map_err(failed)?.len() == 0;
            if empty && let Err(error) = (&*file).write_all(line) {
                // Half a header would name the columns of all that comes after it.
                let _ = file.set_len(0);
                return Err(failed(error));
            }
            Ok(empty)
        })
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
        self.fsync == Fsync::Each || !self.regular
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

/// The file and its length, if it does not end with a line's end.
pub(super) fn unended(path: &Path) -> io::Result<Option<(File, u64)>> {
    let mut file = match File::open(path) {
        // A file that may be written and not read: nothing can be known, so nothing is mended.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(None),
        opened => opened?,
    };
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok(None);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    file.rewind()?;
    Ok((last != *b"\n").then_some((file, length)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::Fate;

    #[test]
    fn a_write_that_stops_half_way_says_which_items_are_not_done() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let mode = Mode { create: true, append: true, fsync: Fsync::Never };
        let mut file = AppendFile::open(&path, mode).unwrap();
        file.end_line().unwrap();
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
