//! Repairs the end of a file whose last record is incomplete, because a process died or the disk was full. Otherwise
//! the next record would become a part of that record.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::path::display_path;

/// The facts about the end of a file that are known before its format is asked.
///
/// The [module](super) of the file frame says when a format is asked.
#[derive(Debug, Clone, Copy)]
pub struct Tail {
    /// The file has whole records up to this length.
    pub from: u64,
    /// Whether the last byte is a line end.
    pub ended: bool,
}

/// The end of a file of records.
///
/// ```
/// use ergon::connector::kit::file::{Ending, Tail};
///
/// /// The answer of a format whose records are whole lines of any text.
/// fn ending(tail: Tail) -> Ending {
///     if tail.ended { Ending::Whole } else { Ending::Unended }
/// }
///
/// assert_eq!(ending(Tail { from: 0, ended: false }), Ending::Unended);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// A whole record with its line end.
    Whole,
    /// A record that is whole, as far as the format can know, and has no line end.
    Unended,
    /// An incomplete record, which begins here.
    Half(u64),
}

/// Adds a line end to the last line of a file of this length, or removes the line if it is incomplete; returns the new
/// length.
///
/// The function keeps the removed bytes in a second file, whose name ends in `.torn`. `file` is open for reading and
/// appending, and has whole records up to `from`.
pub(super) fn mended(
    mut file: &File,
    path: &Path,
    (from, length): (u64, u64),
    ending: impl FnOnce(&File, Tail) -> io::Result<Ending>,
) -> io::Result<u64> {
    if length == 0 {
        return Ok(length);
    }
    let ended = last_byte(file)? == b'\n';
    match ending(file, Tail { from, ended })? {
        Ending::Whole => Ok(length),
        Ending::Unended => {
            tracing::warn!(
                file = display_path(path),
                "the last record has no line end and got one; if a process died there, look whether it is whole"
            );
            file.write_all(b"\n")?;
            Ok(length + 1)
        }
        Ending::Half(begins) => {
            let bytes = length.saturating_sub(begins);
            file.seek(SeekFrom::Start(begins))?;
            let kept = keep_aside(path, file)?;
            tracing::warn!(
                file = display_path(path),
                bytes,
                kept,
                "the last record was only half written; it is cut off, and its bytes are kept"
            );
            file.set_len(begins)?;
            Ok(begins)
        }
    }
}

fn last_byte(mut file: &File) -> io::Result<u8> {
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last[0])
}

/// Adds the rest of the file, and a line end, to the file that has `.torn` after its name; returns that name.
fn keep_aside(path: &Path, mut rest: &File) -> io::Result<String> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".torn");
    let mut out = OpenOptions::new().append(true).create(true).open(&aside)?;
    io::copy(&mut rest, &mut out)?;
    out.write_all(b"\n")?;
    out.sync_data()?;
    Ok(display_path(Path::new(&aside)))
}
