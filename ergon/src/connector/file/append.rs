//! Appending whole lines to a file, so that a reader never sees half a line of ours followed by another line.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::{Fsync, cannot, shown};
use crate::connector::ConnectorError;

/// How a file is opened for writing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mode {
    /// Make the file, and the folders above it, if it is not there.
    pub(crate) create: bool,
    /// Keep what is in it; else it is emptied.
    pub(crate) append: bool,
    pub(crate) fsync: Fsync,
}

/// Whole lines to be written in one go.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) bytes: Vec<u8>,
    /// Where in `bytes` each line ends.
    ends: Vec<usize>,
}

impl Batch {
    /// Ends the line that was written to `bytes` last.
    pub(crate) fn end_line(&mut self) {
        self.bytes.push(b'\n');
        self.ends.push(self.bytes.len());
    }
}

/// A file that whole lines are appended to; by several processes at once, if need be.
#[derive(Debug)]
pub(crate) struct AppendFile {
    path: PathBuf,
    out: Out,
    fsync: Fsync,
    /// The file ends in the middle of a line: the next write starts a fresh one.
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
        Self { path: "-".into(), out: Out::Stdout(io::stdout()), fsync: Fsync::Never, torn: false }
    }

    /// Opens a file; if a process died while it wrote the last line, what comes next starts a fresh one.
    pub(crate) fn open(path: &Path, mode: Mode) -> Result<Self, ConnectorError> {
        let failed = |error| cannot("open for writing", path, error);
        if mode.create
            && let Some(folder) = path.parent()
        {
            std::fs::create_dir_all(folder).map_err(|error| cannot("make the folder", folder, error))?;
        }
        let file = OpenOptions::new().append(true).create(mode.create).open(path).map_err(failed)?;
        let regular = file.metadata().map_err(failed)?.is_file();
        if regular && !mode.append {
            file.set_len(0).map_err(failed)?;
        }
        let torn = regular && ends_in_mid_line(path).map_err(failed)?;
        Ok(Self { path: path.to_owned(), out: Out::File(file), fsync: mode.fsync, torn })
    }

    /// Writes all lines with one call to the system; each is in the file whole, or it is reported as not written.
    pub(crate) fn append(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        if self.torn {
            self.out.write(b"\n").map_err(|error| cannot("write to", &self.path, error))?;
            self.torn = false;
        }
        let mut written = 0;
        while let Some(rest) = batch.bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match self.out.write(rest) {
                Ok(0) => return Err(self.stopped(batch, written, io::ErrorKind::WriteZero.into())),
                Ok(more) => written += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.stopped(batch, written, error)),
            }
        }
        if self.fsync == Fsync::Each { self.sync() } else { Ok(()) }
    }

    /// The error of a write that stopped half-way: the lines that are not whole in the file are not done.
    fn stopped(&mut self, batch: &Batch, written: usize, error: io::Error) -> ConnectorError {
        let whole = batch.ends.iter().take_while(|end| **end <= written).count();
        self.torn = written > 0 && batch.ends.get(whole.wrapping_sub(1)) != Some(&written);
        let message = format!("cannot write to {}: {error}", shown(&self.path));
        if whole == 0 {
            return cannot("write to", &self.path, error);
        }
        let failed =
            (whole..batch.ends.len()).map(|index| (index, ConnectorError::transient(message.clone())));
        ConnectorError::partial(failed.collect())
    }

    /// Writes a line of headings if the file is empty, though several processes may try at once.
    #[cfg(feature = "csv")]
    pub(crate) fn head(&mut self, line: &[u8]) -> Result<(), ConnectorError> {
        let failed = |error| cannot("write to", &self.path, error);
        match &self.out {
            Out::Stdout(stdout) => stdout.lock().write_all(line).map_err(failed),
            Out::File(file) => {
                file.lock().map_err(failed)?;
                let empty = file.metadata().map_err(failed)?.len() == 0;
                let written = if empty { (&*file).write_all(line) } else { Ok(()) };
                file.unlock().and(written).map_err(failed)
            }
        }
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

fn ends_in_mid_line(path: &Path) -> io::Result<bool> {
    let mut file = match File::open(path) {
        // A file that may be written and not read: nothing can be known, so nothing is mended.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(false),
        opened => opened?,
    };
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::Fate;

    #[test]
    fn a_write_that_stops_half_way_says_which_lines_are_not_done() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let mode = Mode { create: true, append: true, fsync: Fsync::Never };
        let mut file = AppendFile::open(&path, mode).unwrap();
        let mut batch = Batch::default();
        for line in ["one", "two", "three"] {
            batch.bytes.extend_from_slice(line.as_bytes());
            batch.end_line();
        }
        // What the system does when the disk is full after six bytes: "one\n" and half of "two\n".
        let error = file.stopped(&batch, 6, io::ErrorKind::StorageFull.into());
        let fates: Vec<_> = (0..3).map(|index| error.fate(index)).collect();
        assert_eq!(fates, [Fate::Done, Fate::NotDone, Fate::NotDone]);
        assert!(file.torn, "the next write has to start a fresh line");
        assert!(!error.is_permanent());
    }
}
