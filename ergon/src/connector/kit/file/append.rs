//! Appends complete lines to a file. No reader sees a part of a line, and no dispatch succeeds whose lines are not in
//! the file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf, absolute};
use std::sync::Arc;
use std::time::Duration;

use super::batch::Batch;
use super::ending::{Ending, Tail, mended};
use super::lock::{self, Claim, Identity, Refused, Wish};
use super::path::{display_path, file_error, no_folder};
use super::{pipe, stdout};
use crate::connector::ConnectorError;

/// The time that a sink waits for another sink that is about to empty the file. It is shorter than the 30 seconds of
/// [`Connector::open`](crate::connector::Connector::open), so that the error names the reason.
const EMPTIED_WITHIN: Duration = Duration::from_secs(20);
/// The time between two attempts to open the file during that wait.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The times at which a sink syncs its file, which makes the system write the data to the disk.
///
/// ```
/// use ergon::connector::Fsync;
///
/// assert_eq!(serde_json::from_str::<Fsync>("\"each\"")?, Fsync::Each);
/// assert_eq!(Fsync::default(), Fsync::End);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fsync {
    /// Once, at close. A crash of the machine before that may lose lines that the system had not written to the disk.
    #[default]
    End,
    /// Before each dispatch returns: the lines of a dispatch that returned survive a crash of the machine. Such a sink
    /// has no buffer.
    Each,
    /// Never: the system chooses the time.
    Never,
}

/// The options with which a file is opened for writing. Default: the sink creates the file if it does not exist, keeps
/// its content, and writes it through to the disk at close.
///
/// ```
/// use ergon::connector::kit::file::WriteOptions;
///
/// let options = WriteOptions { append: false, ..WriteOptions::default() };
/// assert!(options.create);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteOptions {
    /// Creates the file, and the folders above it, if the file does not exist.
    pub create: bool,
    /// Keeps the content of the file; otherwise the sink empties the file when the run starts.
    pub append: bool,
    /// The times at which the file is written through to the disk.
    pub fsync: Fsync,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self { create: true, append: true, fsync: Fsync::default() }
    }
}

/// A file to which several processes can append complete lines at the same time.
///
/// The type promises:
///
/// - A line is complete in the file, or not in the file at all.
/// - An append succeeds only while the file is at its path and as long as this sink left it.
/// - An incomplete line of a killed process is removed, and its bytes are kept in `<path>.torn`.
/// - A sink never empties a file that another sink has open.
///
/// ```
/// use ergon::connector::kit::file::{AppendFile, Batch, Ending, WriteOptions};
///
/// # let folder = tempfile::tempdir()?;
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let path = folder.path().join("out.txt");
/// let mut file = AppendFile::open(&path, WriteOptions::default()).await?;
/// let mut batch = Batch::default();
/// batch.add(|line| {
///     line.extend_from_slice(b"one line");
///     Ok(())
/// });
/// file.append(&mut batch, |_, _| Ok(Ending::Whole))?;
/// file.finish()?;
/// assert_eq!(std::fs::read_to_string(&path)?, "one line\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct AppendFile {
    target: Target,
    fsync: Fsync,
    kind: Kind,
}

#[derive(Debug)]
struct Target {
    path: PathBuf,
    file: File,
}

#[derive(Debug)]
enum Kind {
    /// A pipe, a device or standard output, from which no written byte can be removed. After an incomplete line, the
    /// next write starts a new line.
    Stream {
        stdout: bool,
        truncated: bool,
    },
    Regular(Regular),
}

/// The state of a regular file.
#[derive(Debug)]
struct Regular {
    identity: Identity,
    claim: Arc<Claim>,
    /// No other sink may write, so a write needs no lock.
    alone: bool,
    /// Whether the end of the file can be read.
    readable: bool,
    started: bool,
    /// The length up to which the file has complete lines, as of the last write of this sink; `None` before the first
    /// write.
    end: Option<u64>,
    /// The reason why the sink is closed: another program removed, replaced or shortened the file.
    lost: Option<String>,
}

/// The reason why a batch is not written completely.
enum Stopped {
    /// The system accepted only this number of bytes, and all of them are in the file.
    After(usize, io::Error),
    /// Probably no line of the batch is in the file.
    Before(ConnectorError),
}

impl From<ConnectorError> for Stopped {
    fn from(error: ConnectorError) -> Self {
        Self::Before(error)
    }
}

