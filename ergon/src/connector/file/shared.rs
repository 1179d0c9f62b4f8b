//! A file that several sinks may want: one of them at a time, and what one left half done.

use std::io;
#[cfg(feature = "csv")]
use std::{
    fs::{File, OpenOptions},
    io::{Seek, SeekFrom, Write},
    path::Path,
};

use super::append::{AppendFile, Out};
#[cfg(feature = "csv")]
use super::append::{Batch, Ending, unended};
use super::cannot;
#[cfg(feature = "csv")]
use super::shown;
use crate::connector::ConnectorError;

/// For a file that is one sink's alone.
#[cfg(feature = "excel")]
impl AppendFile {
    /// Keeps every other sink from the file as long as this one is open; says whether none has it.
    pub(crate) fn claim(&self) -> Result<bool, ConnectorError> {
        let Out::File(file) = &self.out else { return Ok(true) };
        match file.try_lock() {
            Ok(()) => Ok(true),
            Err(std::fs::TryLockError::WouldBlock) => Ok(false),
            Err(std::fs::TryLockError::Error(error)) => Err(cannot("lock", &self.path, error)),
        }
    }

    /// Says whether the path still leads to this file: it may have been taken away while it was opened.
    pub(crate) fn is_at_its_place(&self) -> Result<bool, ConnectorError> {
        let Out::File(file) = &self.out else { return Ok(true) };
        let here = file.metadata().map_err(|error| cannot("read", &self.path, error))?;
        match std::fs::metadata(&self.path) {
            Ok(there) => Ok(is_same(&here, &there)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(cannot("read", &self.path, error)),
        }
    }

    /// Takes away all that is in the file.
    pub(crate) fn empty(&mut self) -> Result<(), ConnectorError> {
        let Out::File(file) = &self.out else { return Ok(()) };
        file.set_len(0).map_err(|error| cannot("empty", &self.path, error))
    }
}

#[cfg(all(feature = "excel", unix))]
fn is_same(here: &std::fs::Metadata, there: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (here.dev(), here.ino()) == (there.dev(), there.ino())
}

/// A file that is open cannot be taken away.
#[cfg(all(feature = "excel", not(unix)))]
fn is_same(_: &std::fs::Metadata, _: &std::fs::Metadata) -> bool {
    true
}

/// For a file of records that several sinks add to, one after the other.
#[cfg(feature = "csv")]
impl AppendFile {
    /// Does something while no other sink does such a thing to the file.
    pub(super) fn locked<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, ConnectorError>,
    ) -> Result<T, ConnectorError> {
        let change = |this: &Self, lock: fn(&File) -> io::Result<()>| match &this.out {
            Out::File(file) => lock(file).map_err(|error| cannot("lock", &this.path, error)),
            Out::Stdout(_) => Ok(()),
        };
        change(self, File::lock)?;
        let done = work(self);
        change(self, File::unlock).and(done)
    }

    /// Ends the last record, or puts it aside if it is half a one.
    pub(super) fn mend(
        &mut self,
        ending: impl FnOnce(File) -> io::Result<Ending>,
    ) -> Result<(), ConnectorError> {
        if self.torn {
            self.mended(ending).map_err(|error| cannot("mend the end of", &self.path, error))?;
            self.torn = false;
        }
        Ok(())
    }

    fn mended(&mut self, ending: impl FnOnce(File) -> io::Result<Ending>) -> io::Result<()> {
        let (Some((mut file, length)), Out::File(out)) = (unended(&self.path)?, &self.out) else {
            return Ok(());
        };
        let name = shown(&self.path);
        match ending(file.try_clone()?)? {
            Ending::Unended => {
                tracing::warn!(
                    file = name,
                    "the last record has no line end and got one; if a process died there, look whether it is whole"
                );
                (&*out).write_all(b"\n")
            }
            Ending::Half(begins) => {
                let bytes = length.saturating_sub(begins);
                file.seek(SeekFrom::Start(begins))?;
                let kept = keep_aside(&self.path, file)?;
                tracing::warn!(
                    file = name,
                    bytes,
                    kept,
                    "the last record was only half written; it is cut off, and its bytes are kept"
                );
                out.set_len(begins)
            }
        }
    }

    /// Writes, and cuts off again what of a line got into the file before the write stopped.
    pub(super) fn write_or_cut(&mut self, batch: Batch) -> Result<(), ConnectorError> {
        let ends: Vec<u64> = batch.ends().collect();
        let before = self.length();
        let written = self.write(batch);
        if let (true, Some(before)) = (self.torn, before) {
            self.cut(before, &ends);
        }
        written
    }

    /// Takes back half a line, of lines that end so far behind what was there. No other sink was allowed to write; what
    /// somebody wrote all the same stays.
    fn cut(&mut self, before: u64, ends: &[u64]) {
        let (Some(after), Out::File(file)) = (self.length(), &self.out) else { return };
        let got = after.saturating_sub(before);
        let whole = ends.iter().copied().filter(|end| *end <= got).max().unwrap_or(0);
        let is_ours = ends.last().is_some_and(|all| got < *all);
        self.torn = !(is_ours && file.set_len(before + whole).is_ok());
    }

    fn length(&self) -> Option<u64> {
        match &self.out {
            Out::File(file) => file.metadata().ok().map(|metadata| metadata.len()),
            Out::Stdout(_) => None,
        }
    }
}

/// Adds what is left of the file, and a line's end, to the file that has `.torn` after its name; says which that is.
#[cfg(feature = "csv")]
fn keep_aside(path: &Path, mut rest: File) -> io::Result<String> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".torn");
    let mut out = OpenOptions::new().append(true).create(true).open(&aside)?;
    io::copy(&mut rest, &mut out)?;
    out.write_all(b"\n")?;
    out.sync_data()?;
    Ok(shown(Path::new(&aside)))
}

#[cfg(feature = "csv")]
#[cfg(test)]
mod tests {
    use super::super::{Fsync, Mode};
    use super::*;

    #[test]
    fn what_a_write_left_half_done_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let mode = Mode { create: true, append: true, fsync: Fsync::Never };
        for (left, kept) in
            [("A-1,100\nA-2,1", "a\nA-1,100\n"), ("A-1,1", "a\n"), ("A-1,100\nA-2,200\nothers", "")]
        {
            std::fs::write(&path, "a\n").unwrap();
            let mut file = AppendFile::open(&path, mode).unwrap();
            let before = 2;
            // What the system does when the disk is full in the midst of a line.
            std::fs::write(&path, format!("a\n{left}")).unwrap();
            file.torn = true;
            file.cut(before, &[8, 16]);
            let expected = if kept.is_empty() { format!("a\n{left}") } else { kept.to_owned() };
            assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
            assert_eq!(file.torn, kept.is_empty(), "{left:?}");
        }
    }
}
