//! The config of the CSV connector.

use serde::Deserialize;

use super::Csv;
use crate::connector::file::{ByteSize, Fsync, refuse_to_empty};
use crate::connector::{ConnectorConfig, ConnectorError, Context};
use crate::settings::FilePath;

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
    /// What separates the cells: one ASCII character, `"\t"` for a tab. Default: a comma.
    #[serde(default = "comma")]
    pub delimiter: char,
    /// Whether the first record holds the names of the columns; else they are `column_1`, `column_2`, …. Default: true.
    #[serde(default = "yes")]
    pub headers: bool,
    /// Sink: makes the file, and the folders above it, if they are not there. Default: true.
    #[serde(default = "yes")]
    pub create: bool,
    /// Sink: keeps what is in the file and writes after it; false empties it when a run begins. Default: true.
    #[serde(default = "yes")]
    pub append: bool,
    /// Sink: when the file is written through to the disk: `end`, `each` or `never`. Default: `end`.
    #[serde(default)]
    pub fsync: Fsync,
    /// Sink: writes a text that begins with `=`, `+`, `-`, `@`, a tab or a carriage return as it is. Otherwise it gets
    /// an apostrophe before it, so that a spreadsheet does not run it as a formula; a number never does.
    /// Default: false.
    #[serde(default)]
    pub raw: bool,
    /// Source: a record of more bytes ends the run with an error; it is most likely a quote that is never closed.
    /// Default: 16MiB.
    #[serde(default = "longest_record")]
    pub max_record: ByteSize,
}

const fn comma() -> char {
    ','
}

const fn yes() -> bool {
    true
}

const fn longest_record() -> ByteSize {
    ByteSize::mib(16)
}

impl CsvConfig {
    /// Names the file; everything else is as by default.
    pub fn new(path: impl Into<FilePath>) -> Self {
        Self {
            path: path.into(),
            delimiter: comma(),
            headers: yes(),
            create: yes(),
            append: yes(),
            fsync: Fsync::default(),
            raw: false,
            max_record: longest_record(),
        }
    }

    /// Sets what separates the cells.
    #[must_use]
    pub fn with_delimiter(mut self, delimiter: char) -> Self {
        self.delimiter = delimiter;
        self
    }
}

impl ConnectorConfig for CsvConfig {
    type Connector = Csv;

    fn build(&self, context: &Context) -> Result<Csv, ConnectorError> {
        let delimiter = match u8::try_from(self.delimiter) {
            Ok(byte) if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r' | 0) => byte,
            _ => {
                let message = format!("`delimiter = {:?}` cannot separate cells", self.delimiter);
                return Err(ConnectorError::permanent(message)
                    .with_hint("name one ASCII character, such as \",\", \";\" or \"\\t\""));
            }
        };
        if !self.append {
            refuse_to_empty(context.shard)?;
        }
        let append = self.append || context.resumes;
        Ok(Csv::new(Self { append, ..self.clone() }, delimiter, context))
    }
}
