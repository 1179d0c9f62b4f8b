//! A transaction as one record: its cells in the order of the columns.

use csv::{QuoteStyle, WriterBuilder};
use serde_json::{Map, Value};

use crate::connector::ConnectorError;
use crate::transaction::{Content, Transaction};

/// How records are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) delimiter: u8,
    /// Nothing is put before a text that a spreadsheet would run.
    pub(super) raw: bool,
}

/// The cells of a transaction, by name.
pub(super) fn cells(transaction: &Transaction) -> Result<Map<String, Value>, ConnectorError> {
    let refused = |why: &str| {
        ConnectorError::permanent(format!("transaction `{}` is no record: {why}", transaction.id()))
            .with_hint("a record is a map of names to values")
    };
    match transaction.payload().content() {
        Content::Record(record) => Ok(record.names().iter().cloned().zip(record.values()).collect()),
        Content::Value(Value::Object(map)) => Ok(map.clone()),
        Content::Body(..) => match transaction.decode::<Value>() {
            Ok(Value::Object(map)) => Ok(map),
            Ok(_) => Err(refused("its payload is no map")),
            Err(error) => Err(refused(error.message())),
        },
        _ => Err(refused("its payload is no map")),
    }
}

/// Puts the cells in the order of the columns; a name that no column has is refused.
pub(super) fn in_order(
    mut cells: Map<String, Value>,
    names: &[String],
    transaction: &Transaction,
) -> Result<Vec<Value>, ConnectorError> {
    let row = names.iter().map(|name| cells.remove(name).unwrap_or(Value::Null)).collect();
    let Some((key, _)) = cells.iter().next() else { return Ok(row) };
    let message = format!("transaction `{}` has `{key}`, for which there is no column", transaction.id());
    Err(ConnectorError::permanent(message)
        .with_hint("the first transaction decides on the columns; give every one the same names"))
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
    let number = value.is_number() || text.parse::<f64>().is_ok();
    !number && text.starts_with(['=', '+', '-', '@', '\t', '\r'])
}