impl AppendFile {
    /// Opens standard output.
    ///
    /// # Errors
    /// Nothing can be written there.
    pub fn stdout() -> Result<Self, ConnectorError> {
        let kind = Kind::Stream { stdout: true, truncated: false };
        let target = Target { path: "-".into(), file: stdout::open()? };
        Ok(Self { target, fsync: Fsync::Never, kind })
    }

    /// Opens a file to which any number of sinks may append, and changes nothing in it, because the run may still fail
    /// to start. Waits until a program reads from a named pipe, and while another sink is about to empty the file.
    ///
    /// # Errors
    /// The file cannot be opened, or it is to be emptied and another sink writes to it.
    pub async fn open(path: &Path, mode: WriteOptions) -> Result<Self, ConnectorError> {
        if let Some(file) = pipe::reach(path).await? {
            return Ok(Self::stream(path, file));
        }
        let wish = if mode.append { Wish::Append } else { Wish::Empty };
        let began = tokio::time::Instant::now();
        loop {
            match Self::try_open(path, mode, wish)? {
                Ok(file) => return Ok(file),
                Err(Refused::Failed(error)) => return Err(file_error("lock", path, error)),
                Err(Refused::Closed) if began.elapsed() < EMPTIED_WITHIN => {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                Err(Refused::Closed) => {
                    let message = format!("another sink has {} for itself", display_path(path));
                    return Err(ConnectorError::permanent(message)
                        .with_hint("wait until that run has begun or ended, or name another file"));
                }
                Err(Refused::Taken) => {
                    let message = format!(
                        "another sink is writing to {}, which this one would empty",
                        display_path(path)
                    );
                    return Err(ConnectorError::permanent(message).with_hint(
                        "wait until that run has ended, set `append = true` to write after what it writes, or name \
                         another file",
                    ));
                }
            }
        }
    }

    /// Opens a file for this sink alone; returns `None` if another sink has the file.
    ///
    /// # Errors
    /// The file cannot be opened or locked.
    pub fn open_alone(path: &Path, mode: WriteOptions) -> Result<Option<Self>, ConnectorError> {
        match Self::try_open(path, mode, Wish::Alone)? {
            Ok(file) => Ok(Some(file)),
            Err(Refused::Failed(error)) => Err(file_error("lock", path, error)),
            Err(Refused::Taken | Refused::Closed) => Ok(None),
        }
    }

    fn try_open(
        path: &Path,
        mode: WriteOptions,
        wish: Wish,
    ) -> Result<Result<Self, Refused>, ConnectorError> {
        no_folder(path)?;
        let failed = |error| file_error("open for writing", path, error);
        if mode.create
            && let Some(folder) = path.parent()
        {
            std::fs::create_dir_all(folder).map_err(|error| file_error("make the folder", folder, error))?;
        }
        let options = |read| OpenOptions::new().read(read).append(true).create(mode.create).open(path);
        // Only regular files are opened for reading, because a read of a device may wait.
        let keeps = path.metadata().map_or(true, |metadata| metadata.is_file());
        let (file, readable) = match options(keeps) {
            // Where a file may be written and not read, its end is unknown.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && keeps => {
                (options(false).map_err(failed)?, false)
            }
            opened => (opened.map_err(failed)?, keeps),
        };
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            stdout::refuse_closed(path, &file)?;
            return Ok(Ok(Self::stream(path, file)));
        }
        let identity = Identity::of(&metadata);
        let claim = match Claim::new(&file, identity, wish) {
            Ok(claim) => claim,
            Err(refused) => return Ok(Err(refused)),
        };
        let alone = wish == Wish::Alone;
        let regular = Regular { identity, claim, alone, readable, started: false, end: None, lost: None };
        // An absolute path, so that a later change of the working folder does not lead to another file.
        let path = absolute(path).unwrap_or_else(|_| path.to_owned());
        let target = Target { path, file };
        Ok(Ok(Self { target, fsync: mode.fsync, kind: Kind::Regular(regular) }))
    }

    fn stream(path: &Path, file: File) -> Self {
        let kind = Kind::Stream { stdout: false, truncated: false };
        Self { target: Target { path: path.to_owned(), file }, fsync: Fsync::Never, kind }
    }

    /// Empties the file if the options ask for it: once, when the run starts, or at the first write.
    ///
    /// # Errors
    /// The file cannot be emptied.
    pub fn start(&mut self) -> Result<(), ConnectorError> {
        let Kind::Regular(regular) = &mut self.kind else { return Ok(()) };
        if !regular.started {
            regular.claim.start().map_err(|error| file_error("empty", &self.target.path, error))?;
            regular.started = true;
        }
        Ok(())
    }

    /// Writes all lines in one call; reports each item that is not in the file as a whole line.
    ///
    /// One sink writes at a time. The file has to be at its path, and as long as this sink left it. If other programs
    /// have written to the file, `ending` finds out how it ends, and an incomplete line of a process that died is
    /// removed first. If this write stops half-way, its own incomplete line is removed as well.
    ///
    /// # Errors
    /// Errors of the system; an error that [is closed](ConnectorError::is_closed) if another program removed, replaced
    /// or shortened the file.
    pub fn append(
        &mut self,
        batch: &mut Batch,
        ending: impl FnOnce(&File, Tail) -> io::Result<Ending>,
    ) -> Result<(), ConnectorError> {
        self.start()?;
        if !batch.bytes.is_empty() {
            let written = match &mut self.kind {
                Kind::Stream { truncated, .. } => write_stream(&self.target.file, truncated, batch),
                Kind::Regular(regular) => {
                    self.target.locked(regular, |target, regular| target.write_lines(regular, batch, ending))
                }
            };
            match written {
                Ok(()) => {}
                Err(Stopped::After(written, error)) => return Err(self.stopped(batch, written, error)),
                Err(Stopped::Before(error)) => return Err(error),
            }
            if self.fsync == Fsync::Each {
                self.sync()?;
            }
        }
        let refused = std::mem::take(&mut batch.refused);
        if refused.is_empty() { Ok(()) } else { Err(ConnectorError::partial(refused)) }
    }

    /// Writes a header if the file is empty; returns whether it was empty. If several processes try at the same time,
    /// only one writes the header.
    ///
    /// # Errors
    /// The errors of [`append`](Self::append).
    pub fn head(&mut self, line: &[u8]) -> Result<bool, ConnectorError> {
        self.start()?;
        let mut batch = Batch::of_line(line);
        let mut was_empty = true;
        let written = match &mut self.kind {
            Kind::Stream { truncated, .. } => write_stream(&self.target.file, truncated, &batch),
            Kind::Regular(regular) => self.target.locked(regular, |target, regular| {
                was_empty = target.look(regular)? == 0;
                // An incomplete header would name the wrong columns for all records below it, so it is removed like an
                // incomplete line.
                if was_empty { target.write_lines(regular, &batch, |_, _| Ok(Ending::Whole)) } else { Ok(()) }
            }),
        };
        match written {
            Ok(()) => Ok(was_empty),
            Err(Stopped::After(written, error)) => Err(self.stopped(&mut batch, written, error)),
            Err(Stopped::Before(error)) => Err(error),
        }
    }

    /// Makes the error of a write that stopped half-way: the items whose lines are not complete in the file have
    /// failed.
    fn stopped(&self, batch: &mut Batch, written: usize, error: io::Error) -> ConnectorError {
        let name = match &self.kind {
            Kind::Stream { stdout: true, .. } => "standard output".to_owned(),
            _ => display_path(&self.target.path),
        };
        if matches!(self.kind, Kind::Stream { .. }) && error.kind() == io::ErrorKind::BrokenPipe {
            return ConnectorError::closed(format!("nobody reads {name} any more"));
        }
        let message = format!("cannot write to {name}: {error}");
        let lost: Vec<_> = batch.lines.iter().filter(|(_, end)| *end > written).collect();
        if lost.len() == batch.lines.len() && batch.items == lost.len() {
            return match self.kind {
                Kind::Stream { stdout: true, .. } => {
                    ConnectorError::transient("cannot write to standard output").with_source(error)
                }
                _ => file_error("write to", &self.target.path, error),
            };
        }
        let mut failures = std::mem::take(&mut batch.refused);
        let lost = lost.into_iter().map(|(item, _)| (*item, ConnectorError::transient(message.clone())));
        failures.extend(lost);
        ConnectorError::partial(failures)
    }

    /// Makes sure that the written lines are in the file, and writes them through to the disk if the options ask for
    /// it.
    ///
    /// # Errors
    /// Another program removed, replaced or shortened the file.
    pub fn finish(&mut self) -> Result<(), ConnectorError> {
        if let Kind::Regular(regular) = &mut self.kind {
            // Another program may remove a file to which this sink never wrote.
            if regular.end.is_some() || regular.lost.is_some() {
                self.target.look(regular)?;
            }
        }
        if self.fsync == Fsync::Never { Ok(()) } else { self.sync() }
    }

    fn sync(&self) -> Result<(), ConnectorError> {
        let Target { file, path } = &self.target;
        file.sync_data().map_err(|error| file_error("write through", path, error))
    }

    /// Returns whether a write may wait for another program, or for the disk.
    pub fn may_wait(&self) -> bool {
        self.fsync == Fsync::Each || matches!(self.kind, Kind::Stream { .. })
    }

    /// Returns whether the path still leads to this file. Another program may have removed the file between the open
    /// and the lock.
    ///
    /// # Errors
    /// The system cannot look up the path.
    pub fn is_at_its_path(&self) -> Result<bool, ConnectorError> {
        let Kind::Regular(regular) = &self.kind else { return Ok(true) };
        let path = &self.target.path;
        match path.metadata() {
            Ok(there) => Ok(Identity::of(&there) == regular.identity),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(file_error("read", path, error)),
        }
    }

    /// Removes the content of a file that no other sink has open.
    ///
    /// # Errors
    /// The file cannot be emptied.
    pub fn empty(&mut self) -> Result<(), ConnectorError> {
        let Target { file, path } = &self.target;
        file.set_len(0).map_err(|error| file_error("empty", path, error))?;
        if let Kind::Regular(regular) = &mut self.kind {
            regular.end = None;
        }
        Ok(())
    }
}

