//! What `ergon.toml` configures: the connectors and services of this project.

use ergon::prelude::*;

/// The project's settings, one table of `ergon.toml` each.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Settings {
    /// Where orders come from.
    pub(crate) orders: JsonLinesConfig,
    /// Where receipts go.
    pub(crate) receipts: JsonLinesConfig,
    /// Where refused orders go.
    pub(crate) refused: JsonLinesConfig,
    // ergon: new settings are added above this line
}
