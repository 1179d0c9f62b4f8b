//! Where on the outside a connector fetches from or dispatches to.

use std::fmt::{self, Write as _};

/// A place on the outside that transactions are fetched from or dispatched to: a queue, a file, a table.
///
/// What is dispatched to a place is fetched from it by every connector of the same [kind](super::Connector::KIND)
/// whose place is equal; `describe` draws the tasks joined there. The name is the one by which people know the place,
/// the same in each run; [`within`](Self::within) tells places of one name apart. Neither holds credentials: both are
/// shown.
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
    /// A file has one content for all: who writes to it changes what another reads.
    file: bool,
}

impl Endpoint {
    /// Names a place.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), system: None, file: false }
    }

    /// Names a file.
    pub(crate) fn file(name: impl Into<String>) -> Self {
        Self { file: true, ..Self::new(name) }
    }

    /// Says whether both are one file, though links may lead there; a file that is not there yet is none other. Neither
    /// is opened: a named pipe would wait for its other end, or lose what is written into it.
    pub(crate) fn is_same_file(&self, other: &Self) -> bool {
        self.file && other.file && (self == other || linked(&self.name, &other.name))
    }

    /// Says which system the name belongs to: the address of a broker, a database.
    #[must_use]
    pub fn within(mut self, system: impl Into<String>) -> Self {
        self.system = Some(system.into());
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The system that the name belongs to; `None` if there is only one.
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

/// The name; a character that would steer a terminal is shown by its number.
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
