//! Finds an incomplete record that a crash left at the end of a file, so that the sink can remove it before the first
//! write.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use csv::{ByteRecord, Reader, ReaderBuilder};

use crate::connector::kit::file::{Ending, Tail};

/// Finds out how the last record of the file ends. The record is incomplete if the file ends within its quotes, or if
/// it has fewer cells than the first record. Any other record counts as complete.
///
/// # Errors
/// The end of the file is ambiguous. An incomplete record of more than `max` bytes most likely has an open quote, and
/// the records after that quote are good. A record that continues after the last line end may also be good records
/// after an open quote, and a written line would become a part of it.
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

/// Returns whether the number of quotes from here on is even, so that no record is left open.
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

/// Counts the line ends before the record.
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

/// Returns whether the file ends within quotes. If it does, another line would belong to the same record. A quote in a
/// cell that does not begin with a quote is an ordinary character, so only the library can decide.
fn is_open(file: &mut File, from: u64, delimiter: u8) -> io::Result<bool> {
    file.seek(SeekFrom::Start(from))?;
    let continued = BufReader::new(file).chain(b"\n.".as_slice());
    Ok(reader(delimiter, continued).byte_records().count() == 1)
}

fn reader<R: Read>(delimiter: u8, from: R) -> Reader<R> {
    ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(from)
}
