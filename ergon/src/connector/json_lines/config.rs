//! The settings of the JSON Lines connector, with their defaults.

use serde::Deserialize;

use super::{JsonLines, JsonLinesFormat, error};
use crate::connector::kit::file::{Fsync, refuse_to_empty};
use crate::connector::{ConnectorConfig, ConnectorError, Context};
use crate::settings::{ByteSize, FilePath};

/// Makes a [`JsonLines`] connector: a file with one JSON text on each line.
///
/// ```
/// use ergon::prelude::*;
///
/// let config: JsonLinesConfig = serde_json::from_str(r#"{"path": "out/receipts.jsonl", "fsync": "each"}"#)?;
/// assert!(config.create && config.append);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JsonLinesConfig {
    /// The file; `-` is standard input for a source, standard output for a sink. A pipe is for one worker only.
    pub path: FilePath,
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
    /// Whether a line is the payload alone or an [envelope](Envelope) around it: `auto`, `always` or `never`.
    /// Default: `auto`.
    #[serde(default)]
    pub envelope: Envelope,
    /// Source: a line of more bytes becomes a delivery that does not decode. Default: 16MiB.
    #[serde(default = "longest_line")]
    pub max_line: ByteSize,
}

/// The content of a line: a payload, or an envelope around it.
///
/// An envelope is `{"id": …, "payload": …, "metadata": {…}}`, with `parent_id`, `correlation_id` and `created_at`, and
/// `content_type` if the payload is not JSON.
///
/// ```
/// use ergon::prelude::*;
/// use ergon::connector::json_lines::Envelope;
///
/// let letters = JsonLinesConfig::new("rejected.jsonl").with_envelope(Envelope::Always);
/// assert_eq!(letters.envelope, Envelope::Always);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Envelope {
    /// Sink: an envelope for a dead letter, so that a rejected line has its reason, and the payload alone for any other
    /// transaction. Source: the payload alone.
    #[default]
    Auto,
    /// Sink: an envelope around each payload. Source: each line is an envelope, which the source unwraps.
    Always,
    /// The payload alone.
    Never,
}

const fn yes() -> bool {
    true
}

const fn longest_line() -> ByteSize {
    ByteSize::mib(16)
}

impl JsonLinesConfig {
    /// Names the file; all other settings have their defaults.
    pub fn new(path: impl Into<FilePath>) -> Self {
        Self {
            path: path.into(),
            create: yes(),
            append: yes(),
            fsync: Fsync::default(),
            envelope: Envelope::default(),
            max_line: longest_line(),
        }
    }

    /// Sets the content of a line.
    #[must_use]
    pub fn with_envelope(mut self, envelope: Envelope) -> Self {
        self.envelope = envelope;
        self
    }

    pub(super) fn is_standard_stream(&self) -> bool {
        self.path.as_os_str() == "-"
    }
}

impl ConnectorConfig for JsonLinesConfig {
    type Connector = JsonLines;

    fn build(&self, context: &Context) -> Result<JsonLines, ConnectorError> {
        if self.is_standard_stream() && context.shard.count > 1 {
            return Err(error::shared_stream());
        }
        if self.is_standard_stream() && context.streaming {
            return Err(error::followed_stream());
        }
        if !self.append {
            refuse_to_empty(context.shard)?;
        }
        let append = self.append || context.is_restart;
        Ok(JsonLines::new(JsonLinesFormat::new(Self { append, ..self.clone() }), context))
    }
}
