//! Defines the messages of the CRM.

use ergon::prelude::*;

/// A customer, as the CRM returns it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Customer {
    pub(crate) name: String,
    pub(crate) tier: Tier,
}

/// The service level of a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tier {
    Standard,
    Gold,
}
