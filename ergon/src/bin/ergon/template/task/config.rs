//! Wires the task to its connectors.

use ergon::prelude::*;

use super::task::{{{type}}, {{type}}Wiring};
use crate::settings::Settings;

/// Wires the task to the connectors in the settings.
#[expect(
    clippy::unnecessary_wraps,
    reason = "a config may fail; this one cannot"
)]
pub(crate) fn config(settings: &Settings) -> Result<TaskConfig> {
    let wiring = {{type}}Wiring {
        input: settings.{{module}}_input.clone(),
        output: settings.{{module}}_output.clone(),
        refused: settings.{{module}}_refused.clone(),
    };
    Ok({{type}}::config(wiring))
}
