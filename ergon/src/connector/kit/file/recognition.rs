//! Recognizes what a file is by its first bytes, so that a file of another format is an error before the first fetch.

use std::path::Path;

use super::path::display_path;
use crate::connector::ConnectorError;

/// The number of first bytes that are enough to recognize a file.
pub const RECOGNITION_BYTES: usize = 64 * 1024;

/// A format that is not text in UTF-8, or text that is neither CSV nor JSON Lines.
///
/// ```
/// use ergon::connector::kit::file::FileKind;
///
/// assert_eq!(FileKind::of(b"\x1f\x8b\x08"), Some(FileKind::Gzip));
/// assert_eq!(FileKind::of(b"sku,quantity\n"), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// Compressed with gzip.
    Gzip,
    /// Compressed with bzip2.
    Bzip2,
    /// Compressed with zstd.
    Zstd,
    /// Compressed with xz.
    Xz,
    /// A `.xlsx` or `.xlsm` workbook.
    Workbook,
    /// A `.xlsb` workbook.
    BinaryWorkbook,
    /// An `OpenDocument` spreadsheet or text.
    OpenDocument,
    /// A Word document or a presentation.
    OtherOffice,
    /// Any other zip archive.
    Zip,
    /// The container of `.xls` workbooks and of encrypted ones.
    Compound,
    /// Text in UTF-16.
    Utf16,
    /// Text in UTF-32.
    Utf32,
    /// A PDF.
    Pdf,
    /// A page in HTML.
    Html,
    /// XML.
    Xml,
    /// A Parquet file.
    Parquet,
    /// An `SQLite` database.
    Sqlite,
}

impl FileKind {
    /// Recognizes a format by the first bytes of a file; `None` for text in UTF-8, for no bytes, and for an unknown
    /// format. The kind of a zip archive needs [`RECOGNITION_BYTES`] bytes.
    pub fn of(start: &[u8]) -> Option<Self> {
        const SIGNATURES: [(&[u8], FileKind); 10] = [
            (b"\x1f\x8b", FileKind::Gzip),
            (b"\x28\xb5\x2f\xfd", FileKind::Zstd),
            (b"\xfd7zXZ\0", FileKind::Xz),
            (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", FileKind::Compound),
            (b"%PDF-", FileKind::Pdf),
            (b"SQLite format 3\0", FileKind::Sqlite),
            (b"\xff\xfe\0\0", FileKind::Utf32),
            (b"\0\0\xfe\xff", FileKind::Utf32),
            (b"\xff\xfe", FileKind::Utf16),
            (b"\xfe\xff", FileKind::Utf16),
        ];
        if start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") {
            return Some(zip(start));
        }
        // Text may begin with these letters, so the next bytes decide.
        if start.starts_with(b"BZh") && start.get(4..10) == Some(b"1AY&SY") {
            return Some(Self::Bzip2);
        }
        if start.starts_with(b"PAR1")
            && start.get(4).is_some_and(|next| *next > 0 && *next < b' ' && !next.is_ascii_whitespace())
        {
            return Some(Self::Parquet);
        }
        let known = SIGNATURES.iter().find(|(signature, _)| start.starts_with(signature));
        known
            .map(|(_, format)| *format)
            .or_else(|| is_utf16(start).then_some(Self::Utf16))
            .or_else(|| markup(start))
    }

