//! The settings of the Excel connector, with their defaults.

use serde::Deserialize;
use serde_json::Value;

use super::{Excel, ExcelFormat, error};
use crate::connector::{ConnectorConfig, ConnectorError, Context};
use crate::settings::{ByteSize, FilePath};

/// Makes an [`Excel`] connector: one sheet of an `.xlsx` workbook.
///
/// ```
/// use ergon::prelude::*;
///
/// let config: ExcelConfig = serde_json::from_str(
///     r#"{"path": "orders.xlsx", "sheet": "2026", "filter": {"column": "Returned", "equals": false}}"#,
/// )?;
/// assert_eq!(config.header_row, 1);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExcelConfig {
    /// The workbook.
    pub path: FilePath,
    /// The sheet's name. Default: the first sheet that is not hidden; of a new workbook `Sheet1`.
    #[serde(default)]
    pub sheet: Option<String>,
    /// The row with the names of the columns, counted from 1 as in Excel. Default: 1.
    #[serde(default = "first_row")]
    pub header_row: u32,
    /// Sink: keeps the rows of the workbook and adds the new ones below them; false replaces the workbook when a run
    /// ends. Default: true.
    #[serde(default = "yes")]
    pub append: bool,
    /// Source: only the rows in which a column has this value. Default: all rows.
    #[serde(default)]
    pub filter: Option<Filter>,
    /// Source: puts up to `batch_size` rows into one transaction. Default: false.
    #[serde(default)]
    pub batch_mode: bool,
    /// How a date becomes a value. Default: `iso`.
    #[serde(default)]
    pub date_format: DateFormat,
    /// Source: reads at most this many rows below the header, blank rows included. Default: all.
    #[serde(default)]
    pub max_rows: Option<u32>,
    /// Source: refuses a workbook that is larger than this when unpacked. It also refuses a zip bomb: a part of more
    /// than 16MiB and 250 times its packed size. Default: 256MiB.
    #[serde(default = "largest")]
    pub max_bytes: ByteSize,
}

/// Keeps a row if one of its cells has a value.
///
/// The comparison is exact and typed: `0`, `"0"` and `false` differ; `1` and `1.0` do not; `""` is a cell that is
/// blank or holds an empty text. A date is compared as the source delivers it, as text in ISO 8601.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// The name of the column, as in the header. White space around it is ignored.
    pub column: String,
    /// The value of the cell.
    pub equals: Value,
}

/// The value of a date, a time or a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DateFormat {
    /// Text in ISO 8601: `2016-11-08`, `2016-11-08T10:30:00`, `10:30:00`, a duration as `PT36H30M0S`.
    #[default]
    Iso,
    /// Excel's number of days, with a fraction for the time. The metadata `date_system` has the first year of the
    /// workbook's calendar, 1900 or 1904.
    Serial,
}

const fn yes() -> bool {
    true
}

const fn first_row() -> u32 {
    1
}

const fn largest() -> ByteSize {
    ByteSize::mib(256)
}

impl ExcelConfig {
    /// Names the workbook; all else has its default.
    pub fn new(path: impl Into<FilePath>) -> Self {
        Self {
            path: path.into(),
            sheet: None,
            header_row: first_row(),
            append: yes(),
            filter: None,
            batch_mode: false,
            date_format: DateFormat::default(),
            max_rows: None,
            max_bytes: largest(),
        }
    }

    /// Names the sheet.
    #[must_use]
    pub fn with_sheet(mut self, sheet: impl Into<String>) -> Self {
        self.sheet = Some(sheet.into());
        self
    }

    /// Keeps only the rows in which `column` has the value `equals`.
    #[must_use]
    pub fn with_filter(mut self, column: impl Into<String>, equals: impl Into<Value>) -> Self {
        self.filter = Some(Filter { column: column.into(), equals: equals.into() });
        self
    }
}

impl ConnectorConfig for ExcelConfig {
    type Connector = Excel;

    fn build(&self, context: &Context) -> Result<Excel, ConnectorError> {
        if self.header_row == 0 {
            return Err(error::no_header_row());
        }
        if context.streaming {
            return Err(error::followed());
        }
        if let Some(Filter { equals: Value::Array(_) | Value::Object(_) | Value::Null, .. }) = self.filter {
            return Err(error::bad_filter());
        }
        let append = self.append || context.is_restart;
        Ok(Excel::new(ExcelFormat::new(Self { append, ..self.clone() }), context))
    }
}
