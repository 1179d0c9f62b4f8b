//! Follows a file as `tail -F` does: reads the bytes that are added to it, and the file that takes its place.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use same_file::Handle;

use super::path::{display_path, file_error, is_pipe, open_file};
use crate::connector::ConnectorError;

/// The number of bytes that are compared to find out whether the content that was read is still there.
const PRINT: usize = 256;

/// The file of a source: read once to its end, or followed.
///
/// ```
/// use std::io::Read;
///
/// use ergon::connector::kit::file::InputFile;
///
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join("in.txt");
/// std::fs::write(&path, "one line\n")?;
/// let mut file = InputFile::open(&path, false)?;
/// let mut text = String::new();
/// file.read_to_string(&mut text)?;
/// assert_eq!(text, "one line\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub enum InputFile {
    /// The file is read once.
    Once(File),
    /// The reader continues when the file grows.
    Followed(Growing),
}

impl InputFile {
    /// Opens a file, to be read once or to be followed.
    ///
    /// # Errors
    /// The file cannot be opened, or is to be followed and is neither a regular file nor a named pipe.
    pub fn open(path: &Path, follow: bool) -> Result<Self, ConnectorError> {
        let file = open_file(path)?;
        if !follow {
            return Ok(Self::Once(file));
        }
        Growing::new(path, file).map(Self::Followed)
    }
}

impl InputFile {
    /// Returns whether the file is followed.
    pub fn is_followed(&self) -> bool {
        matches!(self, Self::Followed(_))
    }

    /// Looks for changes of a file that was read to its end. A file that is not followed stays the same.
    ///
    /// # Errors
    /// The system cannot look up the file.
    pub fn turn(&mut self) -> io::Result<Turn> {
        match self {
            Self::Once(_) => Ok(Turn::Same),
            Self::Followed(file) => file.turn(),
        }
    }
}

impl Read for InputFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Once(file) => file.read(buffer),
            Self::Followed(growing) => growing.read(buffer),
        }
    }
}

/// The state of a file that was read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The file is still at its path, and may grow.
    Same,
    /// The file was renamed or emptied, and all of it was read. The next read is of the file that took its place.
    Another,
}

/// A file that may grow, and whose place another file may take.
#[derive(Debug)]
pub struct Growing {
    path: PathBuf,
    file: File,
    /// Whether it is a regular file. The reader of a pipe continues with the next writer, and has nothing to compare.
    regular: bool,
    /// The number of bytes that were read.
    read: u64,
    /// The first bytes of the file, and the last bytes that were read.
    first: Vec<u8>,
    last: Vec<u8>,
    /// The length and the time of the file when it was last compared.
    seen: Option<(u64, Option<SystemTime>)>,
    /// The file that is now at the path. The present file is read to its end first.
    successor: Option<File>,
    /// Whether a warning was logged that the path has no file, so that it is logged once.
    missing: bool,
}

impl Growing {
    fn new(path: &Path, file: File) -> Result<Self, ConnectorError> {
        let metadata = file.metadata().map_err(|error| file_error("read", path, error))?;
        if !metadata.is_file() && !is_pipe(path) {
            let message = format!("{} is no regular file and cannot be followed", display_path(path));
            return Err(ConnectorError::permanent(message).with_hint("leave `streaming` out, or name a file"));
        }
        Ok(Self::over(path.to_owned(), file, metadata.is_file()))
    }

    fn over(path: PathBuf, file: File, regular: bool) -> Self {
        Self {
            path,
            file,
            regular,
            read: 0,
            first: Vec::new(),
            last: Vec::new(),
            seen: None,
            successor: None,
            missing: false,
        }
    }

    /// Looks for changes of the file, after a read that returned nothing.
    ///
    /// # Errors
    /// The system cannot look up the file or its path.
    pub fn turn(&mut self) -> io::Result<Turn> {
        if !self.regular {
            return Ok(Turn::Same);
        }
        if let Some(successor) = self.successor.take() {
            // The present file was read to its end once more after the successor was found, because its writer may have
            // added records until then.
            tracing::info!(file = display_path(&self.path), "another file is at the path; reading that one");
            *self = Self::over(std::mem::take(&mut self.path), successor, true);
            return Ok(Turn::Another);
        }
        if self.is_cut()? {
            tracing::info!(
                file = display_path(&self.path),
                "the file was emptied; reading it from its front"
            );
            let mut file = self.file.try_clone()?;
            file.rewind()?;
            *self = Self::over(std::mem::take(&mut self.path), file, true);
            return Ok(Turn::Another);
        }
        self.look_for_successor()?;
        Ok(Turn::Same)
    }