    /// Describes the file, to follow its name in a message: `is compressed with gzip`.
    pub const fn what(self) -> &'static str {
        match self {
            Self::Gzip => "is compressed with gzip",
            Self::Bzip2 => "is compressed with bzip2",
            Self::Zstd => "is compressed with zstd",
            Self::Xz => "is compressed with xz",
            Self::Workbook => "is an .xlsx workbook",
            Self::BinaryWorkbook => "is a binary workbook (.xlsb)",
            Self::OpenDocument => "is an OpenDocument file (.ods, .odt)",
            Self::OtherOffice => "is an Office document, but no workbook",
            Self::Zip => "is a zip archive",
            Self::Compound => "is a workbook of the old .xls format, or an encrypted one",
            Self::Utf16 => "is text in UTF-16",
            Self::Utf32 => "is text in UTF-32",
            Self::Pdf => "is a PDF",
            Self::Html => "is a page in HTML",
            Self::Xml => "is XML",
            Self::Parquet => "is a Parquet file",
            Self::Sqlite => "is an SQLite database",
        }
    }

    /// The step that turns the file into text in UTF-8, for a connector that reads such text.
    const fn step(self) -> &'static str {
        match self {
            Self::Gzip => "unpack it first, such as with `gunzip`",
            Self::Bzip2 => "unpack it first, such as with `bunzip2`",
            Self::Zstd => "unpack it first, such as with `unzstd`",
            Self::Xz => "unpack it first, such as with `unxz`",
            Self::Workbook => "read it with an `ExcelConfig`, or save it in Excel as `CSV UTF-8`",
            Self::BinaryWorkbook | Self::OpenDocument | Self::Compound => {
                "save it as `CSV UTF-8`; or as `Excel Workbook (.xlsx)`, and read it with an `ExcelConfig`"
            }
            Self::Zip => "unpack it first, such as with `unzip`",
            Self::Utf16 => {
                "save it as UTF-8 (in Excel: `CSV UTF-8`), or convert it: `iconv -f UTF-16 -t UTF-8`"
            }
            Self::Utf32 => "save it as UTF-8, or convert it: `iconv -f UTF-32 -t UTF-8`",
            Self::Html => {
                "look at the page: it may be a login or an error that was saved in the place of the file"
            }
            Self::OtherOffice | Self::Pdf | Self::Xml | Self::Parquet | Self::Sqlite => {
                "export it as text in UTF-8, or name another file"
            }
        }
    }
}

/// Refuses a file whose first bytes are not text in UTF-8.
///
/// # Errors
/// The format of the file, the `expected` format (`CSV`), and the step that helps.
pub fn refuse_other_kind(path: &Path, start: &[u8], expected: &str) -> Result<(), ConnectorError> {
    let Some(format) = FileKind::of(start) else { return Ok(()) };
    let message = format!("{} {}, expected {expected} in UTF-8", display_path(path), format.what());
    Err(ConnectorError::permanent(message).with_hint(format.step()))
}

/// Removes the white space around the name of a column, no-break and zero-width spaces included.
///
/// ```
/// use ergon::connector::kit::file::trimmed_name;
///
/// assert_eq!(trimmed_name(" sku\u{a0}"), "sku");
/// ```
pub fn trimmed_name(cell: &str) -> &str {
    cell.trim_matches(|c: char| c.is_whitespace() || matches!(c, '\u{200b}' | '\u{2060}' | '\u{feff}'))
}

/// Finds the header below titles and comments, by the number of cells in each of the first rows: the index of the
/// first row that is as wide as most rows. `None` if that is the first row, or if most rows have less than
/// two cells.
pub fn header_below(widths: &[usize]) -> Option<usize> {
    let many = |width: usize| widths.iter().filter(|other| **other == width).count();
    let usual = widths.iter().copied().max_by_key(|width| (many(*width), *width))?;
    let first = widths.iter().position(|width| *width == usual)?;
    (usual > 1 && first > 0 && widths.iter().take(first).all(|width| *width < usual)).then_some(first)
}

/// Finds the kind of a zip archive by the names of its parts.
fn zip(start: &[u8]) -> FileKind {
    let has = |part: &[u8]| start.windows(part.len()).any(|window| window == part);
    if has(b"xl/workbook.bin") {
        FileKind::BinaryWorkbook
    } else if has(b"application/vnd.oasis.opendocument") {
        FileKind::OpenDocument
    } else if has(b"word/") || has(b"ppt/") {
        FileKind::OtherOffice
    } else if has(b"xl/") || has(b"[Content_Types].xml") {
        FileKind::Workbook
    } else {
        FileKind::Zip
    }
}

