//! Defines the type of paths in the settings, which are relative to the file that contains them.

use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A path to a file, for the configs of connectors.
///
/// A relative path in a settings file is relative to **that file's** folder. A relative path in code or in the environment
/// is relative to the working folder.
///
/// For deserializers: this type deserializes a newtype struct named `$ergon::FilePath`. A deserializer that knows the file
/// of a value resolves the path when it sees that name. Every other deserializer passes the text on.
///
/// ```
/// use ergon::settings::FilePath;
///
/// let orders = FilePath::from("data/orders.csv");
/// assert_eq!(orders.extension(), Some("csv".as_ref()));
/// assert_eq!(orders.to_string(), "data/orders.csv");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FilePath(PathBuf);

impl FilePath {
    /// The name that marks a text as a path for a deserializer.
    pub(crate) const NAME: &'static str = "$ergon::FilePath";
}

impl Deref for FilePath {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl AsRef<Path> for FilePath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl From<&str> for FilePath {
    fn from(path: &str) -> Self {
        Self(path.into())
    }
}

impl From<String> for FilePath {
    fn from(path: String) -> Self {
        Self(path.into())
    }
}

impl From<&Path> for FilePath {
    fn from(path: &Path) -> Self {
        Self(path.into())
    }
}

impl From<PathBuf> for FilePath {
    fn from(path: PathBuf) -> Self {
        Self(path)
    }
}

impl<'de> Deserialize<'de> for FilePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(Self::NAME, PathVisitor)
    }
}

struct PathVisitor;

impl<'de> Visitor<'de> for PathVisitor {
    type Value = FilePath;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path to a file")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<FilePath, D::Error> {
        inner.deserialize_str(self)
    }

    fn visit_str<E: de::Error>(self, path: &str) -> Result<FilePath, E> {
        if path.is_empty() {
            return Err(E::invalid_value(de::Unexpected::Str(path), &self));
        }
        Ok(path.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Config {
        path: FilePath,
    }

    #[test]
    fn a_text_becomes_a_path() {
        let config: Config = toml::from_str(r#"path = "data/orders.csv""#).unwrap();
        assert_eq!(&*config.path, Path::new("data/orders.csv"));
    }

    #[test]
    fn an_empty_text_is_no_path() {
        let error = toml::from_str::<Config>(r#"path = """#).unwrap_err();
        assert!(error.message().contains("expected a path to a file"), "{error}");
    }
}
