//! What the other side speaks.

use ergon::prelude::*;

/// One record as the other side has it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Record {
    pub(crate) number: u64,
    pub(crate) content: Value,
}