impl Target {
    /// Works on a regular file while no other sink writes to it.
    fn locked(
        &self,
        regular: &mut Regular,
        work: impl FnOnce(&Self, &mut Regular) -> Result<(), Stopped>,
    ) -> Result<(), Stopped> {
        if regular.alone {
            return work(self, regular);
        }
        let failed = |error| Stopped::Before(file_error("lock", &self.path, error));
        lock::lock_for_write(&self.file).map_err(failed)?;
        let done = work(self, regular);
        // A lock that is not released ends with the file.
        lock::unlock(&self.file).map_err(failed).and(done)
    }

    fn write_lines(
        &self,
        regular: &mut Regular,
        batch: &Batch,
        ending: impl FnOnce(&File, Tail) -> io::Result<Ending>,
    ) -> Result<(), Stopped> {
        let length = self.look(regular)?;
        let begin = if regular.end == Some(length) || !regular.readable {
            length
        } else {
            let failed = |error| file_error("mend the end of", &self.path, error);
            mended(&self.file, &self.path, (regular.end.unwrap_or_default(), length), ending)
                .map_err(failed)?
        };
        let written = write_all(&self.file, &batch.bytes);
        let whole = match &written {
            Ok(()) => batch.bytes.len(),
            Err((written, _)) => self.cut(begin, *written, batch.whole(*written)),
        };
        regular.end = Some(begin + whole as u64);
        written.map_err(|(_, error)| Stopped::After(whole, error))
    }

