//! What the CRM speaks.

use ergon::prelude::*;

/// What the CRM knows of a customer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Customer {
    pub(crate) name: String,
    pub(crate) tier: Tier,
}

/// How well we treat a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tier {
    Standard,
    Gold,
}
