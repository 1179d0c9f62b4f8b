//! Makes the errors of a workbook, in the words of Excel's own user interface.

use std::path::Path;

use calamine::XlsxError;

use crate::connector::ConnectorError;
use crate::connector::kit::file::{FileKind, display_path};
use crate::settings::ByteSize;
use crate::settings::suggest::similar;

pub(super) fn no_header_row() -> ConnectorError {
    ConnectorError::permanent("`header_row = 0`, but the first row of a sheet is 1")
        .with_hint("set `header_row = 1`")
}

pub(super) fn followed() -> ConnectorError {
    let message = "a workbook cannot be followed: rows are not added to it, it is written as a whole";
    ConnectorError::permanent(message)
        .with_hint("leave `streaming` out, and run the task again for the next workbook")
}

pub(super) fn bad_filter() -> ConnectorError {
    ConnectorError::permanent("the filter's `equals` is no text, number or flag")
}

fn permanent(path: &Path, what: &str, hint: &str) -> ConnectorError {
    ConnectorError::permanent(format!("{} {what}", display_path(path))).with_hint(hint)
}

pub(super) fn empty_file(path: &Path) -> ConnectorError {
    permanent(path, "has no content (0 bytes), expected a workbook", "save or copy the workbook again")
}

pub(super) fn old_workbook(path: &Path) -> ConnectorError {
    let hint =
        "open it in Excel and save it as `Excel Workbook (.xlsx)`; another name for the file does not do";
    permanent(path, "is a workbook of the old .xls format, expected .xlsx", hint)
}

/// Makes the error of a file in another format. A file of unknown format is most likely text.
pub(super) fn no_workbook(path: &Path, format: Option<FileKind>) -> ConnectorError {
    let what = match format {
        Some(format) => format!("{}, expected an .xlsx workbook", format.what()),
        None => "is no .xlsx workbook".to_owned(),
    };
    let hint = match format {
        Some(FileKind::BinaryWorkbook | FileKind::OpenDocument) => {
            "open it in Excel or LibreOffice and save it as `Excel Workbook (.xlsx)`; another name for the file does not do"
        }
        Some(FileKind::Gzip) => "unpack it first, such as with `gunzip`",
        Some(FileKind::Bzip2) => "unpack it first, such as with `bunzip2`",
        Some(FileKind::Zstd) => "unpack it first, such as with `unzstd`",
        Some(FileKind::Xz) => "unpack it first, such as with `unxz`",
        Some(FileKind::Zip) => "unpack it first, such as with `unzip`",
        Some(FileKind::Html) => {
            "open it in Excel and save it as `Excel Workbook (.xlsx)`; or look at the page, which may be a login or an \
             error that was saved in the place of the workbook"
        }
        Some(FileKind::Xml) => "open it in Excel and save it as `Excel Workbook (.xlsx)`",
        None | Some(FileKind::Utf16 | FileKind::Utf32) => {
            "read a file of separated values with a `CsvConfig`; else name a file that was saved as `Excel Workbook (.xlsx)`"
        }
        _ => "name a file that was saved as `Excel Workbook (.xlsx)`",
    };
    permanent(path, &what, hint)
}

pub(super) fn no_visible_sheet(path: &Path, there: &[String]) -> ConnectorError {
    let names = there.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let what = format!("has no sheet of cells that is not hidden; there is {names}");
    permanent(path, &what, "name one of them with `sheet`")
}

pub(super) fn too_large(path: &Path, unpacked: u128, limit: ByteSize) -> ConnectorError {
    let what = format!("is {unpacked} bytes large when unpacked, more than max_bytes = {limit}");
    permanent(path, &what, "raise `max_bytes` if the workbook can be trusted")
}

pub(super) fn bomb(path: &Path, part: &str) -> ConnectorError {
    let what = format!("unpacks like a bomb: its part `{part}` grows more than 250-fold");
    permanent(path, &what, "open it in Excel and save it again, if it can be trusted")
}

pub(super) fn false_count(path: &Path, count: u64) -> ConnectorError {
    let what = format!("is damaged: it announces {count} texts, more than there is room for");
    permanent(path, &what, "open it in Excel and save it again")
}

