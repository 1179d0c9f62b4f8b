//! Finds an incomplete line that a killed process or a full disk left at the end of a file, so that the sink can remove
//! it before the first write.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use crate::connector::kit::file::{Ending, Tail};

/// The number of bytes in one read during the search for the last line end.
const PIECE: u64 = 64 << 10;

/// Finds out how a file of JSON lines ends. The last line is incomplete if it is the start of a JSON text. A number may
/// be complete, so it stays. Text that is not JSON stays, because another program wrote it.
///
/// # Errors
/// The error of reading the file.
pub(super) fn ending(mut file: &File, tail: Tail) -> io::Result<Ending> {
    if tail.ended {
        return Ok(Ending::Whole);
    }
    let begins = last_line(file)?;
    let length = file.seek(SeekFrom::End(0))?.saturating_sub(begins);
    let whole = json(file, begins, length)?;
    // The library does not report the end of the text for a number that ends too early, so the text before the number
    // is checked.
    let number = last_number(file, begins, length)?;
    let is_half = whole == Text::Half
        || (whole == Text::Other && number > 0 && json(file, begins, length - number)? == Text::Half);
    Ok(if is_half { Ending::Half(begins) } else { Ending::Unended })
}

/// The kind of a part of a file.
#[derive(PartialEq, Eq)]
enum Text {
    Whole,
    /// The start of a JSON text.
    Half,
    Other,
}

fn json(mut file: &File, from: u64, length: u64) -> io::Result<Text> {
    file.seek(SeekFrom::Start(from))?;
    let text = io::BufReader::new(file.take(length));
    match serde_json::from_reader::<_, serde::de::IgnoredAny>(text) {
        Ok(_) => Ok(Text::Whole),
        Err(error) if error.is_io() => Err(error.into()),
        Err(error) if error.is_eof() => Ok(Text::Half),
        Err(_) => Ok(Text::Other),
    }
}

/// Counts the bytes at the end that may be a part of a number.
fn last_number(mut file: &File, from: u64, length: u64) -> io::Result<u64> {
    const LONGEST: u64 = 1024;
    let looked_at = length.min(LONGEST);
    file.seek(SeekFrom::Start(from + length - looked_at))?;
    let mut end = Vec::new();
    file.take(looked_at).read_to_end(&mut end)?;
    let number =
        end.iter().rev().take_while(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    Ok(number.count() as u64)
}

/// Finds the start of the last line of a file.
fn last_line(mut file: &File) -> io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut piece = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(PIECE);
        file.seek(SeekFrom::Start(start))?;
        piece.clear();
        Read::by_ref(&mut file).take(end - start).read_to_end(&mut piece)?;
        if let Some(at) = piece.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn ended(content: impl AsRef<[u8]>) -> Ending {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content.as_ref()).unwrap();
        let ended = content.as_ref().ends_with(b"\n");
        ending(&file, Tail { from: 0, ended }).unwrap()
    }

    #[test]
    fn only_the_beginning_of_a_json_text_is_half_a_line() {
        let halves = ["{", "{\"n\":1", "[1,", "\"a", "\"a\\", "\"\\u00", "tru", "-", "1e", "{\"n\":\"ü"];
        for half in halves.into_iter().chain(["{\"n\":-", "{\"n\":1.", "[1,1.5e+"]) {
            assert_eq!(ended(format!("1\n{half}")), Ending::Half(2), "{half}");
            assert_eq!(ended(half), Ending::Half(0), "{half}");
        }
        for whole in ["{}", "12", "true", "]", "a text", "a number 1", "{\"n\":1}}", "{\"n\":1}-"] {
            assert_eq!(ended(format!("1\n{whole}")), Ending::Unended, "{whole}");
        }
        assert_eq!(ended(b"1\n{\"n\":\"\xc3"), Ending::Half(2), "a character that is cut in two");
    }

    #[test]
    fn the_last_line_is_found_however_long_it_is() {
        for length in [PIECE - 1, PIECE, PIECE + 1, 3 * PIECE] {
            let half = format!("\"{}", "x".repeat(usize::try_from(length).unwrap() - 1));
            assert_eq!(ended(format!("1\n\n{half}")), Ending::Half(3), "{length}");
        }
    }
}
