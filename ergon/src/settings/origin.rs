//! Records the origin of a value of the settings: a place in a file, a variable or an option.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// A file of settings, or another text with lines.
pub(crate) struct SourceFile {
    /// The path in messages.
    pub(crate) name: String,
    /// The folder of the file, for relative paths.
    pub(crate) folder: PathBuf,
    pub(crate) text: String,
    /// The part of the text that an error may show.
    pub(super) shows: Shows,
    /// Whether replacement characters stand for invalid bytes.
    pub(super) damaged: bool,
    /// The places of the values of a settings file, in the order of the file; empty until it is read.
    values: OnceLock<Vec<Range<usize>>>,
}

/// The part of a file's text that an error may show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shows {
    /// All text: the file contains no settings.
    Everything,
    /// The keys, and the invalid value unless it may be a secret: a settings file.
    Keys,
    /// The names only: a file of variables.
    Names,
}

impl SourceFile {
    /// Creates a text without settings.
    pub(crate) fn new(path: &Path, text: String) -> Arc<Self> {
        Self::of(path, text, Shows::Everything, false)
    }

    /// Creates a settings file.
    pub(super) fn settings(path: &Path, text: String) -> Arc<Self> {
        Self::of(path, text, Shows::Keys, false)
    }

    /// Creates a file of variables; `damaged` if some of its bytes are invalid.
    pub(super) fn variables(path: &Path, text: String, damaged: bool) -> Arc<Self> {
        Self::of(path, text, Shows::Names, damaged)
    }

    fn of(path: &Path, text: String, shows: Shows, damaged: bool) -> Arc<Self> {
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        let name = path.display().to_string();
        Arc::new(Self { name, folder, text, shows, damaged, values: OnceLock::new() })
    }

    /// The places of the values of a settings file; `None` if it could not be parsed.
    pub(super) fn values(&self) -> Option<&[Range<usize>]> {
        self.values.get().map(Vec::as_slice)
    }

    /// Stores the places of the values. A file is read once, so only the first call counts.
    pub(super) fn set_values(&self, values: Vec<Range<usize>>) {
        let _ = self.values.set(values);
    }

    /// The first byte of a line; lines count from 1.
    pub(super) fn line_start(&self, number: usize) -> usize {
        self.text.split_inclusive('\n').take(number.saturating_sub(1)).map(str::len).sum()
    }

    /// The line and column of a byte, both from 1; the column counts characters.
    pub(crate) fn position(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        (before.matches('\n').count() + 1, column)
    }

    /// The text of a line; lines count from 1.
    pub(crate) fn line(&self, number: usize) -> &str {
        self.text.lines().nth(number.saturating_sub(1)).unwrap_or_default()
    }
}

/// Hides the text, because it may be secret.
impl fmt::Debug for SourceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceFile").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The origin of a value.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// No file was found.
    Nowhere,
    /// A whole file.
    File(Arc<SourceFile>),
    /// A range of a file.
    Span(Arc<SourceFile>, Range<usize>),
    /// A variable of the process environment.
    Variable(Arc<Variable>),
    /// An option of the command line, as written.
    Flag(String),
}

/// A variable of the process environment, without its value, which may be secret.
#[derive(Debug)]
pub(crate) struct Variable {
    pub(crate) name: String,
}

impl Origin {
    /// Whether values of this origin are never shown: values of variables may be secret.
    pub(super) fn is_private(&self) -> bool {
        match self {
            Self::Variable(_) => true,
            Self::File(file) | Self::Span(file, _) => file.shows == Shows::Names,
            Self::Nowhere | Self::Flag(_) => false,
        }
    }

    /// The file of this origin, if it is a file.
    pub(crate) fn file(&self) -> Option<&Arc<SourceFile>> {
        match self {
            Self::File(file) | Self::Span(file, _) => Some(file),
            Self::Nowhere | Self::Variable(_) | Self::Flag(_) => None,
        }
    }

    /// The place as messages show it: `ergon.toml:12:15`, `environment variable ERGON_ORDERS__PATH`, `--concurrency 0`.
    pub(crate) fn at(&self) -> Option<String> {
        match self {
            Self::Nowhere => None,
            Self::File(file) => Some(file.name.clone()),
            Self::Span(file, span) => {
                let (line, column) = file.position(span.start);
                Some(format!("{}:{line}:{column}", file.name))
            }
            Self::Variable(variable) => Some(format!("environment variable {}", variable.name)),
            Self::Flag(flag) => Some(flag.clone()),
        }
    }
}
