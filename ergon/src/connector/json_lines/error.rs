//! The errors of JSON Lines files: the text of each message and its hint.

use crate::connector::ConnectorError;
use crate::transaction::Transaction;

pub(super) fn no_json(transaction: &Transaction, cause: serde_json::Error) -> ConnectorError {
    let id = transaction.id();
    ConnectorError::permanent(format!("transaction `{id}` cannot be written as JSON")).with_source(cause)
}

pub(super) fn shared_stream() -> ConnectorError {
    ConnectorError::permanent("standard input and output cannot be shared by several workers")
        .with_hint("set `workers = 1`, or name a file")
}

pub(super) fn followed_stream() -> ConnectorError {
    ConnectorError::permanent("standard input cannot be followed: it ends with its writer")
        .with_hint("leave `streaming` out; each line is taken as soon as it comes")
}
