//! Writes a workbook in constant memory: the kept cells, the header, then row by row.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, Workbook, Worksheet, XlsxError};
use serde_json::Value;

use super::existing::{self, Cell, DATE_PATTERN, Existing, Look, TIME_PATTERN};
use super::lines::{Lines, MARK_NAME};
use super::{DateFormat, ExcelConfig};
use crate::connector::ConnectorError;
use crate::connector::kit::file::{display_path, file_error, no_folder};

/// The largest whole number that Excel does not round.
const LARGEST_EXACT: u64 = 1 << 53;

/// Checks the config and the path before the first row.
pub(super) fn check(config: &ExcelConfig) -> Result<(), ConnectorError> {
    may_be_replaced(&config.path)?;
    let Some(name) = &config.sheet else { return Ok(()) };
    Worksheet::new().set_name(name).map(|_| ()).map_err(|error| {
        ConnectorError::permanent(format!("`sheet = {name:?}` cannot name a sheet")).with_source(error)
    })
}

/// Checks that the path can hold a workbook, and that an existing workbook may be replaced.
///
/// The new workbook is another file, so the system does not check the permissions of the old workbook when it is
/// replaced.
fn may_be_replaced(path: &Path) -> Result<(), ConnectorError> {
    no_folder(path)?;
    let Ok(metadata) = path.metadata() else { return Ok(()) };
    if !metadata.is_file() {
        let message = format!("{} is no regular file, expected a workbook or nothing", display_path(path));
        return Err(ConnectorError::permanent(message)
            .with_hint("name a file; rows for a pipe or a device can be written as JSON lines or CSV"));
    }
    let refused = match std::fs::File::options().append(true).open(path) {
        Ok(_) => metadata.permissions().readonly(),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => true,
        Err(error) => return Err(file_error("open for writing", path, error)),
    };
    if refused {
        return Err(ConnectorError::permanent(format!("{} is write-protected", display_path(path)))
            .with_hint("let the user who runs this write to it, or name another workbook"));
    }
    Ok(())
}

/// The new rows, and their mark.
pub(super) struct NewRows<'a> {
    pub(super) names: &'a [String],
    pub(super) rows: Lines,
    pub(super) mark: Option<&'a str>,
}

/// Writes the workbook next to its path, and moves it there when it is complete. Keeps the existing rows
/// unless `append = false`.
pub(super) fn write(config: &ExcelConfig, new: NewRows<'_>) -> Result<(), ConnectorError> {
    let path: &Path = &config.path;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let written = fill(config, new).and_then(|mut workbook| {
        workbook.save(&beside).map_err(|error| failed(path, error))?;
        replace(path, &beside)
    });
    if written.is_err() {
        // The rows are still in their own file, so removing the incomplete workbook loses nothing.
        let _ = std::fs::remove_file(&beside);
    }
    written
}

/// Moves the new workbook to its path, with the permissions of the old one.
fn replace(path: &Path, new: &Path) -> Result<(), ConnectorError> {
    may_be_replaced(path)?;
    let failed = |error| file_error("write", path, error);
    if let Ok(old) = path.metadata() {
        std::fs::set_permissions(new, old.permissions()).map_err(failed)?;
    }
    std::fs::File::open(new).and_then(|file| file.sync_all()).map_err(failed)?;
    std::fs::rename(new, path).map_err(failed)
}

fn fill(config: &ExcelConfig, new: NewRows<'_>) -> Result<Workbook, ConnectorError> {
    let failed = |error| failed(&config.path, error);
    let formats = Formats::new();
    let mut workbook = Workbook::new();
    if let Some(mark) = new.mark {
        workbook.set_properties(&DocProperties::new().set_custom_property(MARK_NAME, mark));
    }
    let sheet = workbook.add_worksheet_with_constant_memory().map_err(failed)?;
    let kept = if config.append {
        existing::read(config, &mut |row, column, cell| {
            formats.copy(sheet, (row - 1, column), &cell).map_err(failed)
        })?
    } else {
        None
    };
    if let Some(name) = kept.as_ref().map(|kept| &kept.sheet).or(config.sheet.as_ref()) {
        sheet.set_name(name).map_err(failed)?;
    }
    let places = Places::new(config, kept, new.names)?;
    if places.heads {
        for (name, column) in new.names.iter().zip(&places.columns) {
            sheet.write_string(config.header_row.saturating_sub(1), *column, name).map_err(failed)?;
        }
    }
    let (mut row, mut rows) = (places.row, new.rows);
    while let Some(cells) = rows.row()? {
        for (column, value) in places.columns.iter().zip(&cells) {
            formats.write(sheet, (row, *column), value, config.date_format).map_err(failed)?;
        }
        row += 1;
    }
    Ok(workbook)
}

/// The positions of the new rows.
pub(super) struct Places {
    /// Whether the new rows write the header.
    heads: bool,
    /// The column of each name.
    columns: Vec<u16>,
    /// The first new row, counted from 0.
    pub(super) row: u32,
}

