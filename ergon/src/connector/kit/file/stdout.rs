//! Opens standard output as the file of a sink, past the library's buffer, so that an error belongs to the write that
//! caused it.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use crate::connector::ConnectorError;

/// Opens standard output for writing without a buffer, so that a write returns its own outcome.
///
/// # Errors
/// Standard output is closed, or open for reading only.
pub(super) fn open() -> Result<File, ConnectorError> {
    let failed =
        |error: io::Error| ConnectorError::permanent("cannot open standard output").with_source(error);
    // The bytes in the library's buffer were printed before the records, so they are written first.
    io::stdout().flush().map_err(failed)?;
    let file = duplicate().map_err(failed)?;
    if is_closed(&file) { Err(closed()) } else { Ok(file) }
}

/// Refuses a path that names standard output, such as `/dev/stdout`, if standard output is closed.
pub(super) fn refuse_closed(path: &Path, file: &File) -> Result<(), ConnectorError> {
    let names = ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];
    let is_stdout = names.iter().any(|name| path == Path::new(name));
    if is_stdout && duplicate().is_ok_and(|stdout| is_closed(&stdout)) && is_null(file) {
        Err(closed())
    } else {
        Ok(())
    }
}

fn closed() -> ConnectorError {
    ConnectorError::permanent("standard output is not open for writing").with_hint(
        "send it to a file or a program; to throw the records away, set `path = \"/dev/null\"`, or redirect the output \
         with `> /dev/null`",
    )
}

/// Returns whether standard output is closed. A process that starts without a standard output gets `/dev/null` from the
/// Rust runtime, for reading and writing. A shell opens `> /dev/null` for writing only.
#[cfg(unix)]
fn is_closed(file: &File) -> bool {
    use rustix::fs::OFlags;

    let Ok(flags) = rustix::fs::fcntl_getfl(file) else { return true };
    let mode = flags & OFlags::RWMODE;
    mode == OFlags::RDONLY || (mode == OFlags::RDWR && is_null(file))
}

#[cfg(unix)]
fn is_null(file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;

    let device = |metadata: std::fs::Metadata| metadata.rdev();
    match (file.metadata().map(device), std::fs::metadata("/dev/null").map(device)) {
        (Ok(here), Ok(null)) => here == null && here != 0,
        _ => false,
    }
}

#[cfg(unix)]
fn duplicate() -> io::Result<File> {
    use std::os::fd::AsFd;

    io::stdout().as_fd().try_clone_to_owned().map(File::from)
}

#[cfg(windows)]
fn duplicate() -> io::Result<File> {
    use std::os::windows::io::AsHandle;

    io::stdout().as_handle().try_clone_to_owned().map(File::from)
}

#[cfg(not(unix))]
fn is_closed(_: &File) -> bool {
    false
}

#[cfg(not(unix))]
fn is_null(_: &File) -> bool {
    false
}
