//! Writing files so that none is overwritten, and none is left half-way.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::error::CommandError;

/// Files that are to be made.
#[derive(Debug)]
pub(crate) struct NewFiles {
    folder: PathBuf,
    /// What can be done instead of moving away what is in the way.
    instead: &'static str,
    files: Vec<(PathBuf, String)>,
}

impl NewFiles {
    /// Files in a folder, which is made if it is not there; `instead` is what helps if something is in their way.
    pub(crate) fn of(folder: PathBuf, instead: &'static str) -> Self {
        Self { folder, instead, files: Vec::new() }
    }

    pub(crate) fn add(&mut self, path: impl Into<PathBuf>, text: String) {
        self.files.push((path.into(), text));
    }

    /// The files' paths, in the folder.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(path, _)| path.as_path())
    }

    /// Refuses if one of the files is there already.
    ///
    /// # Errors
    /// All that is in the way, by name.
    pub(crate) fn check(&self) -> Result<(), CommandError> {
        let folder = self.folder.display();
        if self.folder.exists() && !self.folder.is_dir() {
            return Err(CommandError::failed(format!("{folder} is there already, and is no folder")));
        }
        let absent = |path: &Path| {
            let found = fs::symlink_metadata(self.folder.join(path));
            matches!(found, Err(error) if error.kind() == io::ErrorKind::NotFound)
        };
        let in_the_way: Vec<String> =
            self.paths().filter(|path| !absent(path)).map(|path| format!("\n  {}", path.display())).collect();
        if in_the_way.is_empty() {
            return Ok(());
        }
        let what =
            format!("{folder} has files that are in the way; nothing was written{}", in_the_way.concat());
        Err(CommandError::failed(what).with_hint(format!("move them away, or {}", self.instead)))
    }

    /// Makes all files, or none: what was made is taken away again when one cannot be.
    ///
    /// # Errors
    /// One that is there already, or a folder that cannot be written to.
    pub(crate) fn write(&self) -> Result<(), CommandError> {
        self.check()?;
        let mut made = Vec::new();
        for (path, text) in &self.files {
            let path = self.folder.join(path);
            if let Err(error) = make(&path, text, &mut made) {
                take_away(&made);
                let what = format!("cannot write {}: {error}; nothing was written", path.display());
                return Err(CommandError::failed(what).with_hint("it must be a folder that you may write to"));
            }
        }
        Ok(())
    }
}

/// Makes a file and the folders above it; remembers what it made.
fn make(path: &Path, text: &str, made: &mut Vec<PathBuf>) -> io::Result<()> {
    let folders: Vec<&Path> = path.ancestors().skip(1).take_while(|above| !above.exists()).collect();
    for folder in folders.into_iter().rev().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir(folder)?;
        made.push(folder.to_owned());
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    made.push(path.to_owned());
    file.write_all(text.as_bytes())
}

fn take_away(made: &[PathBuf]) {
    for path in made.iter().rev() {
        // The error that led here is the one to tell; a folder that somebody else has filled stays.
        let _ = if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
    }
}

/// Puts new content in the place of a file's: written beside it, then renamed, so that it is never half there.
///
/// # Errors
/// A folder that cannot be written to.
pub(crate) fn replace(path: &Path, text: &str) -> Result<(), CommandError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    fs::write(&beside, text)
        .and_then(|()| fs::rename(&beside, path))
        .map_err(|error| CommandError::failed(format!("cannot write {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = folder.read_dir().unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn when_one_file_cannot_be_made_none_is_left() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mine"), "1").unwrap();
        let mut files = NewFiles::of(folder.path().to_owned(), "name another folder");
        files.add("a/b/c.rs", "text".to_owned());
        files.add("n".repeat(300), "text".to_owned());
        let said = files.write().unwrap_err().to_string();
        assert!(said.contains("nothing was written"), "{said}");
        assert_eq!(names(folder.path()), ["mine"]);
    }

    #[test]
    fn a_replaced_file_is_whole_and_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mod.rs");
        fs::write(&file, "old").unwrap();
        replace(&file, "new").unwrap();
        assert_eq!((fs::read_to_string(&file).unwrap().as_str(), names(folder.path()).len()), ("new", 1));
    }
}
