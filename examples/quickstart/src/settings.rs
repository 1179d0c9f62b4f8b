//! The settings of this project: its connectors, which `ergon.toml` configures.

use ergon::prelude::*;

/// The settings of the project. Each field is a table of `ergon.toml`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Settings {
    /// The source of order lines.
    pub(crate) orders: ExcelConfig,
    /// The sink of priced lines.
    pub(crate) receipts: JsonLinesConfig,
    /// The dead letters: rejected order lines.
    pub(crate) refused: JsonLinesConfig,
}
