//! The types of the external system.

use ergon::prelude::*;

/// A record of the external system.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Record {
    pub(crate) number: u64,
    pub(crate) content: Value,
}