/// Returns whether the bytes are UTF-16 without a byte order mark: nearly every second byte is zero, and no other byte
/// is.
fn is_utf16(start: &[u8]) -> bool {
    let (pairs, _) = start.get(..256).unwrap_or(start).as_chunks::<2>();
    let zero = |place: usize| pairs.iter().filter(|pair| pair.get(place) == Some(&0)).count();
    let (first, second) = (zero(0), zero(1));
    pairs.len() > 1 && (first == 0 || second == 0) && (first + second) * 10 >= pairs.len() * 7
}

fn markup(start: &[u8]) -> Option<FileKind> {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let begins = |with: &[u8]| start.get(..with.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(with));
    let html: [&[u8]; 4] = [b"<!doctype html", b"<html", b"<head", b"<table"];
    if html.into_iter().any(begins) {
        return Some(FileKind::Html);
    }
    begins(b"<?xml").then_some(FileKind::Xml)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_formats_are_recognized_by_their_first_bytes() {
        let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        let turned = |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>();
        let cases: [(Vec<u8>, FileKind); 17] = [
            (b"\x1f\x8b\x08\0".to_vec(), FileKind::Gzip),
            (b"PK\x03\x04....[Content_Types].xml....xl/workbook.xml".to_vec(), FileKind::Workbook),
            (b"PK\x03\x04....[Content_Types].xml....xl/workbook.bin".to_vec(), FileKind::BinaryWorkbook),
            (b"PK\x03\x04....[Content_Types].xml....word/document.xml".to_vec(), FileKind::OtherOffice),
            (
                b"PK\x03\x04....mimetypeapplication/vnd.oasis.opendocument.spreadsheet".to_vec(),
                FileKind::OpenDocument,
            ),
            (b"PK\x03\x04....orders.csv".to_vec(), FileKind::Zip),
            (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0".to_vec(), FileKind::Compound),
            (b"\xff\xfei\0d\0".to_vec(), FileKind::Utf16),
            (utf16("id,qty\n1,2\n"), FileKind::Utf16),
            (turned("id,größe\n1,2\n"), FileKind::Utf16),
            (turned("\u{feff}id"), FileKind::Utf16),
            (b"\xff\xfe\0\0i\0\0\0".to_vec(), FileKind::Utf32),
            (b"BZh91AY&SY\0".to_vec(), FileKind::Bzip2),
            (b"%PDF-1.7".to_vec(), FileKind::Pdf),
            (b"PAR1\x15".to_vec(), FileKind::Parquet),
            (b"\xef\xbb\xbf\n <!DOCTYPE HTML><html>".to_vec(), FileKind::Html),
            (b"<?xml version=\"1.0\"?>".to_vec(), FileKind::Xml),
        ];
        for (start, format) in cases {
            assert_eq!(FileKind::of(&start), Some(format), "{:?}", String::from_utf8_lossy(&start));
            let error = refuse_other_kind(Path::new("/a"), &start, "CSV").unwrap_err();
            assert!(error.is_permanent() && error.hint().is_some(), "{error}");
        }
    }

    #[test]
    fn text_is_no_other_format() {
        for text in [
            "",
            "a",
            "id,qty\n",
            "\u{feff}id",
            "größe;1\n",
            "<a>,b\n",
            "PK,a\n",
            "BZhang,a\n",
            "PAR1,PAR2\n",
            "日本,2",
        ] {
            assert_eq!(FileKind::of(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn a_name_is_compared_without_what_cannot_be_seen_around_it() {
        for cell in ["order id", " order id\t", "\u{a0}order id\u{202f}\u{3000}", "\u{feff}order id\u{200b}"]
        {
            assert_eq!(trimmed_name(cell), "order id", "{cell:?}");
        }
    }

    #[test]
    fn a_header_below_a_title_is_found() {
        for (widths, found) in [
            (&[1, 3, 3, 3][..], Some(1)),
            (&[1, 1, 3, 3], Some(2)),
            (&[2, 3], Some(1)),
            (&[3, 3, 1], None),
            (&[3, 2, 2], None),
            (&[1, 1, 1], None),
            (&[1], None),
            (&[], None),
        ] {
            assert_eq!(header_below(widths), found, "{widths:?}");
        }
    }
}
