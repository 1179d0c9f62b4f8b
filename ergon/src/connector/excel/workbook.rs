//! Opening a workbook that may be anything: what it claims is checked before it is believed.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use calamine::{Reader, SheetType, Xlsx};
use zip::ZipArchive;

use super::{ExcelConfig, error};
use crate::connector::ConnectorError;
use crate::connector::file::{ByteSize, cannot, open};

/// How the old `.xls` and encrypted workbooks begin.
const COMPOUND_FILE: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";
/// A part may be larger than this only if it was packed like real content.
const BOMB_SIZE: u64 = 16 << 20;
const BOMB_RATIO: u64 = 250;

pub(super) type Workbook = Xlsx<BufReader<File>>;

/// Opens a workbook after a look at what it claims to be.
pub(super) fn open_workbook(config: &ExcelConfig) -> Result<Workbook, ConnectorError> {
    let path = &config.path;
    let mut file = open(path)?;
    let unreadable = |cause| cannot("read", path, cause);
    let mut start = Vec::new();
    file.by_ref().take(8).read_to_end(&mut start).map_err(unreadable)?;
    file.rewind().map_err(unreadable)?;
    match start.as_slice() {
        [] => return Err(error::empty_file(path)),
        COMPOUND_FILE => return Err(compound_file(path, file)),
        [b'P', b'K', ..] => check_parts(path, &file, config.max_bytes)?,
        _ => return Err(error::no_workbook(path)),
    }
    Xlsx::new(BufReader::new(file)).map_err(|cause| error::unreadable(path, cause))
}

/// An encrypted workbook and one of the old format begin alike.
fn compound_file(path: &Path, file: File) -> ConnectorError {
    match Xlsx::new(BufReader::new(file)) {
        Err(cause @ calamine::XlsxError::Password) => error::unreadable(path, cause),
        _ => error::old_workbook(path),
    }
}

/// Checks the sizes that the workbook declares for its parts; the library stops at a part that grows beyond its own.
fn check_parts(path: &Path, file: &File, max: ByteSize) -> Result<(), ConnectorError> {
    let mut parts = ZipArchive::new(BufReader::new(file)).map_err(|cause| error::damaged(path, cause))?;
    let mut unpacked = 0;
    for index in 0..parts.len() {
        let part = parts.by_index_raw(index).map_err(|cause| error::damaged(path, cause))?;
        let name = part.name().map_err(|cause| error::damaged(path, cause))?.into_owned();
        unpacked += u128::from(part.size());
        if unpacked > u128::from(max.bytes()) {
            return Err(error::too_large(path, unpacked, max));
        }
        if part.size() > BOMB_SIZE && part.size() / BOMB_RATIO > part.compressed_size() {
            return Err(error::bomb(path, &name));
        }
        if name.to_ascii_lowercase().ends_with("sharedstrings.xml") {
            let size = part.size();
            drop(part);
            let part = parts.by_index(index).map_err(|cause| error::damaged(path, cause))?;
            check_count(path, part, size)?;
        }
    }
    Ok(())
}

/// Checks how many texts the table of shared texts announces: the library makes room for them at once.
fn check_count(path: &Path, part: impl Read, size: u64) -> Result<(), ConnectorError> {
    let mut start = Vec::new();
    part.take(64 * 1024).read_to_end(&mut start).map_err(|cause| error::damaged(path, cause))?;
    let start = String::from_utf8_lossy(&start);
    let Some((_, count)) = start.split_once("uniqueCount") else { return Ok(()) };
    let digits: String =
        count.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    let count = digits.parse().unwrap_or(u64::MAX);
    // The shortest entry is `<si/>`.
    if count > size / 5 && !digits.is_empty() { Err(error::false_count(path, count)) } else { Ok(()) }
}

/// The sheet to read: the one that is named, or the first.
pub(super) fn sheet(workbook: &Workbook, config: &ExcelConfig) -> Result<String, ConnectorError> {
    let there = workbook.sheet_names();
    match &config.sheet {
        Some(name) if there.contains(name) => Ok(name.clone()),
        Some(name) => Err(error::no_sheet(&config.path, name, &there)),
        None => {
            let sheets = workbook.sheets_metadata();
            let first = sheets.iter().find(|sheet| sheet.typ == SheetType::WorkSheet);
            let name = first.map(|sheet| sheet.name.clone());
            name.ok_or_else(|| error::no_workbook(&config.path))
        }
    }
}
