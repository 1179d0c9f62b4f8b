//! Opens a workbook from an untrusted file, and checks its claims before it uses them.

use std::io::{BufReader, Read, Seek};
use std::path::Path;

use calamine::{Reader, SheetType, SheetVisible, Xlsx};
use zip::ZipArchive;

use super::parts::{Archive, Shared};
use super::{ExcelConfig, error};
use crate::connector::ConnectorError;
use crate::connector::kit::file::{FileKind, RECOGNITION_BYTES, file_error, open_file};
use crate::settings::ByteSize;

/// The size above which a part must be packed like real content.
const BOMB_SIZE: u64 = 16 << 20;
const BOMB_RATIO: u64 = 250;

/// An open workbook: as the library reads it, and its parts.
pub(super) struct Workbook {
    pub(super) xlsx: Xlsx<BufReader<Shared>>,
    pub(super) parts: Archive,
}

/// Opens a workbook after checking its format and its declared sizes.
pub(super) fn open_workbook(config: &ExcelConfig) -> Result<Workbook, ConnectorError> {
    let path = &config.path;
    let mut file = open_file(path)?;
    let unreadable = |cause| file_error("read", path, cause);
    let mut start = Vec::new();
    file.by_ref().take(RECOGNITION_BYTES as u64).read_to_end(&mut start).map_err(unreadable)?;
    file.rewind().map_err(unreadable)?;
    let file = Shared::new(file);
    if start.is_empty() {
        return Err(error::empty_file(path));
    }
    let format = FileKind::of(&start);
    if format == Some(FileKind::Compound) {
        return Err(compound_file(path, file));
    }
    if !start.starts_with(b"PK") {
        return Err(error::no_workbook(path, format));
    }
    let mut parts =
        ZipArchive::new(BufReader::new(file.clone())).map_err(|cause| error::damaged(path, cause))?;
    check_kind(path, &parts)?;
    check_parts(path, &mut parts, config.max_bytes)?;
    let xlsx = Xlsx::new(BufReader::new(file)).map_err(|cause| error::unreadable(path, cause))?;
    Ok(Workbook { xlsx, parts })
}

/// Makes the error of a compound file. An encrypted workbook and a workbook of the old format begin with the same
/// bytes.
fn compound_file(path: &Path, file: Shared) -> ConnectorError {
    match Xlsx::new(BufReader::new(file)) {
        Err(cause @ calamine::XlsxError::Password) => error::unreadable(path, cause),
        _ => error::old_workbook(path),
    }
}

/// Refuses zip archives that are not a workbook of this format: documents of other programs, and plain archives.
fn check_kind(path: &Path, parts: &Archive) -> Result<(), ConnectorError> {
    let names: Vec<String> = parts.file_names().flatten().map(|name| name.to_ascii_lowercase()).collect();
    let has = |start: &str| names.iter().any(|name| name.replace('\\', "/").starts_with(start));
    let format = if has("xl/workbook.bin") {
        FileKind::BinaryWorkbook
    } else if has("word/") || has("ppt/") || has("visio/") {
        FileKind::OtherOffice
    } else if has("content.xml") && (has("mimetype") || has("meta-inf/")) {
        FileKind::OpenDocument
    } else if has("xl/") || has("_rels/") {
        return Ok(());
    } else {
        FileKind::Zip
    };
    Err(error::no_workbook(path, Some(format)))
}

/// Checks the sizes that the workbook declares for its parts; the library stops at a part that grows beyond its own.
fn check_parts(path: &Path, parts: &mut Archive, max: ByteSize) -> Result<(), ConnectorError> {
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

/// Checks the declared number of shared texts, because the library allocates memory for all of them immediately.
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

/// Returns the sheet to read, and its position among the sheets: the named sheet, or the first that is not hidden.
pub(super) fn sheet(workbook: &Workbook, config: &ExcelConfig) -> Result<(usize, String), ConnectorError> {
    let mut sheets = workbook.xlsx.sheets_metadata().iter().enumerate();
    let found = match &config.sheet {
        Some(name) => sheets.find(|(_, sheet)| sheet.name == *name),
        None => sheets
            .find(|(_, sheet)| sheet.typ == SheetType::WorkSheet && sheet.visible == SheetVisible::Visible),
    };
    if let Some((place, sheet)) = found {
        return Ok((place, sheet.name.clone()));
    }
    let there = workbook.xlsx.sheet_names();
    Err(match &config.sheet {
        Some(name) => error::no_sheet(&config.path, name, &there),
        None => error::no_visible_sheet(&config.path, &there),
    })
}
