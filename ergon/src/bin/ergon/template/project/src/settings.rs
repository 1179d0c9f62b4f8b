//! The settings of this project: the connectors and services that `ergon.toml` configures.

use ergon::prelude::*;

/// The settings. Each field is a table of `ergon.toml`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Settings {
    /// The source of orders.
    pub(crate) orders: JsonLinesConfig,
    /// The sink of receipts.
    pub(crate) receipts: JsonLinesConfig,
    /// The dead letters: rejected orders.
    pub(crate) refused: JsonLinesConfig,
    // ergon: new settings are added above this line
}