    /// Makes sure that the file is at its path, and as long as this sink left it; returns its length.
    ///
    /// # Errors
    /// The file was removed, replaced or shortened.
    fn look(&self, regular: &mut Regular) -> Result<u64, ConnectorError> {
        if let Some(lost) = &regular.lost {
            return Err(lost_file(lost.clone()));
        }
        let end = regular.end.unwrap_or_default();
        // One call returns both the identity of the file at the path and its length, so that no change falls between
        // the two.
        match self.path.metadata() {
            Ok(there) if Identity::of(&there) != regular.identity => {
                Err(self.lose(regular, "was replaced by another file"))
            }
            Ok(there) if there.len() < end => Err(self.lose(regular, &shortened(there.len(), end))),
            Ok(there) => Ok(there.len()),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Err(self.lose(regular, "was removed"))
            }
            Err(error) => Err(file_error("look at", &self.path, error)),
        }
    }

    /// Removes the incomplete line of a write that stopped after `written` bytes, of which `whole` bytes are complete
    /// lines. Returns how many bytes of the batch stay. If the system does not remove the incomplete line now, the next
    /// write does.
    fn cut(&self, begin: u64, written: usize, whole: usize) -> usize {
        let is_ours = || self.file.metadata().is_ok_and(|is| is.len() == begin + written as u64);
        // If another program wrote without the lock, the file is longer. Its bytes stay, so nothing is removed.
        if written > whole && is_ours() {
            let _ = self.file.set_len(begin + whole as u64);
        }
        whole
    }

    /// Closes the sink for the rest of the run, and makes the error with the reason.
    fn lose(&self, regular: &mut Regular, what: &str) -> ConnectorError {
        let lost = format!("{} {what} while it was written to", self.path.display());
        lost_file(regular.lost.insert(lost).clone())
    }
}

