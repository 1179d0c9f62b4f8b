//! A variable that sets a key.

use std::fmt;

use super::origin::Origin;
use super::problem::Problem;

/// A variable, and where it stands.
#[derive(Clone)]
pub(crate) struct Setting {
    pub(crate) name: String,
    /// Empty if it cannot be read.
    pub(crate) text: String,
    pub(crate) origin: Origin,
    /// Why it cannot be read.
    pub(crate) problem: Option<Box<Problem>>,
}

impl Setting {
    pub(super) fn new(name: impl Into<String>, text: String, origin: Origin) -> Self {
        Self { name: name.into(), text, origin, problem: None }
    }

    /// A variable that is there and cannot be read: an error where somebody asks for it.
    pub(super) fn unreadable(name: impl Into<String>, origin: Origin, problem: Problem) -> Self {
        Self { name: name.into(), text: String::new(), origin, problem: Some(Box::new(problem)) }
    }
}

/// The value may be secret.
impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setting").field("name", &self.name).finish_non_exhaustive()
    }
}