pub(super) fn damaged(
    path: &Path,
    cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> ConnectorError {
    permanent(path, "is cut off or damaged", "save or copy the workbook again").with_source(cause)
}

/// Translates an error of the library while it opens a workbook or a sheet.
pub(super) fn unreadable(path: &Path, error: XlsxError) -> ConnectorError {
    match error {
        XlsxError::Password => {
            permanent(path, "is encrypted with a password", "save it in Excel without a password")
        }
        XlsxError::NotAWorksheet(kind) => {
            let what = format!("has a sheet without cells there (a {kind})");
            permanent(path, &what, "name another sheet with `sheet`")
        }
        other => damaged(path, other),
    }
}

/// Translates an error of the library in the middle of a sheet.
pub(super) fn stopped(path: &Path, sheet: &str, after_row: u32, error: XlsxError) -> ConnectorError {
    let what = format!("cannot be read on from row {after_row} of sheet `{sheet}`");
    permanent(path, &what, "open it in Excel and save it again").with_source(error)
}

pub(super) fn no_sheet(path: &Path, wanted: &str, there: &[String]) -> ConnectorError {
    let names = there.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let what = format!("has no sheet `{wanted}`; there is {names}");
    match similar(wanted, there.iter().map(String::as_str)) {
        Some(near) => permanent(path, &what, &format!("did you mean `{near}`?")),
        None => permanent(path, &what, "name one of them, or leave `sheet` out for the first"),
    }
}

pub(super) fn no_header(path: &Path, sheet: &str, row: u32, first: Option<u32>) -> ConnectorError {
    let Some(first) = first else {
        let what = format!("has nothing in sheet `{sheet}` from row {row} on, expected a header there");
        return permanent(path, &what, "name another sheet with `sheet`, or another row with `header_row`");
    };
    let what = format!("has no header in row {row} of sheet `{sheet}`: the row is blank");
    permanent(path, &what, &format!("the first row with content is {first}: set `header_row = {first}`"))
}

pub(super) fn blank_header(path: &Path, sheet: &str, cell: &str) -> ConnectorError {
    let what = format!("has a column without a name: cell {cell} of sheet `{sheet}` is blank");
    permanent(path, &what, "name the column, or delete it; set `header_row` if another row names the columns")
}

pub(super) fn header_is_error(path: &Path, sheet: &str, cell: &str, shows: &str) -> ConnectorError {
    let what = format!("has a column without a name: cell {cell} of sheet `{sheet}` holds {shows}");
    permanent(path, &what, "name the column")
}

/// Makes the error of two columns with the same name. `cells` has the text and the name of each cell.
pub(super) fn same_header(path: &Path, sheet: &str, name: &str, cells: [(&str, &str); 2]) -> ConnectorError {
    let [first, second] = cells.map(|(shown, cell)| match shown {
        shown if shown == name => cell.to_owned(),
        shown => format!("{cell} ({shown:?})"),
    });
    let what = format!("has two columns named `{name}` in sheet `{sheet}`: {first} and {second}");
    permanent(path, &what, "give each column a name of its own; white space around a name counts for nothing")
}

/// Makes the error of a title above the table: the row and the number of its cells, and the better row with its
/// number of names.
pub(super) fn title(path: &Path, sheet: &str, found: (u32, usize), better: (u32, usize)) -> ConnectorError {
    let ((row, cells), (better, names)) = (found, better);
    let cells = counted(cells);
    let what = format!("has {cells} in row {row} of sheet `{sheet}`, expected the names of the columns");
    let names = counted(names);
    let hint = format!("set `header_row = {better}`, where there are {names}; or delete the rows above it");
    permanent(path, &what, &hint)
}

/// Makes the error of a header with fewer columns than the rows.
pub(super) fn narrow_header(path: &Path, sheet: &str, found: (u32, usize), width: usize) -> ConnectorError {
    let (row, cells) = (found.0, counted(found.1));
    let width = counted(width);
    let what = format!(
        "has {cells} in its header (row {row} of sheet `{sheet}`), but up to {width} in each row below"
    );
    permanent(path, &what, "name each column; set `header_row` if another row does")
}

fn counted(cells: usize) -> String {
    if cells == 1 { "1 cell".to_owned() } else { format!("{cells} cells") }
}

pub(super) fn no_column(path: &Path, sheet: &str, wanted: &str, names: &[String]) -> ConnectorError {
    let what = format!("has no column `{wanted}` in sheet `{sheet}`, which the filter names");
    match similar(wanted, names.iter().map(String::as_str)) {
        Some(near) => permanent(path, &what, &format!("did you mean `{near}`?")),
        None => permanent(path, &what, &format!("the columns are {}", names.join(", "))),
    }
}