    /// Returns whether the file was emptied since it was read. Such a file is shorter, or it has grown again and has
    /// other bytes.
    fn is_cut(&mut self) -> io::Result<bool> {
        let metadata = self.file.metadata()?;
        if metadata.len() < self.read {
            return Ok(true);
        }
        let now = Some((metadata.len(), metadata.modified().ok()));
        if self.seen == now {
            return Ok(false);
        }
        self.seen = now;
        let behind = self.read.saturating_sub(self.last.len() as u64);
        let same = holds(&mut self.file, 0, &self.first)? && holds(&mut self.file, behind, &self.last)?;
        self.file.seek(SeekFrom::Start(self.read))?;
        Ok(!same)
    }

    /// Finds out whether the path leads to another file. An empty file does not count, because the writer of a renamed
    /// file may write to it until it has opened the new file.
    fn look_for_successor(&mut self) -> io::Result<()> {
        let there = match Handle::from_path(&self.path) {
            Ok(there) => there,
            Err(error) => {
                if !std::mem::replace(&mut self.missing, true) {
                    let file = display_path(&self.path);
                    tracing::warn!(file, %error, "the file is not at its place; waiting for another one there");
                }
                return Ok(());
            }
        };
        self.missing = false;
        let metadata = there.as_file().metadata()?;
        if metadata.is_file() && metadata.len() > 0 && there != Handle::from_file(self.file.try_clone()?)? {
            self.successor = Some(there.as_file().try_clone()?);
        }
        Ok(())
    }
}

impl Read for Growing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        let bytes = buffer.get(..read).unwrap_or_default();
        self.read += read as u64;
        let missing = PRINT.saturating_sub(self.first.len());
        self.first.extend_from_slice(bytes.get(..missing).unwrap_or(bytes));
        self.last.extend_from_slice(bytes.get(read.saturating_sub(PRINT)..).unwrap_or_default());
        let over = self.last.len().saturating_sub(PRINT);
        self.last.drain(..over);
        Ok(read)
    }
}

/// Returns whether a file has these bytes at a place.
fn holds(file: &mut File, at: u64, bytes: &[u8]) -> io::Result<bool> {
    file.seek(SeekFrom::Start(at))?;
    let mut there = Vec::with_capacity(bytes.len());
    file.take(bytes.len() as u64).read_to_end(&mut there)?;
    Ok(there == bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn rest(file: &mut Growing) -> String {
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        text
    }

    fn followed(path: &Path) -> Growing {
        Growing::new(path, File::open(path).unwrap()).unwrap()
    }

    #[test]
    fn a_file_that_grows_is_read_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "one\n").unwrap();
        let mut file = followed(&path);
        assert_eq!(rest(&mut file), "one\n");
        assert_eq!(file.turn().unwrap(), Turn::Same);
        File::options().append(true).open(&path).unwrap().write_all(b"two\n").unwrap();
        assert_eq!(file.turn().unwrap(), Turn::Same);
        assert_eq!(rest(&mut file), "two\n");
    }

    #[test]
    fn a_file_that_was_emptied_is_read_from_its_front() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let long = "a line that is long enough\n".repeat(100);
        for after in ["x\n", "other\n", &long.replace('a', "b"), &(long.clone() + "more\n").replace('a', "c")]
        {
            std::fs::write(&path, &long).unwrap();
            let mut file = followed(&path);
            assert_eq!(rest(&mut file), long);
            file.turn().unwrap();
            std::fs::write(&path, after).unwrap();
            assert_eq!(file.turn().unwrap(), Turn::Another, "{after:?}");
            assert_eq!(rest(&mut file), after);
        }
    }

    #[test]
    fn a_file_that_was_renamed_is_read_to_its_end_before_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "one\n").unwrap();
        let mut file = followed(&path);
        assert_eq!(rest(&mut file), "one\n");
        let mut writer = File::options().append(true).open(&path).unwrap();
        std::fs::rename(&path, folder.path().join("a.1")).unwrap();
        assert_eq!(file.turn().unwrap(), Turn::Same, "there is no other yet");
        writer.write_all(b"two\n").unwrap();
        std::fs::write(&path, "").unwrap();
        assert_eq!(file.turn().unwrap(), Turn::Same, "the writer has not moved on yet");
        assert_eq!(rest(&mut file), "two\n");
        writer.write_all(b"three\n").unwrap();
        std::fs::write(&path, "four\n").unwrap();
        assert_eq!(file.turn().unwrap(), Turn::Same);
        assert_eq!(rest(&mut file), "three\n");
        assert_eq!(file.turn().unwrap(), Turn::Another);
        assert_eq!(rest(&mut file), "four\n");
    }
}
