//! What `ergon.toml` configures: the connectors of this project.

use ergon::prelude::*;

/// The project's settings, one table of `ergon.toml` each.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Settings {
    /// Where order lines come from.
    pub(crate) orders: ExcelConfig,
    /// Where priced lines go.
    pub(crate) receipts: JsonLinesConfig,
    /// Where refused lines go.
    pub(crate) refused: JsonLinesConfig,
}
