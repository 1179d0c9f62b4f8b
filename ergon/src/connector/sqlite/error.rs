//! The errors of the SQLite connector: what failed, where, and whether another attempt can help.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::ErrorCode;

use crate::connector::ConnectorError;

/// A failure that all work of one commit shares.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    path: Arc<Path>,
    cause: Arc<rusqlite::Error>,
    /// Whether the commit itself failed, so that SQLite does not say what the file holds.
    at_commit: bool,
}

impl Failure {
    pub(super) fn new(path: &Arc<Path>, cause: rusqlite::Error) -> Self {
        Self { path: Arc::clone(path), cause: Arc::new(cause), at_commit: false }
    }

    pub(super) fn at_commit(path: &Arc<Path>, cause: rusqlite::Error) -> Self {
        Self { at_commit: true, ..Self::new(path, cause) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.cause)
    }
}

impl From<Failure> for ConnectorError {
    fn from(failure: Failure) -> Self {
        let what = failure.to_string();
        let error = |message: &str| format!("{message}: {what}");
        match failure.cause.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => {
                Self::permanent(error("the file is not a SQLite database")).with_hint("name another `path`")
            }
            Some(ErrorCode::DatabaseCorrupt) => Self::permanent(error("the file is damaged"))
                .with_hint("`sqlite3 FILE .recover` saves what can be read"),
            Some(ErrorCode::CannotOpen) => Self::permanent(error("the file cannot be opened"))
                .with_hint("check `path` and its permissions"),
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                Self::permanent(error("the file cannot be written"))
                    .with_hint("check the permissions of the file and its folder")
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Self::transient(error("another process holds the file's lock"))
            }
            Some(ErrorCode::DiskFull) => Self::transient(error("the disk is full")),
            Some(ErrorCode::SystemIoFailure) if failure.at_commit => {
                Self::unknown(error("the commit failed, and SQLite does not say whether the file holds it"))
            }
            _ => Self::transient(what),
        }
    }
}

pub(super) fn not_open(path: &impl fmt::Display) -> ConnectorError {
    ConnectorError::permanent(format!("{path} is not open"))
}

/// The thread of the file has ended, because it panicked.
pub(super) fn thread_ended(path: &Path) -> ConnectorError {
    ConnectorError::permanent(format!("{}: the thread of the file has ended", path.display()))
}

pub(super) fn no_thread(path: &Path, cause: &std::io::Error) -> ConnectorError {
    ConnectorError::transient(format!("{}: no thread can be started: {cause}", path.display()))
}

pub(super) fn no_folder(path: &Path, cause: &std::io::Error) -> ConnectorError {
    let what = format!("the folder of {} cannot be made: {cause}", path.display());
    ConnectorError::permanent(what).with_hint("check `path` and its permissions")
}

pub(super) fn newer(version: i64, path: &Path) -> ConnectorError {
    let what =
        format!("{} has version {version} of the queue's tables, newer than this program", path.display());
    ConnectorError::permanent(what).with_hint("run the program with a newer release of Ergon")
}

pub(super) fn short_lease(lease: Duration) -> ConnectorError {
    ConnectorError::permanent(format!("`lease` is {lease:?}, shorter than 1s"))
        .with_hint("a lease is extended at a third of its length, so 30s costs little")
}

/// A settlement of a delivery whose lease is lost.
pub(super) fn lost() -> ConnectorError {
    ConnectorError::unknown("the lease is lost; another worker has the delivery")
}