fn write_stream(file: &File, truncated: &mut bool, batch: &Batch) -> Result<(), Stopped> {
    if *truncated {
        write_all(file, b"\n").map_err(|(_, error)| Stopped::After(0, error))?;
        *truncated = false;
    }
    write_all(file, &batch.bytes).map_err(|(written, error)| {
        *truncated = written > batch.whole(written);
        Stopped::After(written, error)
    })
}

/// Writes all bytes; if that fails, returns how many bytes the system accepted before the error.
fn write_all(mut file: &File, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match file.write(rest) {
            Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}

fn shortened(length: u64, end: u64) -> String {
    format!("was cut off, to {length} bytes of {end},")
}

fn lost_file(lost: String) -> ConnectorError {
    ConnectorError::closed(lost).with_hint(
        "records that were written before may be missing; let no other program move, replace or shorten the file during \
         a run",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::ItemOutcome;

    const MODE: WriteOptions = WriteOptions { create: true, append: true, fsync: Fsync::Never };

    #[tokio::test]
    async fn a_write_that_stops_half_way_says_which_items_are_not_done() {
        let folder = tempfile::tempdir().unwrap();
        let file = AppendFile::open(&folder.path().join("out"), MODE).await.unwrap();
        let mut batch = Batch::default();
        for line in ["one", "", "two", "three"] {
            batch.add(|bytes| {
                bytes.extend_from_slice(line.as_bytes());
                if line.is_empty() { Err(ConnectorError::permanent("no line")) } else { Ok(()) }
            });
        }
        assert_eq!(batch.whole(6), 4);
        // The state after a disk that is full after six bytes: "one\n" and half of "two\n".
        let error = file.stopped(&mut batch, 6, io::ErrorKind::StorageFull.into());
        let fates: Vec<_> = (0..4).map(|index| error.outcome(index)).collect();
        assert_eq!(
            fates,
            [ItemOutcome::Done, ItemOutcome::NotDone, ItemOutcome::NotDone, ItemOutcome::NotDone]
        );
    }

    #[tokio::test]
    async fn what_a_write_left_half_done_is_cut_off_and_what_others_wrote_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        for (left, kept) in
            [("A-1,100\nA-2,1", "a\nA-1,100\n"), ("A-1,1", "a\n"), ("A-1,100\nA-2,1others", "")]
        {
            // The state after a disk that is full in the middle of a line.
            std::fs::write(&path, format!("a\n{left}")).unwrap();
            let file = AppendFile::open(&path, MODE).await.unwrap();
            let written = left.trim_end_matches("others").len();
            let whole = left.rfind('\n').map_or(0, |end| end + 1);
            assert_eq!(file.target.cut(2, written, whole), whole);
            let expected = if kept.is_empty() { format!("a\n{left}") } else { kept.to_owned() };
            assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn a_dispatch_without_lines_and_a_close_without_a_dispatch_write_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        std::fs::write(&path, "no line end").unwrap();
        let mut file = AppendFile::open(&path, MODE).await.unwrap();
        file.append(&mut Batch::default(), |_, _| Ok(Ending::Whole)).unwrap();
        file.finish().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "no line end");
        std::fs::remove_file(&path).unwrap();
        file.finish().unwrap();
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_writer_waits_for_the_end_of_anothers_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        // Another process in the middle of a write.
        let mut other = File::options().append(true).create(true).open(&path).unwrap();
        lock::lock_for_write(&other).unwrap();
        other.write_all(b"1,\"x").unwrap();
        let (mut file, begun) = (AppendFile::open(&path, MODE).await.unwrap(), std::sync::Barrier::new(2));
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                begun.wait();
                let mut batch = Batch::default();
                batch.add(|line| {
                    line.extend_from_slice(b"2,3");
                    Ok(())
                });
                file.append(&mut batch, |_, _| Ok(Ending::Whole)).unwrap();
            });
            begun.wait();
            other.write_all(b" y\"\n").unwrap();
            lock::unlock(&other).unwrap();
            writer.join().unwrap();
        });
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1,\"x y\"\n2,3\n");
    }
}
