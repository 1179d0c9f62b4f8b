//! Writing a workbook: the header, then row by row in flat memory.

use std::path::{Path, PathBuf};

use rust_xlsxwriter::{ExcelDateTime, Format, Workbook, Worksheet, XlsxError};
use serde_json::Value;

use super::lines::Lines;
use super::{DateFormat, ExcelConfig};
use crate::connector::ConnectorError;
use crate::connector::file::{cannot, shown};

/// Beyond this, Excel would round a whole number.
const LARGEST_EXACT: u64 = 1 << 53;

/// Checks what can be known to be wrong before the first row.
pub(super) fn check(config: &ExcelConfig) -> Result<(), ConnectorError> {
    let Some(name) = &config.sheet else { return Ok(()) };
    Worksheet::new().set_name(name).map(|_| ()).map_err(|error| {
        ConnectorError::permanent(format!("`sheet = {name:?}` cannot name a sheet")).with_source(error)
    })
}

/// Writes the workbook beside its place, and moves it there when it is whole.
pub(super) fn write(config: &ExcelConfig, names: &[String], rows: Lines) -> Result<(), ConnectorError> {
    let path: &Path = &config.path;
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let mut workbook = fill(config, names, rows)?;
    workbook.save(&new).map_err(|error| failed(path, error))?;
    let through = std::fs::File::open(&new).and_then(|file| file.sync_all());
    through.and_then(|()| std::fs::rename(&new, path)).map_err(|error| cannot("write", path, error))
}

fn fill(config: &ExcelConfig, names: &[String], mut rows: Lines) -> Result<Workbook, ConnectorError> {
    let failed = |error| failed(&config.path, error);
    let mut workbook = Workbook::new();
    let sheet = workbook.add_worksheet_with_constant_memory().map_err(failed)?;
    if let Some(name) = &config.sheet {
        sheet.set_name(name).map_err(failed)?;
    }
    let header = config.header_row.saturating_sub(1);
    for (column, name) in (0..).zip(names) {
        sheet.write_string(header, column, name).map_err(failed)?;
    }
    let formats = Formats::new();
    let mut row = header;
    while let Some(cells) = rows.row()? {
        row += 1;
        for (column, value) in (0..).zip(&cells) {
            formats.write(sheet, (row, column), value, config.date_format).map_err(failed)?;
        }
    }
    Ok(workbook)
}

fn failed(path: &Path, error: XlsxError) -> ConnectorError {
    match error {
        XlsxError::IoError(error) => cannot("write", path, error),
        other => ConnectorError::permanent(format!("cannot write {}", shown(path))).with_source(other),
    }
}

/// How dates look; a workbook shares one format among all its cells.
struct Formats {
    date: Format,
    time: Format,
}

impl Formats {
    fn new() -> Self {
        let format = |pattern: &str| Format::new().set_num_format(pattern);
        Self { date: format("yyyy-mm-dd"), time: format("yyyy-mm-dd hh:mm:ss") }
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

/// The date that a text in ISO 8601 says, in the forms in which the source hands dates out.
fn date(text: &str) -> Option<ExcelDateTime> {
    let fits = |shape: &&&str| {
        let alike = |(c, s): (char, char)| if s == '0' { c.is_ascii_digit() } else { c == s };
        text.len() == shape.len() && text.chars().zip(shape.chars()).all(alike)
    };
    TIMES.iter().find(fits)?;
    // As a date it would not come back as the text that it is: the source leaves out what is zero, and the library takes
    // an hour 24 for the next day.
    let within = |place: std::ops::Range<usize>, most: &str| text.get(place).is_none_or(|part| part <= most);
    let is_time = within(11..13, "23") && within(14..16, "59") && within(17..19, "59");
    if !is_time || text.ends_with("T00:00:00") || text.ends_with(".000") {
        return None;
    }
    // Excel counts days from 1900, and takes that year for a leap year.
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