impl Places {
    /// Finds the columns of a workbook by their names.
    ///
    /// # Errors
    /// The workbook has no column of a name.
    pub(super) fn new(
        config: &ExcelConfig,
        kept: Option<Existing>,
        names: &[String],
    ) -> Result<Self, ConnectorError> {
        let kept = kept.unwrap_or_default();
        let row = kept.last_row.max(config.header_row);
        let Some(there) = kept.names else {
            return Ok(Self { heads: true, columns: (0..).take(names.len()).collect(), row });
        };
        let column = |name: &String| {
            let place = there.iter().position(|other| other == name)?;
            u16::try_from(kept.first as usize + place).ok()
        };
        let columns =
            names.iter().map(|name| column(name).ok_or_else(|| no_column(&config.path, name, &there)));
        Ok(Self { heads: false, columns: columns.collect::<Result<_, _>>()?, row })
    }
}

fn no_column(path: &Path, name: &str, there: &Arc<[String]>) -> ConnectorError {
    let what =
        format!("{} has no column `{name}`, which the rows of an unfinished run have", display_path(path));
    ConnectorError::permanent(what)
        .with_hint(format!("name a column so, or move those rows away; the columns are {}", there.join(", ")))
}

fn failed(path: &Path, error: XlsxError) -> ConnectorError {
    match error {
        XlsxError::IoError(error) => file_error("write", path, error),
        other => ConnectorError::permanent(format!("cannot write {}", display_path(path))).with_source(other),
    }
}

/// The formats of dates, which all cells of a workbook share.
struct Formats {
    date: Format,
    time: Format,
}

impl Formats {
    fn new() -> Self {
        let format = |pattern: &str| Format::new().set_num_format(pattern);
        Self { date: format(DATE_PATTERN), time: format(TIME_PATTERN) }
    }

    /// Writes a cell unchanged.
    fn copy(&self, sheet: &mut Worksheet, (row, column): (u32, u32), cell: &Cell) -> Result<(), XlsxError> {
        let column = u16::try_from(column).map_err(|_| XlsxError::RowColumnLimitError)?;
        match cell {
            Cell::Number(number, Look::Plain) => sheet.write_number(row, column, *number)?,
            Cell::Number(number, Look::Date) => {
                sheet.write_number_with_format(row, column, *number, &self.date)?
            }
            Cell::Number(number, Look::Time) => {
                sheet.write_number_with_format(row, column, *number, &self.time)?
            }
            Cell::Flag(flag) => sheet.write_boolean(row, column, *flag)?,
            Cell::Text(text) => sheet.write_string(row, column, text)?,
        };
        Ok(())
    }

    fn write(
        &self,
        sheet: &mut Worksheet,
        (row, column): (u32, u16),
        value: &Value,
        dates: DateFormat,
    ) -> Result<(), XlsxError> {
        match value {
            Value::Null => return Ok(()),
            Value::Bool(flag) => sheet.write_boolean(row, column, *flag)?,
            Value::Number(number) => match number.as_f64().filter(|_| is_exact(number)) {
                Some(number) => sheet.write_number(row, column, number)?,
                None => sheet.write_string(row, column, number.to_string())?,
            },
            Value::String(text) => match date(text).filter(|_| dates == DateFormat::Iso) {
                Some(date) => {
                    let format = if text.len() == DATE.len() { &self.date } else { &self.time };
                    sheet.write_datetime_with_format(row, column, &date, format)?
                }
                None => sheet.write_string(row, column, text)?,
            },
            Value::Array(_) | Value::Object(_) => sheet.write_string(row, column, value.to_string())?,
        };
        Ok(())
    }
}

fn is_exact(number: &serde_json::Number) -> bool {
    let size = number.as_i64().map(i64::unsigned_abs).or_else(|| number.as_u64());
    size.is_none_or(|size| size <= LARGEST_EXACT)
}

const DATE: &str = "0000-00-00";
const TIMES: [&str; 3] = [DATE, "0000-00-00T00:00:00", "0000-00-00T00:00:00.000"];

/// Returns the date of a text in ISO 8601, in the forms that the source delivers.
fn date(text: &str) -> Option<ExcelDateTime> {
    let fits = |shape: &&&str| {
        let alike = |(c, s): (char, char)| if s == '0' { c.is_ascii_digit() } else { c == s };
        text.len() == shape.len() && text.chars().zip(shape.chars()).all(alike)
    };
    TIMES.iter().find(fits)?;
    // Such a date would not be read back as the same text: the source leaves out zeros, and the library takes hour 24
    // for the next day.
    let within = |place: std::ops::Range<usize>, most: &str| text.get(place).is_none_or(|part| part <= most);
    let is_time = within(11..13, "23") && within(14..16, "59") && within(17..19, "59");
    if !is_time || text.ends_with("T00:00:00") || text.ends_with(".000") {
        return None;
    }
    // Excel counts days from 1900, and takes that year for a leap year, so earlier dates would be off by one.
    if text < "1900-03-01" { None } else { ExcelDateTime::parse_from_str(text).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_iso_dates_are_dates() {
        let dates = ["2016-11-08", "2016-11-08T10:30:00", "2016-11-08T10:30:00.250", "2024-02-29"];
        assert!(dates.iter().all(|text| date(text).is_some()));
        let texts =
            ["2016-11-8", "2016-13-01", "2023-02-29", "1899-12-31", "10:30:00", "2016-11-08 ", "20161108xx"];
        let not_alike =
            ["2024-01-01T24:00:00", "2024-01-01T00:00:00", "2024-01-01T10:30:00.000", "2024-01-01T10:60:00"];
        let texts = texts.into_iter().chain(not_alike);
        for text in texts {
            assert!(date(text).is_none(), "{text}");
        }
    }
}
