//! Names files in ids, errors and messages, and checks whether a path leads to a file, a folder, a pipe or a device.

use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf, absolute};
use std::sync::Arc;

use crate::connector::{ConnectorError, Endpoint, Shard};
use crate::settings::suggest::similar;
use crate::transaction::TransactionId;

/// Refuses to empty a file that several workers write to.
///
/// ```
/// use ergon::connector::Shard;
/// use ergon::connector::kit::file::refuse_to_empty;
///
/// assert!(refuse_to_empty(Shard::default()).is_ok());
/// ```
///
/// # Errors
/// There are several workers.
pub fn refuse_to_empty(shard: Shard) -> Result<(), ConnectorError> {
    if shard.count <= 1 {
        return Ok(());
    }
    let workers = shard.count;
    let message = format!("`append = false` with {workers} workers: each would empty what the others wrote");
    Err(ConnectorError::permanent(message).with_hint("set `append = true`, or `workers = 1`"))
}

/// Returns whether a path leads to a stream, which can be read only once: a pipe, a terminal.
pub fn is_stream(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

/// Refuses to share a stream among several workers. A reader would skip the records of the other workers, and lines of
/// several writers would mix.
///
/// # Errors
/// There are several workers, and the path leads to no regular file.
pub fn refuse_to_share(path: &Path, shard: Shard) -> Result<(), ConnectorError> {
    if shard.count <= 1 || !is_stream(path) {
        return Ok(());
    }
    let message =
        format!("{} is no regular file and cannot be shared by several workers", display_path(path));
    Err(ConnectorError::permanent(message).with_hint("set `workers = 1`, or name a file"))
}

/// Checks whether one worker may read a named pipe. Does not open the pipe, because its writer would take that for its
/// reader.
pub(crate) fn pipe_to_read(path: &Path, shard: Shard) -> Result<(), ConnectorError> {
    refuse_to_share(path, shard)?;
    #[cfg(unix)]
    rustix::fs::access(path, rustix::fs::Access::READ_OK)
        .map_err(|error| file_error("open", path, error.into()))?;
    Ok(())
}

/// Returns whether a path leads to a named pipe.
#[cfg(unix)]
pub(crate) fn is_pipe(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    path.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo())
}

#[cfg(not(unix))]
pub(crate) fn is_pipe(_: &Path) -> bool {
    false
}

/// Returns the last part of a path, by which ids and metadata name a file.
pub fn file_name(path: &Path) -> Arc<str> {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into()
}

/// Makes the id of a numbered record of a file: `file:number`. After `turns` other files at the same path, the file is
/// named `file#2`, `file#3`, …, so that no two transactions of a run have one id.
///
/// ```
/// use ergon::connector::kit::file::record_id;
///
/// assert_eq!(record_id("orders.csv", 0, 7), "orders.csv:7");
/// assert_eq!(record_id("orders.csv", 1, 7), "orders.csv#2:7");
/// ```
pub fn record_id(file: &str, turns: u64, number: u64) -> String {
    if turns == 0 { format!("{file}:{number}") } else { format!("{file}#{}:{number}", turns + 1) }
}

/// Makes the same id as [`record_id`], with fewer allocations.
pub(crate) fn record_transaction_id(file: &str, turns: u64, number: u64) -> TransactionId {
    if turns == 0 {
        TransactionId::numbered(file, b':', number)
    } else {
        record_id(file, turns, number).into()
    }
}

/// Makes the endpoint of a file: one name for all ways to write its path. `..` removes a folder without following
/// links. A file below the working folder is named relative to that folder.
pub fn endpoint(path: &Path) -> Endpoint {
    let mut direct = PathBuf::new();
    for part in path.components() {
        match (part, direct.components().next_back()) {
            (Component::CurDir, _) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => drop(direct.pop()),
            _ => direct.push(part),
        }
    }
    let here = absolute(".").unwrap_or_default();
    let below = direct.strip_prefix(here).unwrap_or(&direct);
    let name = below.to_string_lossy();
    // A device is not a file endpoint, because it keeps nothing: a reader of `/dev/null` does not get the bytes that
    // were written to it.
    if direct.starts_with("/dev") { Endpoint::new(name) } else { Endpoint::file(name) }
}

/// Opens a file for reading; refuses a folder.
///
/// # Errors
/// The file cannot be opened, or the path leads to a folder.
pub fn open_file(path: &Path) -> Result<File, ConnectorError> {
    let file = File::open(path).map_err(|error| file_error("open", path, error))?;
    let is_dir = file.metadata().is_ok_and(|metadata| metadata.is_dir());
    if is_dir {
        return Err(ConnectorError::permanent(format!(
            "{} is a folder, expected a file",
            display_path(path)
        )));
    }
    Ok(file)
}

/// Refuses a path for a sink if it leads to a folder, or can only lead to a folder.
pub(crate) fn no_folder(path: &Path) -> Result<(), ConnectorError> {
    let written = path.as_os_str().as_encoded_bytes();
    let names_folder = written.ends_with(b"/") || written.ends_with(b"/.") || path.file_name().is_none();
    if !names_folder && !path.is_dir() {
        return Ok(());
    }
    Err(ConnectorError::permanent(format!("{} is a folder, expected a file", display_path(path)))
        .with_hint("name a file in it"))
}

