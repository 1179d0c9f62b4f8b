//! Endpoints of external systems: queues, files, tables. They show which tasks share an endpoint, and let the runner
//! refuse a task that writes to a file that it reads.

use std::fmt::{self, Write as _};

/// An endpoint of an external system that transactions are fetched from or dispatched to: a queue, a file, a table.
///
/// Two endpoints are the same if they are equal and belong to connectors of the same [kind](super::Connector::KIND);
/// `describe` joins tasks there. The name is the one that people know, and does not change between runs.
/// [`within`](Self::within) distinguishes endpoints of one name in different systems. Neither contains credentials,
/// because both are shown.
///
/// ```
/// use ergon::connector::Endpoint;
///
/// let orders = Endpoint::new("orders").within("acme.example");
/// assert_eq!(orders.name(), "orders");
/// assert_ne!(orders, Endpoint::new("orders").within("other.example"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    name: String,
    system: Option<String>,
    /// Whether the endpoint is a file, whose content a writer changes for every reader.
    file: bool,
}

impl Endpoint {
    /// Makes an endpoint of a name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), system: None, file: false }
    }

    /// Makes the endpoint of a file.
    pub(crate) fn file(name: impl Into<String>) -> Self {
        Self { file: true, ..Self::new(name) }
    }

    /// Whether both endpoints are the same file, also if a path leads through links. A file that does not exist yet
    /// equals no other file. Neither file is opened, because opening a named pipe would wait for its other end or lose
    /// data.
    pub(crate) fn is_same_file(&self, other: &Self) -> bool {
        self.file && other.file && (self == other || linked(&self.name, &other.name))
    }

    /// Sets the system that the name belongs to: the address of a broker, a database.
    #[must_use]
    pub fn within(mut self, system: impl Into<String>) -> Self {
        self.system = Some(system.into());
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The system that the name belongs to. `None` if there is only one.
    pub fn system(&self) -> Option<&str> {
        self.system.as_deref()
    }
}

#[cfg(unix)]
fn linked(one: &str, other: &str) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |path| std::fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino())).ok();
    identity(one).is_some_and(|one| identity(other) == Some(one))
}

#[cfg(not(unix))]
fn linked(one: &str, other: &str) -> bool {
    same_file::is_same_file(one, other).unwrap_or(false)
}

/// Writes the name, with control characters escaped, because they would steer a terminal.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.name.chars() {
            if character.is_control() {
                write!(f, "{}", character.escape_default())?;
            } else {
                f.write_char(character)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_does_not_steer_the_terminal() {
        assert_eq!(Endpoint::new("a\u{1b}[2J\nb ß").to_string(), "a\\u{1b}[2J\\nb ß");
    }
}
