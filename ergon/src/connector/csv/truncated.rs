//! The end of a file that does not end with a line: of a crash, or of a program that leaves out the last line end.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use csv::{ByteRecord, Reader, ReaderBuilder};

use crate::connector::kit::file::{Ending, Tail};

/// How the file's last record ends. It is half a one if the file ends within its quotes, or if it has fewer cells than
/// the first record. Of any other nobody can say that it is not whole.
///
/// # Errors
/// Half a record of more than `max` bytes: that is a quote which was never closed, and what follows are good records.
/// The same of a record that goes on behind the last line end: nobody can tell half a record from good ones that follow
/// an open quote, and what would be written would belong to it.
pub(super) fn ending(file: &File, tail: Tail, delimiter: u8, max: u64) -> io::Result<Ending> {
    if tail.ended && has_pairs_of_quotes(file, tail.from)? {
        return Ok(Ending::Whole);
    }
    let mut file = file.try_clone()?;
    file.rewind()?;
    let length = file.metadata()?.len();
    let (mut record, mut columns, mut cells, mut begins) = (ByteRecord::new(), None, 0, 0);
    let mut records = reader(delimiter, BufReader::new(file.try_clone()?));
    loop {
        let before = records.position().byte();
        if !records.read_byte_record(&mut record)? {
            break;
        }
        (cells, begins) = (record.len(), before);
        columns.get_or_insert(cells);
    }
    let begins = begins + line_ends(&mut file, begins)?;
    if tail.ended && !is_open(&mut file, begins, delimiter)? {
        return Ok(Ending::Whole);
    }
    if columns.is_none_or(|columns| cells >= columns) && !is_open(&mut file, begins, delimiter)? {
        return Ok(Ending::Unended);
    }
    let half = length.saturating_sub(begins);
    if half > max || tail.ended {
        let what = format!("a double quote is never closed, {half} bytes before the end of the file");
        return Err(io::Error::other(what));
    }
    Ok(Ending::Half(begins))
}

/// Says whether every quote from here on has a second one: then no record is left open.
fn has_pairs_of_quotes(mut file: &File, from: u64) -> io::Result<bool> {
    file.seek(SeekFrom::Start(from))?;
    let mut reader = BufReader::with_capacity(64 << 10, file);
    let mut odd = false;
    loop {
        let piece = reader.fill_buf()?;
        if piece.is_empty() {
            return Ok(!odd);
        }
        odd = piece.iter().fold(odd, |odd, byte| odd ^ (*byte == b'"'));
        let length = piece.len();
        reader.consume(length);
    }
}

/// How many line ends are passed over before the record.
fn line_ends(file: &mut File, from: u64) -> io::Result<u64> {
    file.seek(SeekFrom::Start(from))?;
    let mut passed = 0;
    for byte in BufReader::new(file).bytes() {
        if !matches!(byte?, b'\r' | b'\n') {
            break;
        }
        passed += 1;
    }
    Ok(passed)
}

/// Whether the file ends within quotes: then one more line belongs to the same record. A quote in a cell that does not
/// begin with one is an ordinary letter, so only the library can tell.
fn is_open(file: &mut File, from: u64, delimiter: u8) -> io::Result<bool> {
    file.seek(SeekFrom::Start(from))?;
    let continued = BufReader::new(file).chain(b"\n.".as_slice());
    Ok(reader(delimiter, continued).byte_records().count() == 1)
}

fn reader<R: Read>(delimiter: u8, from: R) -> Reader<R> {
    ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(from)
}
