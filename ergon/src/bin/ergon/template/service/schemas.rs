//! The types of the external system.

use ergon::prelude::*;

/// An answer of the external system.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Answer {
    pub(crate) id: String,
    pub(crate) name: String,
}
