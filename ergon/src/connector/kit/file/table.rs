//! A transaction as a row of a table: its cells by name, and in the order of the columns.

use serde_json::{Map, Value};

use crate::connector::ConnectorError;
use crate::transaction::{Content, Transaction};

/// The cells of a transaction, by name.
///
/// # Errors
/// The payload is no map of names to values.
pub fn cells(transaction: &Transaction) -> Result<Map<String, Value>, ConnectorError> {
    let refused = |why: &str| {
        ConnectorError::permanent(format!("transaction `{}` is no row: {why}", transaction.id()))
            .with_hint("a row is a map of names to values")
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

/// Refuses names that no header can have: no source would read the file again.
///
/// # Errors
/// There is no name, or a blank one.
pub fn named(names: &[String], transaction: &Transaction) -> Result<(), ConnectorError> {
    let wrong = match names {
        [] => "has no names",
        names if names.iter().any(|name| name.trim().is_empty()) => "has a blank name",
        _ => return Ok(()),
    };
    let message =
        format!("transaction `{}` {wrong}, and would make the header of the file", transaction.id());
    Err(ConnectorError::permanent(message)
        .with_hint("the first transaction decides on the columns; name each of them"))
}

/// Puts the cells in the order of the columns; a name that no column has is refused.
///
/// # Errors
/// A cell has a name that no column has.
pub fn in_order(
    mut cells: Map<String, Value>,
    names: &[String],
    transaction: &Transaction,
) -> Result<Vec<Value>, ConnectorError> {
    // The names of a task's transactions are mostly the same, in the same order.
    if cells.len() == names.len() && cells.keys().zip(names).all(|(key, name)| key == name) {
        return Ok(cells.into_iter().map(|(_, value)| value).collect());
    }
    let row = names.iter().map(|name| cells.remove(name).unwrap_or(Value::Null)).collect();
    let Some((key, _)) = cells.iter().next() else { return Ok(row) };
    let message = format!("transaction `{}` has `{key}`, for which there is no column", transaction.id());
    Err(ConnectorError::permanent(message)
        .with_hint("the first transaction decides on the columns; give every one the same names"))
}
