//! Writes log files on a separate thread, so that a slow disk delays no transaction.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rolling_file::{BasicRollingFileAppender, RollingConditionBasic, RollingFrequency};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

use crate::settings::plan::{RollingFile, Rotation};

/// The maximum number of lines that wait for the disk. Further lines are dropped.
const WAITING: usize = 65_536;

/// An open log file. Waiting lines are written when it is dropped.
#[derive(Debug)]
pub(crate) struct LogFile {
    _writer: WorkerGuard,
}

/// Queues a line for writing.
pub(crate) type Write = Box<dyn Fn(&str) + Send + Sync>;

impl LogFile {
    /// Opens a file to append to it.
    ///
    /// # Errors
    /// The system's error.
    pub(crate) fn append(path: &Path) -> io::Result<(Self, Write)> {
        make_folder(path)?;
        Ok(Self::writing(OpenOptions::new().create(true).append(true).open(path)?))
    }

    /// Opens a file that is rotated when it is old or long. Each of several workers has its own file, because two
    /// processes cannot rotate the same file.
    ///
    /// # Errors
    /// The system's error.
    pub(crate) fn rolling(file: &RollingFile, worker: Option<usize>) -> io::Result<(Self, Write)> {
        let path = of_worker(&file.path, worker);
        make_folder(&path)?;
        let condition = RollingConditionBasic::new();
        let condition = match (file.rotation, file.max_bytes) {
            (Some(Rotation::Minutely), _) => condition.frequency(RollingFrequency::EveryMinute),
            (Some(Rotation::Hourly), _) => condition.hourly(),
            (Some(Rotation::Daily), _) | (None, None) => condition.daily(),
            (None, Some(_)) => condition,
        };
        let condition = match file.max_bytes {
            Some(most) => condition.max_size(most.bytes()),
            None => condition,
        };
        Ok(Self::writing(BasicRollingFileAppender::new(&path, condition, file.keep)?))
    }

    fn writing(file: impl io::Write + Send + 'static) -> (Self, Write) {
        let (lines, writer) =
            NonBlockingBuilder::default().buffered_lines_limit(WAITING).lossy(true).finish(file);
        (Self { _writer: writer }, Box::new(move |line: &str| write(&lines, line)))
    }
}

fn write(lines: &NonBlocking, line: &str) {
    // This only passes the line to the thread.
    let _ = lines.clone().write_all(line.as_bytes());
}

/// The path for a worker: `app.0.jsonl` of `app.jsonl` for worker 0.
fn of_worker(path: &Path, worker: Option<usize>) -> PathBuf {
    let Some(worker) = worker else { return path.to_path_buf() };
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!(".{worker}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

fn make_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => fs::create_dir_all(folder),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::LogFormat;
    use crate::settings::{ByteSize, FilePath};

    #[test]
    fn a_file_that_is_long_is_put_aside_and_no_line_is_torn() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/app.log");
        let rolling = RollingFile {
            path: FilePath::from(path.to_str().unwrap()),
            rotation: None,
            keep: 3,
            max_bytes: Some(ByteSize::new(100)),
            format: LogFormat::Json,
        };
        let (file, write) = LogFile::rolling(&rolling, None).unwrap();
        for number in 0..40 {
            write(&format!("a line of the log, number {number:02}\n"));
        }
        drop(file);
        let mut names: Vec<_> =
            fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        assert_eq!(names.len(), 4, "the file and the three rotated files: {names:?}");
        let newest = fs::read_to_string(&path).unwrap();
        assert!(newest.ends_with("number 39\n"), "{newest}");
        for name in names {
            let text = fs::read_to_string(&name).unwrap();
            assert!(text.len() <= 128 && text.lines().all(|line| line.len() == 28), "{name:?}: {text}");
        }
    }

    #[test]
    fn each_worker_has_a_rolling_file_of_its_own() {
        let named = |path: &str, worker| of_worker(Path::new(path), worker).display().to_string();
        assert_eq!(named("logs/app.jsonl", None), "logs/app.jsonl");
        assert_eq!(named("logs/app.jsonl", Some(2)), "logs/app.2.jsonl");
        assert_eq!(named("app", Some(0)), "app.0");
    }

    #[test]
    fn a_file_is_written_after_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.log");
        for line in ["first\n", "second\n"] {
            let (file, write) = LogFile::append(&path).unwrap();
            write(line);
            drop(file);
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "first\nsecond\n");
    }
}
