//! A record as it stands in the file.

use csv::{QuoteStyle, WriterBuilder};
use serde_json::Value;

/// How records are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) delimiter: u8,
    /// Nothing is put before a text that a spreadsheet would run.
    pub(super) raw: bool,
}

impl Style {
    /// The name that a column of the file has in transactions: without the apostrophe that was put before it.
    pub(super) fn meant(self, name: &str) -> &str {
        let bare = name.strip_prefix('\'').filter(|bare| !self.raw && looks_like_formula(bare));
        bare.unwrap_or(name)
    }
}

/// Writes one record, without the line's end.
pub(super) fn write(row: &[Value], style: Style, line: &mut Vec<u8>) -> Result<(), csv::Error> {
    let mut guarded = false;
    let cells: Vec<String> = row
        .iter()
        .map(|value| {
            let text = text(value);
            if style.raw || !may_be_run(value, &text) {
                return text;
            }
            guarded = true;
            format!("'{text}")
        })
        .collect();
    let quotes = if guarded { QuoteStyle::Always } else { QuoteStyle::Necessary };
    let mut writer = WriterBuilder::new()
        .delimiter(style.delimiter)
        .quote_style(quotes)
        .buffer_capacity(256)
        .from_writer(&mut *line);
    writer.write_record(&cells)?;
    writer.flush()?;
    drop(writer);
    // The caller ends the line.
    line.pop_if(|last| *last == b'\n');
    Ok(())
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Says whether a spreadsheet would take this for a formula.
fn may_be_run(value: &Value, text: &str) -> bool {
    !value.is_number() && looks_like_formula(text)
}

fn looks_like_formula(text: &str) -> bool {
    text.parse::<f64>().is_err() && text.starts_with(['=', '+', '-', '@', '\t', '\r'])
}
