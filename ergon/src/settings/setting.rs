//! Represents a variable that may set a key of the settings.

use std::fmt;

use super::origin::Origin;
use super::problem::Problem;

/// A variable with its origin.
#[derive(Clone)]
pub(crate) struct Setting {
    pub(crate) name: String,
    /// The value; empty if the variable is unreadable.
    pub(crate) text: String,
    pub(crate) origin: Origin,
    /// The reason why the variable is unreadable.
    pub(crate) problem: Option<Box<Problem>>,
}

impl Setting {
    pub(super) fn new(name: impl Into<String>, text: String, origin: Origin) -> Self {
        Self { name: name.into(), text, origin, problem: None }
    }

    /// Creates an unreadable variable: an error only if a setting reads it.
    pub(super) fn unreadable(name: impl Into<String>, origin: Origin, problem: Problem) -> Self {
        Self { name: name.into(), text: String::new(), origin, problem: Some(Box::new(problem)) }
    }
}

/// Hides the value, because it may be secret.
impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setting").field("name", &self.name).finish_non_exhaustive()
    }
}
