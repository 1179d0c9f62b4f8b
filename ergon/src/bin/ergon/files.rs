//! Writes files, without overwriting a file and without leaving an incomplete file.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::error::CommandError;

/// New files.
#[derive(Debug)]
pub(crate) struct NewFiles {
    folder: PathBuf,
    /// The alternative to moving existing files away.
    instead: &'static str,
    files: Vec<(PathBuf, String)>,
}

impl NewFiles {
    /// New files in a folder, which is created if it does not exist; `instead` is part of the hint if a file exists.
    pub(crate) fn of(folder: PathBuf, instead: &'static str) -> Self {
        Self { folder, instead, files: Vec::new() }
    }

    pub(crate) fn add(&mut self, path: impl Into<PathBuf>, text: String) {
        self.files.push((path.into(), text));
    }

    /// The paths of the files, in the folder.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(path, _)| path.as_path())
    }

    /// Checks that none of the files exists.
    ///
    /// # Errors
    /// The files that exist.
    pub(crate) fn check(&self) -> Result<(), CommandError> {
        let folder = self.folder.display();
        if self.folder.exists() && !self.folder.is_dir() {
            return Err(CommandError::failed(format!("{folder} exists and is not a folder")));
        }
        let absent = |path: &Path| {
            let found = fs::symlink_metadata(self.folder.join(path));
            matches!(found, Err(error) if error.kind() == io::ErrorKind::NotFound)
        };
        let existing: Vec<String> =
            self.paths().filter(|path| !absent(path)).map(|path| format!("\n  {}", path.display())).collect();
        if existing.is_empty() {
            return Ok(());
        }
        let what = format!("{folder} already has these files; nothing was written{}", existing.concat());
        Err(CommandError::failed(what).with_hint(format!("move them away, or {}", self.instead)))
    }

    /// Writes all files, or none: if one cannot be written, the others are removed again.
    ///
    /// # Errors
    /// A file exists, or a folder cannot be written to.
    pub(crate) fn write(&self) -> Result<(), CommandError> {
        self.check()?;
        let mut created = Vec::new();
        for (path, text) in &self.files {
            let path = self.folder.join(path);
            if let Err(error) = create(&path, text, &mut created) {
                remove(&created);
                let what = format!("cannot write {}: {error}; nothing was written", path.display());
                return Err(CommandError::failed(what).with_hint("the folder must be writable"));
            }
        }
        Ok(())
    }
}

/// Creates a file and the folders above it, and adds them to `created`.
fn create(path: &Path, text: &str, created: &mut Vec<PathBuf>) -> io::Result<()> {
    let folders: Vec<&Path> = path.ancestors().skip(1).take_while(|above| !above.exists()).collect();
    for folder in folders.into_iter().rev().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir(folder)?;
        created.push(folder.to_owned());
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    created.push(path.to_owned());
    file.write_all(text.as_bytes())
}

fn remove(created: &[PathBuf]) {
    for path in created.iter().rev() {
        // The first error is reported. A folder with files of another program stays.
        let _ = if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
    }
}

/// Replaces the content of a file: writes a new file next to it and renames it, so that the file is never incomplete.
///
/// # Errors
/// The folder cannot be written to.
pub(crate) fn replace(path: &Path, text: &str) -> Result<(), CommandError> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    fs::write(&new, text)
        .and_then(|()| fs::rename(&new, path))
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
