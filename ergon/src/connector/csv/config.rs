//! The settings of the CSV connector, with their defaults and checks.

use serde::Deserialize;

use super::header::delimits;
use super::{Csv, CsvFormat, Quote, error};
use crate::connector::kit::file::{Fsync, refuse_to_empty};
use crate::connector::{ConnectorConfig, ConnectorError, Context};
use crate::settings::{ByteSize, FilePath};

/// Makes a [`Csv`] connector: a file of records whose cells are separated by commas, or another character.
///
/// ```
/// use ergon::prelude::*;
///
/// let config: CsvConfig = serde_json::from_str(r#"{"path": "orders.csv", "delimiter": ";"}"#)?;
/// assert!(config.headers);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own, answered with yes or no")]
pub struct CsvConfig {
    /// The file.
    pub path: FilePath,
    /// The character between cells: one ASCII character, `"\t"` for a tab. Default: a comma.
    #[serde(default = "comma")]
    pub delimiter: char,
    /// Whether the first record has the names of the columns. Otherwise the names are `column_1`, `column_2`, ….
    /// Default: true.
    #[serde(default = "yes")]
    pub headers: bool,
    /// The line that names the columns, counted from 1. The source skips the lines above it, such as a title. Without
    /// `headers`, the line of the first record. Default: 1.
    #[serde(default = "first_line")]
    pub header_row: u32,
    /// Source: the rules for double quotes: `strict`, `lenient` or `none`. Default: `strict`.
    #[serde(default)]
    pub quote: Quote,
    /// Source: the escape character within quotes, one ASCII character: `\` in files with `\"`. Before a quote, or
    /// before itself, it makes that character part of the cell. Before any other character it is part of the cell. A
    /// doubled quote is still one quote. Default: none.
    #[serde(default)]
    pub escape: Option<char>,
    /// Sink: creates the file, and the folders above it, if they do not exist. Default: true.
    #[serde(default = "yes")]
    pub create: bool,
    /// Sink: keeps the content of the file, and writes after it. False empties the file when a run starts, and is
    /// refused while another sink has the file open. Default: true.
    #[serde(default = "yes")]
    pub append: bool,
    /// Sink: the times at which the file is written through to the disk: `end`, `each` or `never`. Default: `end`.
    #[serde(default)]
    pub fsync: Fsync,
    /// Sink: writes a text that begins with `=`, `+`, `-`, `@`, a tab or a carriage return as it is. Otherwise the sink
    /// puts an apostrophe before such a text, but not before a number, so that a spreadsheet does not run it as a
    /// formula. Default: false.
    #[serde(default)]
    pub raw: bool,
    /// Source: a record of more bytes becomes a delivery that does not decode, because such a record most likely has a
    /// quote that is never closed. Default: 16MiB.
    #[serde(default = "longest_record")]
    pub max_record: ByteSize,
}

const fn comma() -> char {
    ','
}

const fn yes() -> bool {
    true
}

const fn first_line() -> u32 {
    1
}

const fn longest_record() -> ByteSize {
    ByteSize::mib(16)
}

impl CsvConfig {
    /// Names the file; all other settings have their defaults.
    pub fn new(path: impl Into<FilePath>) -> Self {
        Self {
            path: path.into(),
            delimiter: comma(),
            headers: yes(),
            header_row: first_line(),
            quote: Quote::default(),
            escape: None,
            create: yes(),
            append: yes(),
            fsync: Fsync::default(),
            raw: false,
            max_record: longest_record(),
        }
    }

    /// Sets the character between cells.
    #[must_use]
    pub fn with_delimiter(mut self, delimiter: char) -> Self {
        self.delimiter = delimiter;
        self
    }
}

impl CsvConfig {
    /// Refuses settings with which no file can be read.
    fn check_reading(&self, delimiter: u8) -> Result<(), ConnectorError> {
        if self.header_row == 0 {
            return Err(error::no_header_row());
        }
        let Some(escape) = self.escape else { return Ok(()) };
        let refused = match u8::try_from(escape) {
            _ if self.quote == Quote::None => return Err(error::escape_without_quotes()),
            Ok(byte) if byte.is_ascii_punctuation() && byte != delimiter => return Ok(()),
            _ => error::bad_escape(escape),
        };
        Err(refused)
    }
}

impl ConnectorConfig for CsvConfig {
    type Connector = Csv;

    fn build(&self, context: &Context) -> Result<Csv, ConnectorError> {
        let delimiter = match u8::try_from(self.delimiter) {
            Ok(byte) if delimits(byte) => byte,
            _ => return Err(error::bad_delimiter(self.delimiter)),
        };
        self.check_reading(delimiter)?;
        if !self.append {
            refuse_to_empty(context.shard)?;
        }
        let append = self.append || context.is_restart;
        Ok(Csv::new(CsvFormat::new(Self { append, ..self.clone() }, delimiter), context))
    }
}
