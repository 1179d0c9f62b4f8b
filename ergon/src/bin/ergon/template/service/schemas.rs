//! What the other side speaks.

use ergon::prelude::*;

/// What the other side answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Answer {
    pub(crate) id: String,
    pub(crate) name: String,
}