/// Checks whether a file can be written, or created where it does not exist, and changes nothing. The check does not
/// open a named pipe, because the reader of the pipe would take that for the end.
///
/// # Errors
/// The file cannot be written or created.
pub fn check_writable(path: &Path, create: bool) -> Result<(), ConnectorError> {
    no_folder(path)?;
    if is_pipe(path) {
        return Ok(());
    }
    match File::options().append(true).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && create => {
            let full = absolute(path).unwrap_or_else(|_| path.to_owned());
            let Some(folder) = full.ancestors().skip(1).find(|folder| folder.exists()) else {
                return Err(file_error("open for writing", path, error));
            };
            // Only an attempt shows what the system allows.
            let trial = folder.join(format!(".ergon-check-{}", std::process::id()));
            File::create_new(&trial)
                .and_then(|_| std::fs::remove_file(&trial))
                .map_err(|error| file_error("make a file in", folder, error))
        }
        Err(error) => Err(file_error("open for writing", path, error)),
    }
}

/// Makes the error of a file that cannot be opened, created or read. The error names the file, the place where it was
/// looked for, and a step that helps.
pub fn file_error(what: &str, path: &Path, error: io::Error) -> ConnectorError {
    let message = format!("cannot {what} {}", display_path(path));
    let failure = match error.kind() {
        // A full disk or an interrupted mount may recover. The other errors stay.
        io::ErrorKind::StorageFull
        | io::ErrorKind::QuotaExceeded
        | io::ErrorKind::TimedOut
        | io::ErrorKind::Interrupted => ConnectorError::transient(message),
        io::ErrorKind::NotFound => ConnectorError::permanent(message).with_hint(missing(path)),
        io::ErrorKind::PermissionDenied => {
            ConnectorError::permanent(message).with_hint("let the user who runs this access the file")
        }
        _ => ConnectorError::permanent(message),
    };
    failure.with_source(error)
}

/// Returns the absolute path, as the system looks for it.
pub fn display_path(path: &Path) -> String {
    absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

fn missing(path: &Path) -> String {
    let full = absolute(path).unwrap_or_else(|_| path.to_owned());
    let (Some(folder), Some(name)) = (full.parent(), full.file_name()) else {
        return "correct the path".to_owned();
    };
    // Some systems report "not found" for a folder in which no file can be created. A similar name does not help then.
    if full.exists() {
        return "nothing can be made there; name another folder".to_owned();
    }
    let Ok(entries) = folder.read_dir() else {
        return format!("there is no folder {}; correct the path", folder.display());
    };
    let names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    match closest_file(&name.to_string_lossy(), &names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            "correct the path; a relative one counts from the settings file, else from the working folder"
                .to_owned()
        }
    }
}

/// Finds the file whose name is most similar. A common ending does not count.
fn closest_file<'a>(name: &str, files: &'a [String]) -> Option<&'a str> {
    let part = |name: &'a str| name.rsplit_once('.').unwrap_or((name, ""));
    let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
    let like = |file: &&'a str| match part(file) {
        (other, same) if same.eq_ignore_ascii_case(ending) => similar(stem, [other]).is_some(),
        _ => similar(name, [*file]).is_some(),
    };
    similar(name, files.iter().map(String::as_str).filter(like))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_says_where_it_was_looked_for_and_what_is_like_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("orders.csv"), "").unwrap();
        let error = open_file(&folder.path().join("order.csv")).unwrap_err();
        assert!(error.message().contains(folder.path().to_str().unwrap()), "{error}");
        assert_eq!(error.hint(), Some("did you mean `orders.csv`?"));
        assert!(error.is_permanent());
    }

    #[test]
    fn only_a_slip_of_the_hand_is_taken_for_another_file() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["e.xlsx", "orders.csv", "Sales.xlsx"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let hint = |name: &str| {
            let error = open_file(&folder.path().join(name)).unwrap_err();
            error.hint().unwrap().split('`').nth(1).map(str::to_owned)
        };
        for (name, meant) in
            [("sale.xlsx", "Sales.xlsx"), ("ordres.csv", "orders.csv"), ("orders.cvs", "orders.csv")]
        {
            assert_eq!(hint(name).as_deref(), Some(meant), "{name}");
        }
        for name in ["nope.xlsx", "a.xlsx", "readme.csv"] {
            assert_eq!(hint(name), None, "{name}");
        }
    }

    #[test]
    fn a_folder_where_nothing_can_be_made_is_not_offered_instead_of_itself() {
        let folder = tempfile::tempdir().unwrap();
        let error = file_error("make a file in", folder.path(), io::ErrorKind::NotFound.into());
        assert_eq!(error.hint(), Some("nothing can be made there; name another folder"));
    }

    #[test]
    fn one_file_is_one_place_however_its_path_is_written() {
        let name = |path: &str| endpoint(Path::new(path)).name().to_owned();
        for path in ["out/a.jsonl", "./out/a.jsonl", "out//./a.jsonl", "out/b/../a.jsonl"] {
            assert_eq!(name(path), "out/a.jsonl", "{path}");
        }
        assert_eq!(name(absolute("out/a.jsonl").unwrap().to_str().unwrap()), "out/a.jsonl");
        assert_eq!(name("../data/./b.csv"), "../data/b.csv");
        assert_eq!(name("../../b.csv"), "../../b.csv");
        assert_eq!(name("/nowhere/x/../b.csv"), "/nowhere/b.csv");
        assert_ne!(name("out/a.jsonl"), name("a.jsonl"));
    }

    #[test]
    fn a_folder_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        assert!(open_file(folder.path()).unwrap_err().message().ends_with("is a folder, expected a file"));
    }
}
