//! Opens a named pipe as the file of a sink, as soon as a program reads from the pipe. The open call of the system
//! could wait without end, so this module polls instead, within a time limit.

use std::fs::File;
use std::path::Path;

#[cfg(unix)]
use super::path::is_pipe;
use crate::connector::ConnectorError;

/// Opens a named pipe for writing, as soon as a program reads from it; `None` if the path leads to anything else.
///
/// # Errors
/// No program reads from the pipe within a time that is shorter than the time limit of `open`.
#[cfg(unix)]
pub(super) async fn reach(path: &Path) -> Result<Option<File>, ConnectorError> {
    use std::time::Duration;

    use super::path::{display_path, file_error};

    const WITHIN: Duration = Duration::from_secs(25);
    const LOOK_EVERY: Duration = Duration::from_millis(50);

    if !is_pipe(path) {
        return Ok(None);
    }
    let opened = async {
        loop {
            if let Some(file) = try_open(path)? {
                return Ok(file);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    match tokio::time::timeout(WITHIN, opened).await {
        Ok(opened) => opened.map(Some).map_err(|error| file_error("open for writing", path, error)),
        Err(_) => {
            let message = format!("nobody reads from the pipe {}", display_path(path));
            Err(ConnectorError::permanent(message)
                .with_hint(format!("start what reads from it; waited {} seconds", WITHIN.as_secs())))
        }
    }
}

/// Opens the pipe if a program reads from it.
#[cfg(unix)]
fn try_open(path: &Path) -> std::io::Result<Option<File>> {
    use std::os::unix::fs::OpenOptionsExt;

    use rustix::fs::OFlags;
    use rustix::io::Errno;

    let at_once = OFlags::NONBLOCK.bits().cast_signed();
    let probe = match File::options().write(true).custom_flags(at_once).open(path) {
        Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => return Ok(None),
        opened => opened?,
    };
    // The pipe must be opened for blocking writes, but the open itself must not block. It does not block while this
    // process has a reading end open.
    let _reader = File::options().read(true).custom_flags(at_once).open(path)?;
    let file = File::options().write(true).open(path)?;
    drop(probe);
    Ok(Some(file))
}

#[cfg(not(unix))]
pub(super) async fn reach(_: &Path) -> Result<Option<File>, ConnectorError> {
    Ok(None)
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::super::path::check_writable;
    use super::*;

    fn pipe(folder: &Path) -> std::path::PathBuf {
        let path = folder.join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    }

    #[tokio::test(start_paused = true)]
    async fn a_pipe_that_nobody_reads_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let path = pipe(folder.path());
        check_writable(&path, true).unwrap();
        let error = reach(&path).await.unwrap_err();
        assert!(error.is_permanent() && error.hint().is_some(), "{error:?}");
        assert_eq!(error.message(), format!("nobody reads from the pipe {}", path.display()));
    }

    #[tokio::test]
    async fn a_pipe_opens_when_somebody_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = pipe(folder.path());
        let from = path.clone();
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            File::open(from).unwrap().read_to_string(&mut text).unwrap();
            text
        });
        let mut file = reach(&path).await.unwrap().unwrap();
        // More than a pipe holds: the write waits for the reader.
        let text = "x".repeat(300_000);
        file.write_all(text.as_bytes()).unwrap();
        drop(file);
        assert_eq!(reader.join().unwrap(), text);
        assert!(reach(folder.path()).await.unwrap().is_none());
    }
}
