//! The errors of CSV settings with which no file can be read, such as a delimiter that cannot separate cells.

use crate::connector::ConnectorError;

pub(super) fn no_header_row() -> ConnectorError {
    ConnectorError::permanent("`header_row = 0`, but the first line of a file is 1")
        .with_hint("set `header_row = 1`")
}

pub(super) fn bad_delimiter(delimiter: char) -> ConnectorError {
    ConnectorError::permanent(format!("`delimiter = {delimiter:?}` cannot separate cells"))
        .with_hint("name one ASCII character, such as \",\", \";\" or \"\\t\"")
}

pub(super) fn escape_without_quotes() -> ConnectorError {
    ConnectorError::permanent(
        "`escape` with `quote = \"none\"`: nothing is quoted, so there is nothing to escape",
    )
    .with_hint("leave one of them out")
}

pub(super) fn bad_escape(escape: char) -> ConnectorError {
    ConnectorError::permanent(format!("`escape = {:?}` cannot escape a quote", escape.to_string()))
        .with_hint("name one character, such as \"\\\\\"")
}
